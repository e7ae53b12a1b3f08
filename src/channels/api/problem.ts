import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { GuardCode } from '../../approval/guard.ts';

/** Codes of the HTTP API's own, beside the guard's. */
export type ProblemCode =
  | GuardCode
  | 'no_credential'
  | 'key_expired'
  | 'token_refused'
  | 'issuer_unavailable'
  | 'no_receipt'
  | 'no_checkpoint'
  | 'invalid_body'
  | 'body_too_large'
  | 'unsupported_media_type'
  | 'invalid_query'
  | 'no_such_page'
  | 'method_not_allowed'
  | 'rate_limited'
  | 'too_many_streams'
  | 'audit_not_configured'
  | 'search_too_long'
  | 'cross_site'
  | 'unavailable'
  /** Of the parser, before anything is looked at. */
  | 'bad_request'
  | 'headers_too_large'
  | 'request_timeout';

/** The HTTP status of what the guard refuses. */
export const GUARD_STATUS: Readonly<Record<GuardCode, ContentfulStatusCode>> = {
  self_approval: 403,
  agent_credential: 403,
  unknown_person: 403,
  ambiguous_person: 403,
  not_an_approver: 403,
  automation_not_named: 403,
  scope_missing: 403,
  not_on_call: 403,
  assurance_too_low: 403,
  passkey_refused: 403,
  not_found: 404,
  already_ended: 409,
  already_answered: 409,
  not_approved: 409,
  request_altered: 409,
  too_fast: 429,
};

/** The status of each code: a code has one. */
export const PROBLEM_STATUS: Readonly<Record<ProblemCode, ContentfulStatusCode>> = {
  ...GUARD_STATUS,
  no_credential: 401,
  key_expired: 401,
  token_refused: 401,
  issuer_unavailable: 503,
  no_receipt: 404,
  no_checkpoint: 404,
  invalid_body: 422,
  body_too_large: 413,
  unsupported_media_type: 415,
  invalid_query: 422,
  no_such_page: 404,
  method_not_allowed: 405,
  rate_limited: 429,
  too_many_streams: 429,
  audit_not_configured: 501,
  search_too_long: 503,
  cross_site: 403,
  unavailable: 503,
  bad_request: 400,
  headers_too_large: 431,
  request_timeout: 408,
};

/** RFC 9457, with a stable `code`. `detail` holds nothing that the caller did not know or may not know. */
export function problem(
  c: Context,
  code: ProblemCode,
  detail: string,
  headers: Readonly<Record<string, string>> = {},
): Response {
  const { status, body } = problemText(code, detail);
  return c.body(body, status, {
    'content-type': 'application/problem+json',
    ...(status === 401 ? { 'www-authenticate': 'Bearer realm="countersign"' } : {}),
    ...headers,
  });
}

/** The same where there is no application to answer. */
export function problemText(
  code: ProblemCode,
  detail: string,
): { readonly status: ContentfulStatusCode; readonly title: string; readonly body: string } {
  const status = PROBLEM_STATUS[code];
  const title = TITLES[status] ?? 'Error';
  return { status, title, body: JSON.stringify({ type: 'about:blank', status, code, title, detail }) };
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad request',
  401: 'No credential',
  403: 'Not eligible',
  404: 'Not found',
  405: 'Method not allowed',
  408: 'Too slow',
  409: 'Already ended',
  413: 'Too long',
  415: 'Wrong content type',
  422: 'Not understood',
  429: 'Too many requests',
  431: 'Headers too long',
  501: 'Not configured',
  503: 'Unavailable',
};
