import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { ApprovalHandle } from '../../../src/approval/store.ts';
import { listMessages, retryMessages } from '../../../src/channels/webhooks/messages.ts';
import { startWebhooks, type WebhookLimits, type Webhooks } from '../../../src/channels/webhooks/webhooks.ts';
import type { WebhookConfig } from '../../../src/config/config.ts';
import { DEFAULT_LIMITS } from '../../../src/config/limits.ts';
import { type ApprovalWorld, answer, approvalWorld, NOTHING, question } from '../../approval/support.ts';
import { type Receiver, startReceiver } from '../../support/webhook-receiver.ts';

const newSecret = () => `whsec_${randomBytes(32).toString('base64')}`;
const SECRET = newSecret();
const EVENTS = [
  'request.opened',
  'request.approved',
  'request.denied',
  'request.expired',
  'request.withdrawn',
  'request.released',
  'request.ended',
] as const;

let world: ApprovalWorld;
let approvals: ApprovalHandle;
let receiver: Receiver;
const started: Webhooks[] = [];
const counted: string[] = [];
beforeAll(async () => {
  world = await approvalWorld('whook');
  approvals = await world.open();
  receiver = await startReceiver([SECRET]);
});
afterEach(async () => {
  for (const one of started.splice(0)) await one.close();
  await receiver.close();
  await world.database.query('DELETE FROM countersign.webhook_delivery');
  receiver = await startReceiver([SECRET]);
  counted.length = 0;
});
afterAll(async () => {
  await receiver?.close();
  await world?.close();
});

async function start(
  changes: Partial<WebhookConfig> = {},
  limits: Partial<WebhookLimits> = {},
  desk = approvals,
): Promise<Webhooks> {
  const webhook: WebhookConfig = {
    name: 'hook',
    url: receiver.url,
    secrets: [SECRET],
    events: EVENTS,
    include: 'summary',
    ...changes,
  };
  const webhooks = await startWebhooks({
    webhooks: [webhook],
    desk,
    pool: desk.pool,
    processId: randomBytes(8).toString('hex'),
    limits: {
      ...DEFAULT_LIMITS,
      pollMs: 100,
      webhookFirstRetryMs: 50,
      webhookLastRetryMs: 200,
      webhookTimeoutMs: 2_000,
      ...limits,
    },
    observe: { attempt: (_, result) => counted.push(result), waiting: () => {} },
    log: { warn: () => {}, error: () => {} },
  });
  started.push(webhooks);
  return webhooks;
}

async function runWhole(text: string): Promise<string> {
  const asked = question({ text });
  const { id } = await approvals.open(asked);
  await approvals.guard.decide(answer(id, 'reviewer', { reason: 'a private remark' }));
  await approvals.release(id, asked);
  await approvals.end(id, 'executed', { ...NOTHING, tag: 'DROP TABLE' });
  return id;
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (await holds()) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error('it did not come to hold within 20 s');
}

const typesOf = (id: string, of = receiver.taken) =>
  of.filter((one) => one.requestId === id).map(({ type }) => type);
const WHOLE = ['request.opened', 'request.approved', 'request.released', 'request.ended'];

describe('messages', () => {
  it('tell of a request from its opening to its outcome, in order, signed, without what it is about', async () => {
    await start();
    const id = await runWhole('DROP TABLE very_secret_name');
    await until(() => typesOf(id).length === 4);
    expect(typesOf(id)).toEqual(WHOLE);
    expect(receiver.refused).toEqual([]);
    const bodies = receiver.taken.map(({ body }) => body).join('\n');
    expect(bodies).not.toMatch(/very_secret_name|private remark|public\.orders|changes the schema/);
    expect(bodies).not.toMatch(/eyJ|receipt|nonce|token/i);
    const [opened, approved, , ended] = receiver.taken.map(({ payload }) => payload);
    expect(opened).toMatchObject({
      type: 'request.opened',
      data: { id, state: 'open', agent: 'shop-agent', class: 'ddl', verdicts: [], outcome: null },
    });
    expect(approved?.data).toMatchObject({
      state: 'approved',
      verdicts: [{ person: 'reviewer', verdict: 'approve' }],
    });
    expect(ended?.data).toMatchObject({ state: 'executed', outcome: { tag: 'DROP TABLE', rows: '0' } });
    expect(Date.parse(opened?.timestamp ?? '')).toBeGreaterThan(Date.now() - 60_000);
  });

  it('have the statement and what people wrote where the configuration says so, unless it is too long', async () => {
    await start({ include: 'full' }, { webhookBytes: 8_192 });
    const id = await runWhole('DROP TABLE shown');
    const long = await runWhole(`DROP TABLE ${'x'.repeat(9_000)}`);
    await until(() => typesOf(id).length + typesOf(long).length === 8);
    const of = (request: string) => receiver.taken.filter(({ requestId }) => requestId === request);
    expect(of(id)[1]?.payload.data).toMatchObject({
      sql: 'DROP TABLE shown',
      reasons: ['DROP TABLE changes the schema'],
      verdicts: [{ reason: 'a private remark' }],
    });
    expect(of(long)[0]?.payload.data).toMatchObject({ cut: true, id: long });
    expect(of(long)[0]?.body).not.toContain('xxx');
  });

  it('are of the events that were asked for', async () => {
    await start({ events: ['request.denied', 'request.withdrawn'] });
    const { id } = await approvals.open(question({ text: 'DROP TABLE denied' }));
    await approvals.guard.decide(answer(id, 'reviewer', { verdict: 'deny', reason: 'no' }));
    const { id: other } = await approvals.open(question({ text: 'DROP TABLE withdrawn' }));
    await approvals.withdraw(other, 'the client cancelled');
    await until(() => receiver.taken.length === 2);
    expect(receiver.taken.map(({ type, requestId }) => [type, requestId])).toEqual([
      ['request.denied', id],
      ['request.withdrawn', other],
    ]);
  });

  it('are signed with both secrets while one is changed', async () => {
    const next = newSecret();
    await start({ secrets: [next, SECRET] });
    const old = await runWhole('DROP TABLE rotated');
    await until(() => typesOf(old).length === 4);
    expect(receiver.refused).toEqual([]);
  });
});

