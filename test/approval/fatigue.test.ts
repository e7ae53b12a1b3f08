import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { GuardResult, RequestView } from '../../src/approval/guard.ts';
import { type Question, TooManyRequests } from '../../src/approval/port.ts';
import type { ApprovalHandle } from '../../src/approval/store.ts';
import { factLines } from '../../src/channels/fact-lines.ts';
import { type ApprovalWorld, answer, approvalWorld, PEOPLE, question, reviewer, until } from './support.ts';

/** What keeps approvers from being worn down: merging, room for agents, a pace for people, hours, putting off. */
let world: ApprovalWorld;
let approvals: ApprovalHandle;
let n = 0;
let fresh: Question;
beforeAll(async () => {
  world = await approvalWorld('apfat');
  approvals = await world.open({ people: [...PEOPLE, ...QUICK] });
});
afterAll(() => world?.close());
beforeEach(() => {
  n += 1;
  fresh = question({ text: `DROP TABLE fatigue_${n}` });
});

/** People who have approved nothing yet, one for a test that counts. */
const QUICK = ['quick-1', 'quick-2', 'quick-3', 'quick-4'].map((id) => ({
  ...reviewer,
  id,
  email: `${id}@shop.example`,
  slack: [],
  oidc: [],
}));

const demand = (changes: Partial<Question['demand']>) => ({
  demand: { approvers: [], quorum: 1, assurance: 1, ...changes } as Question['demand'],
});
const byAgent = (agent: string): Pick<Question, 'session'> => ({ session: { ...question().session, agent } });
async function view(id: string): Promise<RequestView> {
  const found = await approvals.get(id);
  if (found === null) throw new Error(`no request ${id}`);
  return found;
}
async function opened(asked: Question, times: number): Promise<readonly string[]> {
  const ids: string[] = [];
  for (let i = 0; i < times; i += 1) ids.push((await approvals.open(asked)).id);
  return ids;
}
const codes = (results: readonly GuardResult[]) =>
  results.map((result) => (result.ok ? result.state : result.code));

describe('requests for the very same, open at once', () => {
  it('know of each other, oldest first, and each approval is for one', async () => {
    const ids = await opened(fresh, 3);
    expect(new Set(ids).size).toBe(3);
    const [first = '', second = '', third = ''] = ids;
    expect((await view(second)).alike).toEqual(ids);
    expect(factLines(await view(first)).find(({ label }) => label === 'Waiting alike')?.text).toContain(
      '3 requests',
    );
    expect(await approvals.guard.decide(answer(first, 'reviewer'))).toMatchObject({
      ok: true,
      state: 'approved',
    });
    expect((await view(first)).alike).toEqual([]);
    expect((await view(third)).alike).toEqual([second, third]);
    expect((await view(second)).state).toBe('open');
    await approvals.release(first, fresh);
    await expect(approvals.release(second, fresh)).rejects.toMatchObject({ code: 'request_open' });
  });

  it('tell the oldest, whose card is shown, when one joins or leaves', async () => {
    const heard = new Map<string, RequestView>();
    const stop = approvals.onRequestChanged((changed) => heard.set(changed.id, changed));
    const [first = '', second = '', third = ''] = await opened(fresh, 3);
    await until(() => heard.get(first)?.alike.length === 3);
    await approvals.withdraw(first, 'cancelled');
    await until(() => heard.get(second)?.alike.length === 2);
    await approvals.guard.decide(answer(third, 'reviewer', { verdict: 'deny' }));
    await until(() => heard.get(second)?.alike.length === 1);
    stop();
  });

  it('are answered together: as many verdicts and receipts as requests, of different digests', async () => {
    const ids = await opened(fresh, 3);
    const results = await approvals.guard.decideAll(answer(ids[1] ?? '', 'reviewer'), null);
    expect(codes(results)).toEqual(['approved', 'approved', 'approved']);
    const views = await Promise.all(ids.map(view));
    expect(new Set(views.map(({ receipt }) => receipt)).size).toBe(3);
    expect(new Set(views.map(({ digest }) => digest)).size).toBe(3);
    expect(views.every(({ verdicts }) => verdicts.length === 1)).toBe(true);
    for (const id of ids) expect((await approvals.release(id, fresh)).approvers).toEqual(['reviewer']);
    // A replay finds none of them open, and changes nothing.
    expect(codes(await approvals.guard.decideAll(answer(ids[1] ?? '', 'reviewer'), null))).toEqual([
      'consumed',
    ]);
  });

  it('are answered only as far as they were shown', async () => {
    const shown = await opened(fresh, 2);
    const later = await opened(fresh, 2);
    const results = await approvals.guard.decideAll(answer(shown[0] ?? '', 'reviewer'), shown);
    expect(codes(results)).toEqual(['approved', 'approved']);
    expect((await view(later[0] ?? '')).state).toBe('open');
    const foreign = (await approvals.open(question({ text: `DROP TABLE foreign_${n}` }))).id;
    await approvals.guard.decideAll(answer(later[0] ?? '', 'reviewer'), [later[0] ?? '', foreign]);
    expect((await view(foreign)).state).toBe('open');
  });

  it('are not the same with other data, people, hours, policy, or with something else told', async () => {
    const { id } = await approvals.open(fresh);
    const context = { claims: [], boundary: [], relations: [], findings: [], sent: null };
    for (const other of [
      { ...fresh, ...byAgent('other-agent') },
      { ...fresh, session: { ...fresh.session, onBehalfOf: 'principal' } },
      { ...fresh, searchPath: 'other' },
      { ...fresh, relations: [] },
      { ...fresh, inTransaction: true },
      { ...fresh, reasons: ['something else'] },
      { ...fresh, context },
      { ...fresh, ...demand({ maxPerMinute: 5 }) },
      question({ text: `${fresh.sql} ` }),
    ]) {
      const opened = await approvals.open(other);
      expect((await view(opened.id)).alike).toEqual([opened.id]);
    }
    expect((await view(id)).alike).toEqual([id]);
  });

  it('are not made so by a row that says it is: what the digests bind counts', async () => {
    const { id } = await approvals.open(fresh);
    const evil = (await approvals.open(question({ text: `DROP TABLE evil_${n}` }))).id;
    await world.database.query(
      'UPDATE countersign.request e SET attach_key = r.attach_key FROM countersign.request r WHERE e.id = $1 AND r.id = $2',
      [evil, id],
    );
    expect(codes(await approvals.guard.decideAll(answer(id, 'reviewer'), null))).toEqual(['approved']);
    expect((await view(evil)).state).toBe('open');
  });

  it('are refused to a party once, not once for each', async () => {
    const [id = ''] = await opened(fresh, 3);
    expect(codes(await approvals.guard.decideAll(answer(id, 'owner'), null))).toEqual(['self_approval']);
    expect(codes(await approvals.guard.decideAll(answer('req_\0', 'reviewer'), null))).toEqual(['not_found']);
  });
});

