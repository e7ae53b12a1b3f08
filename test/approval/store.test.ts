import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ReleaseRefused, type RequestState, TooManyRequests } from '../../src/approval/port.ts';
import type { ApprovalHandle } from '../../src/approval/store.ts';
import { type ApprovalWorld, answer, approvalWorld, NOTHING, PEOPLE, question, until } from './support.ts';

let world: ApprovalWorld;
let approvals: ApprovalHandle;
let n = 0;

beforeAll(async () => {
  world = await approvalWorld('apst');
  approvals = await world.open();
});
afterAll(() => world?.close());
/** Each test asks about a statement of its own. */
let fresh: ReturnType<typeof question>;
beforeEach(() => {
  n += 1;
  fresh = question({ text: `DROP TABLE orders_${n}` });
});

async function approved(asked = fresh): Promise<string> {
  const { id } = await approvals.open(asked);
  expect(await approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({ ok: true, state: 'approved' });
  return id;
}

describe('the way of a request', () => {
  it('opens, is approved, released once, and ends with its outcome, each step an entry', async () => {
    const { id, state, attached, url } = await approvals.open(fresh);
    expect(id).toMatch(/^req_[0-9A-Za-z]{22}$/);
    expect({ state, attached, url }).toEqual({
      state: 'open',
      attached: false,
      url: `http://127.0.0.1:8080/requests/${id}`,
    });
    const heard: RequestState[] = [];
    approvals.watch(id, (now) => heard.push(now));
    const result = await approvals.guard.decide(answer(id, 'reviewer'));
    expect(result).toEqual({
      ok: true,
      id,
      state: 'approved',
      person: 'reviewer',
      repeated: false,
      approvals: 1,
      quorum: 1,
    });
    await until(() => heard.includes('approved'));
    const release = await approvals.release(id, fresh);
    expect(release.approvers).toEqual(['reviewer']);
    await approvals.end(id, 'executed', { tag: 'DROP TABLE', rows: 0n, bytes: 0n, sqlstate: null });
    await until(() => heard.includes('executed'));
    // Changes that follow at once may be told as one.
    expect(heard.filter((state) => state !== 'consumed')).toEqual(['approved', 'executed']);
    const view = await approvals.get(id);
    expect(view?.outcome).toEqual({ tag: 'DROP TABLE', rows: 0n, bytes: 0n, sqlstate: null });
    expect(view?.verdicts).toMatchObject([{ person: 'reviewer', verdict: 'approve', reason: 'looks right' }]);
    const kinds = (await world.entries()).filter((entry) => entry.request_id === id).map(({ kind }) => kind);
    expect(kinds).toEqual(['request_opened', 'verdict', 'request_approved', 'released', 'request_ended']);
  });

  it('is denied with the reason, and the same statement is denied at once for a while', async () => {
    const { id } = await approvals.open(fresh);
    await approvals.guard.decide(answer(id, 'reviewer', { verdict: 'deny', reason: 'not on a Friday' }));
    const again = await approvals.open(fresh);
    expect(again).toMatchObject({
      id,
      state: 'denied',
      attached: true,
      ended: { people: ['reviewer'], reason: 'not on a Friday', repeatedUntil: expect.any(Date) },
    });
    const impatient = await world.open({ limits: { denialRepeatMs: 0 } });
    expect((await impatient.open(fresh)).id).not.toBe(id);
  });

  it('is withdrawn, and then takes no verdict', async () => {
    const { id } = await approvals.open(fresh);
    await approvals.withdraw(id, 'the client cancelled');
    expect(await approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({
      ok: false,
      code: 'already_ended',
    });
    await approvals.withdraw(id, 'again');
    expect((await approvals.get(id))?.endReason).toBe('the client cancelled');
  });

  it('is withdrawn once the store is back, where it was away', async () => {
    const { id } = await approvals.open(fresh);
    const connect = vi.spyOn(approvals.pool, 'connect').mockImplementation(() => {
      throw new Error('away');
    });
    await expect(approvals.withdraw(id, 'the client cancelled')).rejects.toThrow('away');
    connect.mockRestore();
    expect((await approvals.get(id))?.state).toBe('open');
    await until(async () => (await approvals.get(id))?.state === 'withdrawn');
  });

  it('is not withdrawn by a hold that another process has taken it over from', async () => {
    const { id } = await approvals.open(fresh);
    await approvals.detach(id);
    const other = await world.open({});
    expect((await other.open(fresh)).id).toBe(id);
    await approvals.withdraw(id, 'the client cancelled');
    expect((await other.get(id))?.state).toBe('open');
    await other.withdraw(id, 'the client cancelled');
    expect((await other.get(id))?.state).toBe('withdrawn');
  });

  it('expires by the database clock, open or approved', async () => {
    const brief = await world.open({ limits: { requestLifetimeMs: 300 } });
    const { id } = await brief.open(fresh);
    const heard: RequestState[] = [];
    brief.watch(id, (state) => heard.push(state));
    await until(() => heard.includes('expired'));
    const stale = await world.open({ limits: { receiptLifetimeMs: 300 } });
    const other = question({ text: `DROP TABLE others_${n}` });
    const late = await stale.open(other);
    await stale.guard.decide(answer(late.id, 'reviewer'));
    await until(async () => (await stale.get(late.id))?.state === 'expired');
    await expect(stale.release(late.id, other)).rejects.toMatchObject({ code: 'request_expired' });
  });

  it('takes no verdict after its time even before the janitor came', async () => {
    const lazy = await world.open({ limits: { requestLifetimeMs: 30, pollMs: 60_000 } });
    const { id } = await lazy.open(fresh);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(await lazy.guard.decide(answer(id, 'reviewer'))).toMatchObject({
      ok: false,
      code: 'already_ended',
    });
  });
});

describe('attaching', () => {
  it('joins a detached request, also an approved one, and from another process', async () => {
    const { id } = await approvals.open(fresh);
    await approvals.detach(id);
    const other = await world.open();
    expect(await other.open(fresh)).toMatchObject({ id, attached: true, state: 'open' });
    await other.detach(id);
    await approvals.guard.decide(answer(id, 'reviewer'));
    expect(await approvals.open(fresh)).toMatchObject({ id, attached: true, state: 'approved' });
    expect((await approvals.release(id, fresh)).requestId).toBe(id);
  });

  it('is found by the next hold of this process although the last one has only just left', async () => {
    const { id } = await approvals.open(fresh);
    const left = approvals.detach(id);
    expect(await approvals.open(fresh)).toMatchObject({ id, attached: true });
    await left;
    expect((await approvals.get(id))?.waiting).toBe(true);
  });

  it('is shown to its agent alone, and where it was asked for somebody, to those who work for the same', async () => {
    const bulk = { text: 'DROP TABLE shown' };
    const { id } = await approvals.open(question(bulk));
    const session = { ...question().session, onBehalfOf: 'principal' };
    const other = await approvals.open(question({ ...bulk, session }));
    const shown = async (agent: string, onBehalfOf: string | null) =>
      (await approvals.openOf({ agent, onBehalfOf })).map((one) => one.id);
    expect(await shown('shop-agent', null)).toContain(id);
    expect(await shown('shop-agent', null)).not.toContain(other.id);
    expect(await shown('shop-agent', 'principal')).toEqual([other.id]);
    expect(await shown('shop-agent', 'reviewer')).toEqual([]);
    expect(await shown('another-agent', null)).toEqual([]);
    // Asked a thousand times at once, it is looked up twice, and all see what was there when they asked.
    const asked = Array.from({ length: 1_000 }, () => shown('shop-agent', 'principal'));
    const late = await approvals.open(question({ text: 'DROP TABLE late', session }));
    for (const one of await Promise.all(asked)) expect(one).toContain(other.id);
    expect(await shown('shop-agent', 'principal')).toContain(late.id);
    await approvals.withdraw(other.id, 'over');
    expect(await shown('shop-agent', 'principal')).toEqual([late.id]);
  });

  it('tells people until when its connection waits, of the last that attached; nothing where none does', async () => {
    const waits = async () => (await approvals.get(id))?.waitsUntil?.getTime();
    const { id } = await approvals.open({ ...fresh, holdMs: 60_000 });
    const first = (await waits()) ?? 0;
    expect(first - Date.now()).toBeGreaterThan(0);
    await approvals.detach(id);
    expect(await waits()).toBeUndefined();
    await approvals.open({ ...fresh, holdMs: 3_600_000 });
    expect(await waits()).toBeGreaterThan(first + 3_000_000);
  });

  it('never shares one approval: a second hold while the first waits opens a second request', async () => {
    const opened = await Promise.all([approvals.open(fresh), approvals.open(fresh), approvals.open(fresh)]);
    expect(new Set(opened.map(({ id }) => id)).size).toBe(3);
  });

  it('another run of the same agent attaches; other parameters, person or search_path do not', async () => {
    const { id } = await approvals.open(fresh);
    await approvals.detach(id);
    const others = [
      { searchPath: 'evil, public' },
      { session: { ...fresh.session, onBehalfOf: 'principal' } },
      { parameters: [{ typeOid: 23, format: 0 as const, value: Buffer.from('1'), shown: '1' }] },
    ];
    for (const change of others) expect((await approvals.open({ ...fresh, ...change })).id).not.toBe(id);
    const run = { ...fresh, session: { ...fresh.session, run: 'run-2' } };
    expect((await approvals.open(run)).id).toBe(id);
    await approvals.guard.decide(answer(id, 'reviewer'));
    expect((await approvals.release(id, run)).requestId).toBe(id);
  });

  it('a changed policy or object opens a new request and expires the old one', async () => {
    const { id } = await approvals.open(fresh);
    await approvals.detach(id);
    const next = await approvals.open({ ...fresh, policyDigest: 'policy-2' });
    expect(next.id).not.toBe(id);
    expect(await approvals.get(id)).toMatchObject({ state: 'expired' });
    await approvals.detach(next.id);
    const moved = {
      ...fresh,
      policyDigest: 'policy-2',
      relations: [{ name: 'public.orders', oid: 17_000, mode: 'write' as const }],
    };
    expect((await approvals.open(moved)).id).not.toBe(next.id);
    expect(await approvals.get(next.id)).toMatchObject({ state: 'expired' });
  });

  it('an object that cannot be looked up for a while ends nothing: what was approved is there when it can be', async () => {
    const { id } = await approvals.open(fresh);
    await approvals.guard.decide(answer(id, 'reviewer'));
    await approvals.detach(id);
    const unknown = { ...fresh, relations: [{ name: 'orders', oid: null, mode: 'write' as const }] };
    const meanwhile = await approvals.open(unknown);
    expect(meanwhile).toMatchObject({ state: 'open', attached: false });
    await expect(approvals.release(id, unknown)).rejects.toMatchObject({ code: 'receipt_mismatch' });
    await approvals.detach(meanwhile.id);
    expect(await approvals.open(fresh)).toMatchObject({ id, state: 'approved' });
    // With the object known, the question of meanwhile is another one.
    await approvals.detach(id);
    const moved = { ...fresh, relations: [{ name: 'public.orders', oid: 17_000, mode: 'write' as const }] };
    await approvals.open(moved);
    expect(await approvals.get(meanwhile.id)).toMatchObject({ state: 'expired' });
    expect(await approvals.get(id)).toMatchObject({ state: 'expired' });
  });

  it('takes over the hold of a process that died', async () => {
    const dying = await world.open({
      limits: { pollMs: 60_000 },
      processId: `dying-${n}`,
    });
    const { id } = await dying.open(fresh);
    await world.database.query('DELETE FROM countersign.process WHERE id = $1', [`dying-${n}`]);
    expect(await approvals.open(fresh)).toMatchObject({ id, attached: true });
    await approvals.guard.decide(answer(id, 'reviewer'));
    await expect(dying.release(id, fresh)).rejects.toMatchObject({ code: 'lost_race' });
    expect((await approvals.release(id, fresh)).requestId).toBe(id);
  });

  it('stops at the limit of open requests of one agent, also when all come at once', async () => {
    const small = await world.open({ limits: { openRequestsPerAgent: 3 } });
    const session = { ...fresh.session, agent: `busy-${n}` };
    const results = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => small.open(question({ session, text: `DROP TABLE t${i}` }))),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(TooManyRequests);
    }
    expect(await small.openOf({ agent: `busy-${n}`, onBehalfOf: null })).toHaveLength(3);
  });
});

