import { decodeJwt } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { attachKey, bindingDigest, bindingOf, bindingText } from '../../src/approval/digest.ts';
import type { ApprovalHandle } from '../../src/approval/store.ts';
import { type ApprovalWorld, answer, approvalWorld, PEOPLE, question } from './support.ts';

const AFTER_MS = 600_000;
/** Long enough for an answer before it, on a busy machine. */
const SOON_MS = 4_000;
/** The reviewer from the beginning, the deputy (by a group) after ten minutes. */
const demand = {
  approvers: ['reviewer'],
  quorum: 1,
  assurance: 1,
  escalation: { afterMs: AFTER_MS, approvers: ['security'] },
} as const;

describe('escalation in the binding', () => {
  const asked = question({ demand });
  const binding = bindingOf(asked, 'n', 9_000_000, 1_000_000);

  it('has its people and its moment from the beginning', () => {
    expect(binding.demand.escalation).toEqual({
      approvers: ['security'],
      afterMs: AFTER_MS,
      fromMs: 1_600_000,
    });
  });

  it.each([
    ['people', { ...demand, escalation: { ...demand.escalation, approvers: ['owner'] } }],
    ['time', { ...demand, escalation: { ...demand.escalation, afterMs: 1 } }],
    ['absence', { approvers: ['reviewer'], quorum: 1, assurance: 1 }],
  ] as const)('binds its %s: another is another question', (_what, other) => {
    const changed = bindingOf(question({ demand: other }), 'n', 9_000_000, 1_000_000);
    expect(bindingDigest(changed)).not.toBe(bindingDigest(binding));
    expect(attachKey(changed)).not.toBe(attachKey(binding));
  });

  it('binds the moment, which attaching does not look at', () => {
    const later = bindingOf(asked, 'n', 9_000_000, 1_000_001);
    expect(bindingDigest(later)).not.toBe(bindingDigest(binding));
    expect(attachKey(later)).toBe(attachKey(binding));
  });

  it('has no binding without the moment', () => {
    expect(() => bindingText(bindingOf(asked, 'n', 9_000_000))).toThrow(TypeError);
  });
});