describe('a flood of one agent', () => {
  it('of 500 requests in a minute is limited, and whoever answers is told', async () => {
    const limited = await world.open({ limits: { requestsPerMinutePerAgent: 30, openRequestsPerAgent: 25 } });
    const flood = byAgent('flooding-agent');
    const tried = await Promise.allSettled(
      Array.from({ length: 500 }, (_one, place) =>
        limited.open(question({ text: `DROP TABLE flood_${place}`, ...flood })),
      ),
    );
    const open = tried.flatMap((one) => (one.status === 'fulfilled' ? [one.value.id] : []));
    const refused = tried.flatMap((one) => (one.status === 'rejected' ? [one.reason as Error] : []));
    expect(open).toHaveLength(25);
    expect(refused.every((error) => error instanceof TooManyRequests)).toBe(true);
    expect(refused[0]?.message).toMatch(/limit \(openRequestsPerAgent\): come back when .* in \d+ seconds/);
    const [first = '', ...others] = open;
    expect((await view(first)).refusals).toBe(475);
    expect(factLines(await view(first)).find(({ label }) => label === 'Refused')?.text).toContain('475 more');
    expect(await limited.guard.decide(answer(first, 'reviewer'))).toMatchObject({
      ok: true,
      notice: expect.stringContaining('475 more statements of agent flooding-agent were refused'),
    });
    // Answering makes room, until the minute's number is reached.
    for (const id of others) await limited.guard.decide(answer(id, 'reviewer', { verdict: 'deny' }));
    for (let i = 0; i < 5; i += 1) await limited.open(question({ text: `DROP TABLE more_${i}`, ...flood }));
    await expect(limited.open(question({ text: 'DROP TABLE more_5', ...flood }))).rejects.toThrow(
      /requestsPerMinutePerAgent\): come back in \d+ second/,
    );
    // Nobody else has less room for it, nor is told of it.
    const other = await limited.open(question({ text: 'DROP TABLE quiet', ...byAgent('quiet-agent') }));
    expect(await limited.guard.decide(answer(other.id, 'reviewer'))).not.toHaveProperty('notice');
    // A statement that has its request still attaches.
    await limited.detach(first);
    const again = question({ text: 'DROP TABLE more_0', ...flood });
    const { rows } = await world.database.query('SELECT id FROM countersign.request WHERE sql = $1', [
      again.sql,
    ]);
    await limited.detach(rows[0]?.id);
    expect(await limited.open(again)).toMatchObject({ id: rows[0]?.id, attached: true });
  }, 240_000);

  it('renews the card of its oldest request, so that channels hear of it', async () => {
    const limited = await world.open({ limits: { openRequestsPerAgent: 1 } });
    const flood = byAgent('second-flood');
    const { id } = await limited.open({ ...fresh, ...flood });
    const heard: number[] = [];
    limited.onRequestChanged((changed) => {
      if (changed.id === id) heard.push(changed.refusals);
    });
    await expect(limited.open(question({ text: 'DROP TABLE next', ...flood }))).rejects.toThrow(
      TooManyRequests,
    );
    await until(() => heard.includes(1));
  });
});

