import type { Hono } from 'hono';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { listenHttp } from '../../../src/channels/api/server.ts';
import type { Limits } from '../../../src/config/limits.ts';
import { type ApprovalWorld, approvalWorld, question, until } from '../../approval/support.ts';
import { superuser, withClient } from '../../support/postgres.ts';
import { type HttpOptions, type HttpWorld, httpWorld, PUBLIC_URL, post, sha256 } from './support.ts';

let world: ApprovalWorld;
let http: HttpWorld;
let n = 0;
const stops: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  world = await approvalWorld('apevents');
  http = await httpWorld(world);
});
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});
afterAll(() => world?.close());

const withLimits = (limits: Partial<Limits>, more: HttpOptions = {}) =>
  httpWorld(world, PUBLIC_URL, { ...more, limits });

async function open(world = http, text = `DROP TABLE ev_${++n}`): Promise<string> {
  return (await world.approvals.open(question({ text }))).id;
}

type Told = {
  readonly id: string;
  readonly name: string;
  readonly data: { id: string; state: string; sql: string };
};
type Reader = {
  readonly response: Response;
  readonly told: Told[];
  /** Waits until such an event has come. */
  readonly until: (wanted: (event: Told) => boolean) => Promise<Told>;
  /** How the stream ended. */
  readonly ended: Promise<'closed' | 'broken'>;
  readonly stop: () => Promise<unknown>;
};

async function follow(app: Pick<Hono, 'request'>, headers: Record<string, string> = {}): Promise<Reader> {
  const response = await app.request('/api/requests/events', {
    headers: { authorization: 'Bearer reviewer-token', ...headers },
  });
  return read(response);
}

function read(response: Response): Reader {
  const told: Told[] = [];
  const reader = response.body?.getReader();
  const pump = async (): Promise<'closed' | 'broken'> => {
    let text = '';
    const decoder = new TextDecoder();
    for (;;) {
      const part = await reader?.read().catch(() => null);
      if (part === null || part === undefined) return 'broken';
      if (part.done) return 'closed';
      text += decoder.decode(part.value, { stream: true });
      const blocks = text.split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) {
        const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1] ?? '';
        if (field('event') === '') continue;
        told.push({ id: field('id'), name: field('event'), data: JSON.parse(field('data')) as Told['data'] });
      }
    }
  };
  const ended = pump();
  const stop = async () => {
    await reader?.cancel().catch(() => {});
    await ended;
  };
  stops.push(stop);
  return {
    response,
    told,
    until: async (wanted) => {
      await until(() => told.some(wanted));
      return told.find(wanted) as Told;
    },
    ended,
    stop,
  };
}

const of = (id: string, state: string) => (event: Told) => event.data.id === id && event.data.state === state;