describe('escalation before the guard', () => {
  let world: ApprovalWorld;
  let approvals: ApprovalHandle;
  let n = 0;
  let asked: ReturnType<typeof question>;
  beforeAll(async () => {
    world = await approvalWorld('apes');
    approvals = await world.open();
  });
  afterAll(() => world?.close());
  beforeEach(() => {
    n += 1;
    asked = question({ text: `DROP TABLE orders_${n}`, demand });
  });

  const short = (afterMs: number) => ({
    ...asked,
    demand: { ...demand, escalation: { ...demand.escalation, afterMs } },
  });
  const slept = (ms: number) => new Promise((done) => setTimeout(done, ms));
  /** Its time has come, by the database. */
  const escalated = (id: string) =>
    expect.poll(async () => (await approvals.get(id))?.escalated, { timeout: 20_000 }).toBe(true);

  it('refuses its people before the time, by the database, whatever a channel thinks', async () => {
    const { id } = await approvals.open(asked);
    for (const verdict of ['approve', 'deny'] as const)
      expect(await approvals.guard.decide(answer(id, 'deputy', { verdict }))).toMatchObject({
        ok: false,
        code: 'not_an_approver',
      });
    const view = await approvals.get(id);
    expect(view).toMatchObject({ state: 'open', demand: { approvers: ['reviewer'] } });
    expect(view?.demandNow.approvers).toEqual(['reviewer']);
    expect((view?.escalatesAt?.getTime() ?? 0) - (view?.createdAt.getTime() ?? 0)).toBeGreaterThan(
      AFTER_MS - 1_000,
    );
    if (view === null) throw new Error('no view');
    expect(approvals.mayApprove(view, [{ kind: 'person', value: 'deputy' }], 1)?.code).toBe(
      'not_an_approver',
    );
    expect(await approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({ state: 'approved' });
  });

  it('counts them from the time on, at the verdict, in the receipt and at the release', async () => {
    const held = short(SOON_MS);
    const { id } = await approvals.open(held);
    expect(await approvals.guard.decide(answer(id, 'deputy'))).toMatchObject({ code: 'not_an_approver' });
    await escalated(id);
    const view = await approvals.get(id);
    expect(view?.demandNow.approvers).toEqual(['reviewer', 'security']);
    if (view === null) throw new Error('no view');
    expect(approvals.mayApprove(view, [{ kind: 'person', value: 'deputy' }], 1)).toBeNull();
    expect(await approvals.guard.decide(answer(id, 'deputy'))).toMatchObject({ ok: true, state: 'approved' });
    expect(await approvals.guard.decide(answer(id, 'deputy'))).toMatchObject({ ok: true, repeated: true });
    const { receipt, approvers } = await approvals.release(id, held);
    expect(approvers).toEqual(['deputy']);
    expect(decodeJwt(receipt)['digest']).toBe(view.digest);
  });

  it('brings its people into quiet hours, before which they are not on call', async () => {
    const onCall = [{ hours: '00:00-24:00', approvers: ['reviewer'], later: ['security'] }];
    const held = {
      ...short(SOON_MS),
      demand: { ...short(SOON_MS).demand, approvers: ['reviewer', 'dba'], onCall },
    };
    const { id } = await approvals.open(held);
    expect(await approvals.guard.decide(answer(id, 'deputy'))).toMatchObject({ ok: false });
    await escalated(id);
    expect(await approvals.guard.decide(answer(id, 'deputy'))).toMatchObject({ ok: true, state: 'approved' });
    expect((await approvals.release(id, held)).approvers).toEqual(['deputy']);
    const other = { ...held, demand: { ...held.demand, onCall: [{ ...onCall[0], later: ['dba'] }] } };
    expect(attachKey(bindingOf({ ...held, demand: other.demand } as typeof held, 'n', 1, 1))).not.toBe(
      attachKey(bindingOf(held, 'n', 1, 1)),
    );
  });

  it('brings nobody into the hours of another rule', async () => {
    const onCall = [
      { hours: '00:00-24:00', approvers: ['reviewer'], later: ['security'] },
      { hours: '00:00-24:00', approvers: ['reviewer'] },
    ];
    const held = { ...short(1), demand: { ...short(1).demand, approvers: [], onCall } };
    const { id } = await approvals.open(held);
    await slept(100);
    expect(await approvals.guard.decide(answer(id, 'deputy'))).toMatchObject({
      ok: false,
      code: 'not_on_call',
    });
    expect(await approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({ ok: true });
  });

  it('brings in no party of the request', async () => {
    const held = {
      ...asked,
      demand: { ...demand, escalation: { afterMs: 1, approvers: ['owner', 'shop-agent', 'dba'] } },
    };
    const { id } = await approvals.open(held);
    await slept(100);
    expect(await approvals.guard.decide(answer(id, 'owner'))).toMatchObject({ code: 'self_approval' });
  });

  it('is the same for another process, and after a restart', async () => {
    const held = short(SOON_MS);
    const { id } = await approvals.open(held);
    await approvals.detach(id);
    await escalated(id);
    const second = await world.open();
    expect(await second.guard.decide(answer(id, 'deputy'))).toMatchObject({ state: 'approved' });
    expect(await second.open(held)).toMatchObject({ id, attached: true, state: 'approved' });
    expect((await second.release(id, held)).approvers).toEqual(['deputy']);
    await second.close();
  });

  it('counts two of a quorum, of whom one was brought in', async () => {
    const held = { ...short(SOON_MS), demand: { ...short(SOON_MS).demand, quorum: 2 } };
    const { id } = await approvals.open(held);
    expect(await approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({ state: 'open' });
    await escalated(id);
    expect(await approvals.guard.decide(answer(id, 'deputy'))).toMatchObject({ state: 'approved' });
    expect((await approvals.release(id, held)).approvers.toSorted()).toEqual(['deputy', 'reviewer']);
  });

  it('does not release for a question whose rule has another escalation, or none', async () => {
    const held = short(1);
    const { id } = await approvals.open(held);
    await slept(100);
    expect(await approvals.guard.decide(answer(id, 'deputy'))).toMatchObject({ state: 'approved' });
    const { escalation: _, ...plain } = demand;
    for (const other of [plain, { ...demand, escalation: { afterMs: 2, approvers: ['security'] } }])
      await expect(approvals.release(id, { ...held, demand: other })).rejects.toMatchObject({
        code: 'receipt_mismatch',
      });
  });

  it('does not count somebody who left the group between verdict and release', async () => {
    const held = short(1);
    const { id } = await approvals.open(held);
    await slept(100);
    expect(await approvals.guard.decide(answer(id, 'deputy'))).toMatchObject({ state: 'approved' });
    await approvals.detach(id);
    const people = PEOPLE.map((one) => (one.id === 'deputy' ? { ...one, groups: [] } : one));
    const second = await world.open({ people });
    await second.open(held);
    await expect(second.release(id, held)).rejects.toMatchObject({ code: 'approvers_not_eligible' });
    await second.close();
  });

  it('is told of a row whose moment was moved: the digest is no longer that of the card', async () => {
    const { id } = await approvals.open(asked);
    const before = (await approvals.get(id))?.digest;
    const early = (text: string) => text.replace(/"fromMs":\d+/, '"fromMs":1');
    const { rows } = await world.database.query('SELECT binding FROM countersign.request WHERE id = $1', [
      id,
    ]);
    const binding = early(String(rows[0]?.binding));
    // The digest alone, or both of them: a check of the table refuses one, and a card shows the other.
    await expect(
      world.database.query('UPDATE countersign.request SET binding = $2 WHERE id = $1', [id, binding]),
    ).rejects.toThrow('violates check constraint');
    await world.database.query(
      `UPDATE countersign.request SET binding = $2, digest = encode(sha256(convert_to($2, 'UTF8')), 'hex') WHERE id = $1`,
      [id, binding],
    );
    expect((await approvals.get(id))?.digest).not.toBe(before);
    expect(await approvals.guard.decide(answer(id, 'deputy'))).toMatchObject({ code: 'request_altered' });
    expect(await approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({ code: 'request_altered' });
  });
});