describe('a verdict', () => {
  const told = (id: string) => receiver.taken.filter(({ requestId }) => requestId === id);

  it('is an event of its own, before what comes of it, without the reason', async () => {
    await start({ events: ['request.verdict', 'request.approved', 'request.denied'] });
    const demand = { approvers: [], quorum: 2, assurance: 1 } as const;
    const { id } = await approvals.open(question({ text: 'DROP TABLE two', demand }));
    await approvals.guard.decide(answer(id, 'reviewer', { reason: 'a private remark' }));
    await approvals.guard.decide(answer(id, 'reviewer', { reason: 'said twice' }));
    await until(() => typesOf(id).length === 1);
    await approvals.guard.decide(answer(id, 'deputy', { channel: 'slack' }));
    await until(() => typesOf(id).length === 3);
    expect(typesOf(id)).toEqual(['request.verdict', 'request.verdict', 'request.approved']);
    const [first, second, third] = told(id).map(({ payload }) => payload.data);
    expect(first).toMatchObject({
      state: 'open',
      verdict: { person: 'reviewer', verdict: 'approve', channel: 'api', assurance: 1 },
      verdicts: [{ person: 'reviewer' }],
    });
    expect(second).toMatchObject({ state: 'open', verdict: { person: 'deputy', channel: 'slack' } });
    expect(third).not.toHaveProperty('verdict');
    expect(
      told(id)
        .map(({ body }) => body)
        .join(''),
    ).not.toContain('remark');
  });

  it('that somebody changes to a denial is told again, with the reason where that is asked for', async () => {
    await start({ events: ['request.verdict', 'request.denied'], include: 'full' });
    const demand = { approvers: [], quorum: 2, assurance: 1 } as const;
    const { id } = await approvals.open(question({ text: 'DROP TABLE changed_mind', demand }));
    await approvals.guard.decide(answer(id, 'reviewer'));
    await approvals.guard.decide(answer(id, 'reviewer', { verdict: 'deny', reason: 'no after all' }));
    await until(() => typesOf(id).length === 3);
    expect(typesOf(id)).toEqual(['request.verdict', 'request.verdict', 'request.denied']);
    expect(told(id)[1]?.payload.data).toMatchObject({
      verdict: { person: 'reviewer', verdict: 'deny', reason: 'no after all' },
    });
  });

  it('that is refused is none', async () => {
    await start({ events: ['request.verdict', 'request.denied'] });
    const { id } = await approvals.open(question({ text: 'DROP TABLE refused' }));
    await approvals.guard.decide(answer(id, 'owner'));
    await approvals.guard.decide(answer(id, 'reviewer', { verdict: 'deny', reason: 'no' }));
    await until(() => typesOf(id).length === 2);
    expect(told(id)[0]?.payload.data).toMatchObject({ verdict: { person: 'reviewer', verdict: 'deny' } });
  });
});