describe('release', () => {
  it('is a compare-and-swap: of ten at once, exactly one', async () => {
    const id = await approved();
    const results = await Promise.allSettled(Array.from({ length: 10 }, () => approvals.release(id, fresh)));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    // The losers must not take the winner's protection from the janitor.
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect((await approvals.get(id))?.state).toBe('consumed');
    await approvals.end(id, 'failed', { ...NOTHING, sqlstate: '42P01' });
    expect((await approvals.get(id))?.state).toBe('failed');
  });

  it.each([
    ['SQL', { sqlBytes: Buffer.from('DROP TABLE customers') }, 'sqlSha256'],
    [
      'parameters',
      { parameters: [{ typeOid: 23, format: 0 as const, value: Buffer.from('2'), shown: '2' }] },
      'parametersSha256',
    ],
    ['agent', { session: { ...question().session, agent: 'other-agent' } }, 'agent'],
    ['policy', { policyDigest: 'policy-9' }, 'policyDigest'],
    ['search_path', { searchPath: 'pg_temp, public' }, 'digest'],
    ['object', { relations: [{ name: 'public.orders', oid: 1, mode: 'write' as const }] }, 'digest'],
    ['shown text', { sql: 'SELECT 1' }, 'digest'],
    ['result formats', { resultFormats: [1] }, 'parametersSha256'],
  ])('is refused for another %s', async (_what, change, named) => {
    const id = await approved();
    await expect(approvals.release(id, { ...fresh, ...change })).rejects.toMatchObject({
      code: 'receipt_mismatch',
      message: expect.stringContaining(named),
    });
    expect((await approvals.get(id))?.state).toBe('approved');
  });

  it('is refused when an approver was removed from the configuration since', async () => {
    const id = await approved();
    await approvals.detach(id);
    const reloaded = await world.open({ people: PEOPLE.filter((person) => person.id !== 'reviewer') });
    await reloaded.open(fresh);
    await expect(reloaded.release(id, fresh)).rejects.toMatchObject({ code: 'approvers_not_eligible' });
  });

  it('is refused for a receipt of another request', async () => {
    const first = await approved();
    const second = await approvals.open(question({ text: `DROP TABLE seconds_${n}` }));
    const receipt = (await approvals.get(first))?.receipt;
    await approvals.guard.decide(answer(second.id, 'reviewer', { verdict: 'approve' }));
    await expect(
      world.database.query('UPDATE countersign.request SET receipt = $2 WHERE id = $1', [second.id, receipt]),
    ).rejects.toMatchObject({ constraint: 'request_receipt_is_final' });
    await world.database.query(
      `ALTER TABLE countersign.request DISABLE TRIGGER request_guard;
       UPDATE countersign.request SET receipt = '${receipt}' WHERE id = '${second.id}';
       ALTER TABLE countersign.request ENABLE ALWAYS TRIGGER request_guard`,
    );
    const asked = question({ text: `DROP TABLE seconds_${n}` });
    await expect(approvals.release(second.id, asked)).rejects.toBeInstanceOf(ReleaseRefused);
  });

  it('becomes unknown when the releasing process is gone, and is never retried', async () => {
    const dying = await world.open({ processId: `gone-${n}` });
    const { id } = await dying.open(fresh);
    await approvals.guard.decide(answer(id, 'reviewer'));
    await dying.release(id, fresh);
    await dying.close();
    await until(async () => (await approvals.get(id))?.state === 'unknown');
    await expect(approvals.release(id, fresh)).rejects.toMatchObject({ code: 'request_unknown' });
    expect((await approvals.open(fresh)).id).not.toBe(id);
  });
});

