import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { GuardCode } from '../../approval/guard.ts';

/** Codes of the HTTP API's own, beside the guard's. */
export type ProblemCode =
  | GuardCode
  | 'no_credential'
  | 'invalid_body'
  | 'body_too_large'
  | 'invalid_query'
  | 'no_such_page'
  | 'cross_site'
  | 'unavailable';

/** RFC 9457, with a stable `code`. `detail` holds nothing that the caller did not know or may not know. */
export function problem(
  c: Context,
  status: ContentfulStatusCode,
  code: ProblemCode,
  detail: string,
): Response {
  return c.body(
    JSON.stringify({ type: 'about:blank', status, code, title: TITLES[status] ?? 'Error', detail }),
    status,
    {
      'content-type': 'application/problem+json',
      ...(status === 401 ? { 'www-authenticate': 'Bearer realm="countersign"' } : {}),
    },
  );
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad request',
  401: 'No credential',
  403: 'Not eligible',
  404: 'Not found',
  409: 'Already ended',
  413: 'Too long',
  422: 'Bad body',
  503: 'Unavailable',
};

/** The HTTP status of what the guard refuses. */
export const GUARD_STATUS: Readonly<Record<GuardCode, ContentfulStatusCode>> = {
  self_approval: 403,
  agent_credential: 403,
  unknown_person: 403,
  ambiguous_person: 403,
  not_an_approver: 403,
  assurance_too_low: 403,
  not_found: 404,
  already_ended: 409,
  already_answered: 409,
  request_altered: 409,
};
