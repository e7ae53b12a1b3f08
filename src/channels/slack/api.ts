import { type Logger, webApi } from '@slack/bolt';
import type { SlackConfig } from '../../config/config.ts';

export type SlackClient = webApi.WebClient;

/** One call must end within this, milliseconds. */
const CALL_MS = 10_000;

/** Options for every client of Slack's API here: no retries of its own, because ours keep the order. */
export function clientOptions(config: SlackConfig, logger: Logger): webApi.WebClientOptions {
  return {
    ...(config.apiUrl === null ? {} : { slackApiUrl: config.apiUrl }),
    logger,
    retryConfig: { retries: 0 },
    rejectRateLimitedCalls: true,
    allowAbsoluteUrls: false,
    timeout: CALL_MS,
  };
}

export function slackClient(config: SlackConfig, logger: Logger): SlackClient {
  return new webApi.WebClient(config.botToken, clientOptions(config, logger));
}

/**
 * What a failed call means for whoever wants to repeat it. `limited`: after that time. `away`: Slack does not answer,
 * or not sensibly. `setup`: it never works until somebody changes the app, its token or the channel. `refused`: this
 * call will never work.
 */
export type CallFailure =
  | { readonly kind: 'limited'; readonly afterMs: number }
  | { readonly kind: 'away'; readonly why: string }
  | { readonly kind: 'setup'; readonly why: string }
  | { readonly kind: 'refused'; readonly why: string };

const SETUP = new Set([
  'account_inactive',
  'channel_not_found',
  'ekm_access_denied',
  'invalid_auth',
  'is_archived',
  'missing_scope',
  'no_permission',
  'not_allowed_token_type',
  'not_authed',
  'not_in_channel',
  'org_login_required',
  'restricted_action',
  'team_access_not_granted',
  'token_expired',
  'token_revoked',
]);
const AWAY = new Set([
  'fatal_error',
  'internal_error',
  'request_timeout',
  'service_unavailable',
  'team_added_to_org',
]);

export function failureOf(error: unknown): CallFailure {
  if (error instanceof webApi.WebAPIRateLimitedError)
    return { kind: 'limited', afterMs: error.retryAfter * 1000 };
  if (error instanceof webApi.WebAPIPlatformError) {
    const why = error.data.error;
    // What a proxy in between answers comes back as a "platform error" that holds its whole text.
    if (AWAY.has(why) || !/^[a-z0-9_]{1,60}$/.test(why)) return { kind: 'away', why: why.slice(0, 60) };
    if (why === 'ratelimited' || why === 'rate_limited') return { kind: 'limited', afterMs: 1_000 };
    return { kind: SETUP.has(why) ? 'setup' : 'refused', why };
  }
  if (error instanceof webApi.WebAPIHTTPError) return { kind: 'away', why: `HTTP ${error.statusCode}` };
  return { kind: 'away', why: rootMessage(error) };
}

/** "fetch failed" says nothing; what it was caused by does. */
function rootMessage(error: unknown): string {
  let root = error;
  for (let depth = 0; depth < 5 && root instanceof Error && root.cause instanceof Error; depth++)
    root = root.cause;
  if (!(root instanceof Error)) return String(root);
  return root.message || String(Reflect.get(root, 'code') ?? root.name);
}