describe('a person who approves very fast', () => {
  it('is told so, in whatever channel, and not for denials', async () => {
    const watched = await world.open({ people: QUICK, limits: { approvalsNoticedPerMinute: 3 } });
    const results: GuardResult[] = [];
    for (let i = 0; i < 4; i += 1) {
      const { id } = await watched.open(question({ text: `DROP TABLE fast_${n}_${i}` }));
      const channel = i % 2 === 0 ? 'api' : 'console';
      results.push(await watched.guard.decide(answer(id, 'quick-1', { channel })));
    }
    expect(results.map((result) => result.ok && result.notice !== undefined)).toEqual([
      false,
      false,
      true,
      true,
    ]);
    expect(results[3]).toMatchObject({
      notice: expect.stringContaining('approved 4 requests within a minute'),
    });
    const { id } = await watched.open(fresh);
    expect(await watched.guard.decide(answer(id, 'quick-1', { verdict: 'deny' }))).not.toHaveProperty(
      'notice',
    );
  });

  it('is stopped where the rule says so, and may deny; others are not stopped', async () => {
    const slow = demand({ maxPerMinute: 2 });
    const ids: string[] = [];
    for (let i = 0; i < 4; i += 1) {
      ids.push((await approvals.open(question({ text: `DROP TABLE slow_${n}_${i}`, ...slow }))).id);
    }
    const results = await Promise.all(ids.map((id) => approvals.guard.decide(answer(id, 'quick-2'))));
    // All at once, and through two processes: still two.
    expect(codes(results).sort()).toEqual(['approved', 'approved', 'too_fast', 'too_fast']);
    const left = ids.filter((_id, place) => !results[place]?.ok);
    expect((await view(left[0] ?? '')).verdicts).toEqual([]);
    const refused = (await world.entries()).filter(({ request_id: of }) => of === left[0]);
    expect(refused.at(-1)).toMatchObject({ kind: 'verdict_refused', detail: { code: 'too_fast' } });
    expect(await approvals.guard.decide(answer(left[0] ?? '', 'quick-2', { verdict: 'deny' }))).toMatchObject(
      {
        ok: true,
        state: 'denied',
      },
    );
    expect(await approvals.guard.decide(answer(left[1] ?? '', 'principal'))).toMatchObject({ ok: true });
    // A repetition is none.
    const first = ids.find((_id, place) => results[place]?.ok) ?? '';
    expect(await approvals.guard.decide(answer(first, 'quick-2'))).toMatchObject({
      ok: true,
      repeated: true,
    });
  });

  it('is stopped in the midst of all that are shown as one', async () => {
    const asked = { ...fresh, ...demand({ maxPerMinute: 2 }) };
    const ids = await opened(asked, 4);
    const results = await approvals.guard.decideAll(answer(ids[0] ?? '', 'quick-3'), null);
    expect(codes(results)).toEqual(['approved', 'approved', 'too_fast']);
    expect((await view(ids[3] ?? '')).state).toBe('open');
  });

  it('is stopped by the general limit where no rule has one', async () => {
    const strict = await world.open({ people: QUICK, limits: { approvalsPerMinutePerPerson: 1 } });
    const [one, two] = [await strict.open(fresh), await strict.open(fresh)];
    expect(codes([await strict.guard.decide(answer(one.id, 'quick-4'))])).toEqual(['approved']);
    expect(codes([await strict.guard.decide(answer(two.id, 'quick-4'))])).toEqual(['too_fast']);
  });
});