describe('what must survive', () => {
  it('a restart between question and answer loses nothing', async () => {
    const before = await world.open();
    const { id } = await before.open(fresh);
    await before.close();
    await approvals.guard.decide(answer(id, 'reviewer'));
    const after = await world.open();
    expect(await after.open(fresh)).toMatchObject({ id, state: 'approved', attached: true });
    expect((await after.release(id, fresh)).approvers).toEqual(['reviewer']);
  });

  it('a verdict at one process reaches the hold at another', async () => {
    const holder = await world.open({ limits: { pollMs: 60_000 } });
    const { id } = await holder.open(fresh);
    const heard: RequestState[] = [];
    holder.watch(id, (state) => heard.push(state));
    await approvals.guard.decide(answer(id, 'reviewer'));
    await until(() => heard.length > 0);
    expect(heard).toEqual(['approved']);
  });

  it('a lost notification is found by polling', async () => {
    const { id } = await approvals.open(fresh);
    const heard: RequestState[] = [];
    const cards: RequestState[] = [];
    approvals.watch(id, (state) => heard.push(state));
    approvals.onRequestChanged((view) => void (view.id === id && cards.push(view.state)));
    await world.database.query(
      `UPDATE countersign.request SET state = 'withdrawn', ended_at = clock_timestamp(), changed_at = clock_timestamp(),
         revision = nextval('countersign.revision') WHERE id = $1`,
      [id],
    );
    await until(() => heard.length > 0 && cards.includes('withdrawn'));
  });

  it('the listening connection comes back when it was cut', async () => {
    const holder = await world.open();
    const { id } = await holder.open(fresh);
    const heard: RequestState[] = [];
    holder.watch(id, (state) => heard.push(state));
    await world.database.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'countersign%' AND datname = current_database()",
    );
    await until(async () => {
      const result = await approvals.guard.decide(answer(id, 'reviewer')).catch(() => null);
      return result?.ok === true;
    });
    await until(() => heard.includes('approved'));
  });

  it('a change that cannot be recorded does not happen', async () => {
    const broken = await world.open({ appendAudit: () => Promise.reject(new Error('log is away')) });
    await expect(broken.open(fresh)).rejects.toThrow('log is away');
    expect((await approvals.list({ state: 'all', limit: 200 })).some(({ sql }) => sql === fresh.sql)).toBe(
      false,
    );
    const { id } = await approvals.open(fresh);
    await expect(broken.guard.decide(answer(id, 'reviewer'))).rejects.toThrow('log is away');
    expect(await approvals.get(id)).toMatchObject({ state: 'open', verdicts: [] });
  });

  it('an outcome that could not be stored is stored later', async () => {
    let away = false;
    const { fakeAppend } = await import('./support.ts');
    const flaky = await world.open({
      appendAudit: (client, entries) =>
        away ? Promise.reject(new Error('away')) : fakeAppend(client, entries),
    });
    const { id } = await flaky.open(fresh);
    await approvals.guard.decide(answer(id, 'reviewer'));
    await flaky.release(id, fresh);
    away = true;
    await expect(flaky.end(id, 'executed', NOTHING)).rejects.toThrow('away');
    away = false;
    await until(async () => (await flaky.get(id))?.state === 'executed');
  });
});
