import type { RequestListener } from 'node:http';
import { HTTPReceiver, type Logger } from '@slack/bolt';

/** Where Slack sends interactions in HTTP mode. */
export const SLACK_PATH = '/slack/events';

/** Slack's rule: a request whose time-stamp is further from now than this is a replay. Seconds. */
const SKEW_SECONDS = 5 * 60;
/** A payload holds its whole message; the largest seen are below 100 kB. Bytes. */
const BODY_BYTES = 512 * 1024;

export type Endpoint = { readonly receiver: HTTPReceiver; readonly listener: RequestListener };

/**
 * Slack's requests to us: the v0 signature is checked by Bolt over the raw body, and the time-stamp here, because
 * Bolt takes one that lies in the future. https://docs.slack.dev/authentication/verifying-requests-from-slack
 */
export function openEndpoint(signingSecret: string, logger: Logger, now: () => number): Endpoint {
  const receiver = new HTTPReceiver({ signingSecret, endpoints: SLACK_PATH, logger, bodyLimit: BODY_BYTES });
  const listener: RequestListener = (request, response) => {
    const path = (request.url ?? '').split('?')[0];
    if (path !== SLACK_PATH || request.method !== 'POST') {
      response.writeHead(404).end();
      return;
    }
    if (!isTimely(request.headers['x-slack-request-timestamp'], now())) {
      response.writeHead(401).end();
      return;
    }
    receiver.requestListener(request, response);
  };
  return { receiver, listener };
}

function isTimely(header: string | string[] | undefined, nowMs: number): boolean {
  if (typeof header !== 'string' || !/^\d{1,12}$/.test(header)) return false;
  return Math.abs(nowMs / 1000 - Number(header)) <= SKEW_SECONDS;
}