describe('hours', () => {
  /** A window that holds now, and one that does not, wherever the test runs. */
  const hour = (ahead: number) =>
    String(new Date(Date.now() + ahead * 3_600_000).getUTCHours()).padStart(2, '0');
  const now = { hours: `${hour(-1)}:00-${hour(2)}:00` };
  const later = { hours: `${hour(8)}:00-${hour(10)}:00` };

  it('in which only those on call may approve; everybody may deny', async () => {
    const asked = { ...fresh, ...demand({ onCall: [{ ...now, approvers: ['security'] }] }) };
    const { id } = await approvals.open(asked);
    expect(await approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({
      ok: false,
      code: 'not_on_call',
    });
    expect(approvals.mayApprove(await view(id), [{ kind: 'person', value: 'reviewer' }], 1)?.code).toBe(
      'not_on_call',
    );
    expect(approvals.mayApprove(await view(id), [{ kind: 'person', value: 'deputy' }], 1)).toBeNull();
    expect(await approvals.guard.decide(answer(id, 'deputy'))).toMatchObject({ ok: true, state: 'approved' });
    await approvals.release(id, asked);
    const other = await approvals.open(question({ text: `DROP TABLE hours_${n}`, demand: asked.demand }));
    expect(await approvals.guard.decide(answer(other.id, 'reviewer', { verdict: 'deny' }))).toMatchObject({
      ok: true,
    });
  });

  it('that are over ask everybody, and an approval counts as of when it was given', async () => {
    const asked = { ...fresh, ...demand({ onCall: [{ ...later, approvers: ['security'] }] }) };
    const { id } = await approvals.open(asked);
    expect(await approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({
      ok: true,
      state: 'approved',
    });
    expect((await approvals.release(id, asked)).approvers).toEqual(['reviewer']);
  });

  it('narrow whom the rule names, and each window that holds narrows further', async () => {
    const both = demand({
      approvers: ['dba', 'security'],
      onCall: [
        { ...now, approvers: ['dba', 'deputy'] },
        { ...now, approvers: ['deputy', 'principal'] },
      ],
    });
    const { id } = await approvals.open({ ...fresh, ...both });
    for (const [person, code] of [
      ['reviewer', 'not_on_call'],
      ['principal', 'not_an_approver'],
      ['owner', 'self_approval'],
    ] as const) {
      expect(await approvals.guard.decide(answer(id, person))).toMatchObject({ ok: false, code });
    }
    expect(await approvals.guard.decide(answer(id, 'deputy'))).toMatchObject({ ok: true });
  });

  it('are part of what is approved: with others, it is another request', async () => {
    const asked = { ...fresh, ...demand({ onCall: [{ ...later, approvers: ['security'] }] }) };
    const { id } = await approvals.open(asked);
    await approvals.guard.decide(answer(id, 'reviewer'));
    await expect(approvals.release(id, fresh)).rejects.toMatchObject({ code: 'receipt_mismatch' });
    expect((await view(id)).demand).toEqual(asked.demand);
  });
});

describe('putting off', () => {
  const ben = [{ kind: 'person', value: 'reviewer' }] as const;

  it('is for oneself alone, with all that are shown as one, until its time or until it is taken back', async () => {
    const [first = '', second = ''] = await opened(fresh, 2);
    const { revision: _old, ...before } = await view(first);
    expect(await approvals.snooze(second, ben, 30)).toBeNull();
    const snoozed = await approvals.snoozed(ben);
    expect([...snoozed.keys()].sort()).toEqual([first, second].sort());
    expect((await approvals.snoozed([{ kind: 'person', value: 'deputy' }])).size).toBe(0);
    expect(await view(first)).toMatchObject(before);
    expect(await approvals.snooze(first, ben, 0)).toBeNull();
    expect((await approvals.snoozed(ben)).size).toBe(0);
    expect(await approvals.guard.decide(answer(first, 'reviewer'))).toMatchObject({ ok: true });
  });

  it('is nothing for agents, strangers, or what has ended', async () => {
    const { id } = await approvals.open(fresh);
    for (const [identity, code] of [
      [{ kind: 'agent', value: 'shop-agent' }, 'agent_credential'],
      [{ kind: 'person', value: 'ghost' }, 'unknown_person'],
    ] as const) {
      expect(await approvals.snooze(id, [identity], 5)).toMatchObject({ code });
    }
    expect(await approvals.snooze('req_none', ben, 5)).toMatchObject({ code: 'not_found' });
    await approvals.withdraw(id, 'cancelled');
    expect(await approvals.snooze(id, ben, 5)).toMatchObject({ code: 'already_ended' });
  });
});
