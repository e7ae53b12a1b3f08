import type { RequestListener } from 'node:http';
import type { HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { Hono } from 'hono';
import { SLACK_PATH } from './endpoint.ts';

/**
 * Our HTTP server's app with Slack's address in front of it. Slack's requests do not pass through the app: they are
 * larger than its limit, and their signature is over the raw body, which nobody may have read before.
 */
export function withSlack(app: Pick<Hono, 'fetch'>, listener: RequestListener): Pick<Hono, 'fetch'> {
  const outer = new Hono();
  outer.all(SLACK_PATH, (c) => {
    // What @hono/node-server hands over with each request.
    const { incoming, outgoing } = c.env as HttpBindings;
    listener(incoming, outgoing);
    return RESPONSE_ALREADY_SENT;
  });
  outer.all('*', (c) => app.fetch(c.req.raw, c.env));
  return outer;
}