describe('the stream of events', () => {
  it('begins with what is live, tells every change, and goes on where it was left', async () => {
    const before = await open();
    const stream = await follow(http.app);
    expect(stream.response.headers.get('content-type')).toBe('text/event-stream');
    await stream.until(of(before, 'open'));
    const later = await open();
    await stream.until(of(later, 'open'));
    await post(http.app, before, 'Bearer reviewer-token', { verdict: 'approve' });
    const last = await stream.until(of(before, 'approved'));
    expect(last.id).toBe(String((await http.approvals.get(before))?.revision));
    await stream.stop();

    await post(http.app, later, 'Bearer reviewer-token', { verdict: 'deny' });
    const old = await open();
    await post(http.app, old, 'Bearer reviewer-token', { verdict: 'deny' });
    const resumed = await follow(http.app, { 'last-event-id': last.id });
    await resumed.until(of(later, 'denied'));
    await resumed.until(of(old, 'denied'));
    // Without a place to go on from, what has ended is not told.
    const fresh = await follow(http.app);
    await fresh.until(of(before, 'approved'));
    expect(fresh.told.some(({ data }) => data.id === old)).toBe(false);
  });

  it('misses no change that was committed late, with an earlier revision', async () => {
    const [slow, fast] = [await open(), await open()];
    // Heard of by everybody who listens, before the reader comes back.
    let heard = false;
    const stop = http.approvals.onRequestChanged(({ id, state }) => {
      heard ||= id === slow && state === 'expired';
    });
    await withClient(superuser(world.database.name), async (client) => {
      await client.query('BEGIN');
      await client.query(
        `UPDATE countersign.request SET revision = nextval('countersign.revision'), changed_at = clock_timestamp(),
           state = 'expired', ended_at = clock_timestamp() WHERE id = $1`,
        [slow],
      );
      await post(http.app, fast, 'Bearer reviewer-token', { verdict: 'deny' });
      await client.query('COMMIT');
    });
    const seen = (await http.approvals.get(fast))?.revision ?? 0n;
    expect((await http.approvals.get(slow))?.revision).toBeLessThan(seen);
    await until(() => heard);
    stop();
    const resumed = await follow(http.app, { 'last-event-id': String(seen) });
    await resumed.until(of(slow, 'expired'));
    await withClient(superuser(world.database.name), (client) =>
      client.query(`UPDATE countersign.request SET changed_at = changed_at - interval '1 hour'`),
    );
    // Whoever saw something long ago is told only of what came after.
    expect(await http.approvals.sureBefore(seen)).toBeLessThanOrEqual(seen);
  });

  it('cuts long statements, as listings do', async () => {
    const id = await open(http, `DROP TABLE long /* ${'x'.repeat(30_000)} */`);
    const stream = await follow(http.app);
    const { data } = await stream.until(of(id, 'open'));
    expect(data).toMatchObject({ cut: true });
    expect(data.sql).toHaveLength(20_000);
  });

  it('ends cleanly and at once when the server stops, and when the credential ends', async () => {
    const server = await listenHttp(http.app, { host: '127.0.0.1', port: 0 });
    const get = (path: string) =>
      fetch(`http://127.0.0.1:${server.port}${path}`, {
        headers: { authorization: 'Bearer reviewer-token' },
      });
    const own = await httpWorld(world, PUBLIC_URL, {
      apiKeys: [
        { name: 'short', sha256: sha256('short'), person: 'reviewer', expiresAt: Date.now() + 1_500 },
      ],
    });
    const short = await follow(own.app, { authorization: 'Bearer short' });
    expect(await short.ended).toBe('closed');
    expect((await follow(own.app, { authorization: 'Bearer short' })).response.status).toBe(401);

    const { followers } = http.dependencies;
    const [stream, id] = [read(await get('/api/requests/events')), await open()];
    await stream.until(of(id, 'open'));
    const waiting = get(`/api/requests/${id}?wait=40s`);
    await new Promise((done) => setTimeout(done, 200));
    followers.close();
    expect(await stream.ended).toBe('closed');
    expect(await (await waiting).json()).toMatchObject({ id, state: 'open' });
    await server.close();
    expect((await http.app.request('/api/requests/events', AS_REVIEWER)).status).toBe(503);
    http = await httpWorld(world);
  });

  it('is limited in number, for each credential and in all', async () => {
    const small = await withLimits({ eventStreams: 3, eventStreamsPerCredential: 2 });
    const streams = [await follow(small.app), await follow(small.app)];
    const refused = await small.app.request('/api/requests/events', AS_REVIEWER);
    expect(refused.status).toBe(429);
    expect(refused.headers.get('retry-after')).toBe('5');
    expect(await refused.json()).toMatchObject({ code: 'too_many_streams' });
    const id = await open();
    expect((await small.app.request(`/api/requests/${id}?wait=1s`, AS_REVIEWER)).status).toBe(429);
    expect((await small.app.request(`/api/requests/${id}`, AS_REVIEWER)).status).toBe(200);
    const deputy = { authorization: 'Bearer deputy-token' };
    expect((await follow(small.app, deputy)).response.status).toBe(200);
    expect((await follow(small.app, deputy)).response.status).toBe(429);
    await streams[0]?.stop();
    expect((await follow(small.app)).response.status).toBe(200);
  });

  it('HEAD opens none', async () => {
    const small = await withLimits({ eventStreamsPerCredential: 1 });
    for (let i = 0; i < 3; i++) {
      const head = await small.app.request('/api/requests/events', { ...AS_REVIEWER, method: 'HEAD' });
      expect(head.status).toBe(200);
    }
    expect((await follow(small.app)).response.status).toBe(200);
  });

  it('a reader who takes nothing is cut, and the others are not', async () => {
    const small = await withLimits({ eventBufferBytes: 60_000 });
    const slow = await small.app.request('/api/requests/events', AS_REVIEWER);
    const other = await follow(small.app, { authorization: 'Bearer deputy-token' });
    const ids: string[] = [];
    for (let i = 0; i < 8; i++)
      ids.push(await open(http, `DROP TABLE slow_${i} /* ${'x'.repeat(15_000)} */`));
    for (const id of ids) await other.until(of(id, 'open'));
    const reader = read(slow);
    expect(await reader.ended).toBe('broken');
    expect(other.response.status).toBe(200);
    // Its place is free again.
    await open();
  });

  it('takes no place that is no revision', async () => {
    for (const after of ['x', '-1', '1'.repeat(19)]) {
      const answer = await http.app.request('/api/requests/events', {
        headers: { ...AS_REVIEWER.headers, 'last-event-id': after },
      });
      expect(answer.status).toBe(422);
    }
  });
});

const AS_REVIEWER = { headers: { authorization: 'Bearer reviewer-token' } };

describe('waiting for one request', () => {
  const get = (id: string, query: string) => http.app.request(`/api/requests/${id}?${query}`, AS_REVIEWER);

  it('answers when it is answered, and at once when it was', async () => {
    const id = await open();
    const waiting = get(id, 'wait=50s');
    await post(http.app, id, 'Bearer reviewer-token', { verdict: 'deny', reason: 'no' });
    expect(await (await waiting).json()).toMatchObject({ id, state: 'denied', endReason: 'no' });
    expect(await (await get(id, 'wait=50s')).json()).toMatchObject({ state: 'denied' });
  });

  it('answers at any change after a revision, and when the time is over', async () => {
    const id = (await http.approvals.open(question({ text: 'DROP TABLE two', demand: TWO }))).id;
    const { revision } = (await (await get(id, 'wait=0s')).json()) as { revision: string };
    const waiting = get(id, `wait=50s&after=${revision}`);
    await post(http.app, id, 'Bearer reviewer-token', { verdict: 'approve' });
    const answer = (await (await waiting).json()) as { revision: string; state: string };
    expect(answer).toMatchObject({ state: 'open', verdicts: [{ person: 'reviewer' }] });
    expect(BigInt(answer.revision)).toBeGreaterThan(BigInt(revision));
    expect(await (await get(id, `wait=1s&after=${answer.revision}`)).json()).toMatchObject({ state: 'open' });
  });

  it('is 404 for no request and 422 for a time that is none', async () => {
    expect((await get('req_0000000000000000000000', 'wait=1s')).status).toBe(404);
    for (const wait of ['51s', '30', 'forever', '-1s']) {
      expect((await get('req_0000000000000000000000', `wait=${wait}`)).status).toBe(422);
    }
  });
});

const TWO = { approvers: [], quorum: 2, assurance: 1 } as const;