describe('a receiver', () => {
  it('that fails, hangs, redirects or says wait gets the same message again, and nothing out of order', async () => {
    await start({}, { webhookTimeoutMs: 500 });
    let elsewhere = 0;
    const target = await startReceiver([SECRET]);
    target.script = () => {
      elsewhere += 1;
      return 204;
    };
    const answers = [
      500,
      'hang',
      { status: 307, headers: { location: target.url } },
      { status: 429, headers: { 'retry-after': '0' } },
      204,
    ] as const;
    receiver.script = ({ type }, attempt) =>
      type === 'request.opened' ? (answers[attempt - 1] ?? 204) : 204;
    const id = await runWhole('DROP TABLE again');
    await until(() => typesOf(id).length === 4);
    expect(typesOf(id)).toEqual(WHOLE);
    const first = receiver.calls.slice(0, 5);
    expect(new Set(first.map((one) => one.id)).size).toBe(1);
    expect(new Set(first.map(({ body }) => body)).size).toBe(1);
    expect(receiver.calls).toHaveLength(8);
    expect(elsewhere).toBe(0);
    await target.close();
  });

  it('that stays away gets nothing more in the end; the messages are kept, and sent again when asked', async () => {
    await start({}, { webhookAttempts: 3 });
    receiver.script = () => 503;
    const id = await runWhole('DROP TABLE dead');
    const dead = async () => (await listMessages(approvals.pool, 'dead', null)).length;
    await until(async () => (await dead()) === 4);
    expect(counted.filter((result) => result === 'dead')).toHaveLength(4);
    const { rows } = await approvals.pool.query('SELECT * FROM countersign.webhook_dead');
    expect(rows[0]).toMatchObject({
      webhook: 'hook',
      event: 'request.opened',
      request_id: id,
      attempts: 3,
      last_status: 503,
    });
    receiver.script = () => 204;
    expect(await retryMessages(approvals.pool, null, 'other')).toBe(0);
    expect(await retryMessages(approvals.pool, null, null)).toBe(4);
    await until(() => typesOf(id).length === 4);
    expect(await dead()).toBe(0);
  });

  it('that is slow or away does not keep others from theirs', async () => {
    await start({}, { webhookTimeoutMs: 1_000, webhookFirstRetryMs: 60_000, webhookLastRetryMs: 60_000 });
    const stuck = await approvals.open(question({ text: 'DROP TABLE stuck' }));
    receiver.script = ({ requestId }) => (requestId === stuck.id ? 'hang' : 204);
    const id = await runWhole('DROP TABLE other');
    await until(() => typesOf(id).length === 4);
    await approvals.withdraw(stuck.id, 'over');
    expect(typesOf(stuck.id)).toEqual([]);
  });
});

describe('nothing is lost and nothing is doubled', () => {
  it('while no process is there to send', async () => {
    await (await start()).close();
    const id = await runWhole('DROP TABLE later');
    expect(receiver.calls).toEqual([]);
    await start();
    await until(() => typesOf(id).length === 4);
    expect(typesOf(id)).toEqual(WHOLE);
  });

  it('by three processes at once: each message is sent by one of them', async () => {
    const others = await Promise.all([world.open(), world.open()]);
    await Promise.all([start(), ...others.map((desk) => start({}, {}, desk))]);
    const ids = await Promise.all(Array.from({ length: 8 }, (_, n) => runWhole(`DROP TABLE many_${n}`)));
    await until(() => receiver.taken.length === 32);
    expect(receiver.calls).toHaveLength(32);
    for (const id of ids) expect(typesOf(id)).toEqual(WHOLE);
    for (const one of started.splice(0)) await one.close();
    for (const other of others) await other.close();
  });

  it('by a process that died while it sent: another one takes over, with the same id', async () => {
    await start();
    receiver.script = () => 204;
    await (started.pop() as Webhooks).close();
    const { id } = await approvals.open(question({ text: 'DROP TABLE crash' }));
    await world.database.query(
      `UPDATE countersign.webhook_delivery SET leased_by = 'dead process', attempts = 1,
         leased_until = clock_timestamp() + interval '1 s'`,
    );
    await start();
    await until(() => typesOf(id).length === 1);
    expect(receiver.calls).toHaveLength(1);
  });

  it('after a webhook left the configuration its messages are given up, and no new ones made', async () => {
    await (await start()).close();
    await approvals.open(question({ text: 'DROP TABLE before' }));
    await start({ name: 'another' });
    await approvals.open(question({ text: 'DROP TABLE after' }));
    await until(() => receiver.taken.length === 1);
    const messages = await listMessages(approvals.pool, 'all', 'hook');
    expect(messages).toMatchObject([{ state: 'dead', why: 'the webhook is no longer in the configuration' }]);
    expect(await retryMessages(approvals.pool, null, null)).toBe(0);
    await start();
  });
});

describe('the outbox', () => {
  it('cannot be written to past the requests, nor switched off by a replica role', async () => {
    await start();
    await expect(
      approvals.pool.query(`INSERT INTO countersign.webhook_delivery (webhook, event, request_id, facts)
        SELECT 'hook', 'request.approved', id, '{}' FROM countersign.request LIMIT 1`),
    ).rejects.toMatchObject({ code: '42501' });
    await expect(
      approvals.pool.query(`UPDATE countersign.webhook_delivery SET facts = '{}'`),
    ).rejects.toMatchObject({ code: '42501' });
    const { rows } = await world.database.query(
      `SELECT tgenabled FROM pg_trigger WHERE tgname = 'webhook_outbox'`,
    );
    expect(rows).toEqual([{ tgenabled: 'A' }]);
  });
});
