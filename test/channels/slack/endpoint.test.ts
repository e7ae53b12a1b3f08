import { Hono } from 'hono';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listenHttp } from '../../../src/channels/api/server.ts';
import { withSlack } from '../../../src/channels/slack/mount.ts';
import { request } from './fake-desk.ts';
import { type Harness, startHarness, until } from './harness.ts';

const APPROVE = 'countersign_approve';
const now = () => Math.floor(Date.now() / 1000);

describe('what Slack sends over HTTP', () => {
  let on: Harness;
  let click: object;
  beforeEach(async () => {
    on = await startHarness('http');
    click = on.slack.clickPayload(await on.card(on.desk.put(request()).id), APPROVE, 'U0REVIEWER');
  });
  afterEach(() => on.close());

  it.each([
    ['a wrong secret', () => ({ secret: 'f'.repeat(32) })],
    ['an altered body', () => ({ body: 'payload=%7B%7D' })],
    ['a time-stamp six minutes old', () => ({ timestamp: now() - 360 })],
    ['a time-stamp an hour ahead', () => ({ timestamp: now() + 3_600 })],
  ])('is refused with %s', async (_what, signing) => {
    expect((await on.slack.deliver(click, signing())).status).toBe(401);
    expect(on.desk.answers).toHaveLength(0);
  });

  it('is taken with a time-stamp four minutes old or ahead', async () => {
    for (const apart of [-240, 240]) {
      expect((await on.slack.deliver(click, { timestamp: now() + apart })).status).toBe(200);
    }
    await until(() => on.desk.recorded.length === 1);
  });

  it.each([
    ['no headers', {}],
    ['no signature', { 'x-slack-request-timestamp': String(now()) }],
    ['a time-stamp that is no number', { 'x-slack-request-timestamp': '0x10', 'x-slack-signature': 'v0=00' }],
    ['an empty signature', { 'x-slack-request-timestamp': String(now()), 'x-slack-signature': 'v0=' }],
  ])('is refused with %s', async (_what, headers) => {
    const body = new URLSearchParams({ payload: JSON.stringify(click) });
    const response = await fetch(on.slack.requestUrl ?? '', { method: 'POST', headers, body });
    expect(response.status).toBe(401);
    expect(on.desk.answers).toHaveLength(0);
  });

  it('has an unsigned ssl_check answered, and nothing that is smuggled in with it', async () => {
    const body = new URLSearchParams({ ssl_check: '1', payload: JSON.stringify(click) });
    const headers = { 'x-slack-request-timestamp': String(now()) };
    const type = { 'content-type': 'application/x-www-form-urlencoded' };
    const response = await fetch(on.slack.requestUrl ?? '', {
      method: 'POST',
      headers: { ...headers, ...type },
      body,
    });
    expect(response.status).toBe(200);
    expect(on.desk.answers).toHaveLength(0);
  });

  it('is only there at its own address, for POST', async () => {
    const url = on.slack.requestUrl ?? '';
    expect((await fetch(url)).status).toBe(404);
    expect((await fetch(url.replace('/slack/events', '/'), { method: 'POST' })).status).toBe(404);
  });

  it('is taken by our one HTTP server, beside what else it serves', async () => {
    const app = new Hono().get('/livez', (c) => c.text('ok')).notFound((c) => c.text('nothing', 404));
    const { requestListener } = on.channel;
    if (requestListener === null) throw new Error('HTTP mode has a listener');
    const server = await listenHttp(withSlack(app, requestListener), { host: '127.0.0.1', port: 0 });
    const base = `http://127.0.0.1:${server.port}`;
    on.slack.requestUrl = `${base}/slack/events`;
    expect((await on.slack.deliver(click, { secret: 'f'.repeat(32) })).status).toBe(401);
    expect((await on.slack.deliver({ ...click, filler: 'x'.repeat(200_000) })).status).toBe(200);
    await until(() => on.desk.recorded.length === 1);
    expect(await (await fetch(`${base}/livez`)).text()).toBe('ok');
    expect((await fetch(`${base}/elsewhere`, { method: 'POST', body: 'x' })).status).toBe(404);
    expect((await fetch(on.slack.requestUrl)).status).toBe(404);
    await server.close();
  });

  it('is refused above its size', async () => {
    const signed = await on.slack.deliver({ ...click, filler: 'x'.repeat(600_000) });
    expect(signed.status).toBe(413);
  });
});
