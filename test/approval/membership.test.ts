import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ApprovalHandle } from '../../src/approval/store.ts';
import { type ApprovalWorld, answer, approvalWorld, question } from './support.ts';

let world: ApprovalWorld;
let approvals: ApprovalHandle;
/** Who is in the group `oncall`, which is kept elsewhere; null: nobody can say. */
let oncall: readonly string[] | null;
let n = 0;

beforeAll(async () => {
  world = await approvalWorld('apmb');
  const membership = {
    groupsOf: ({ id }: { readonly id: string }) => (oncall?.includes(id) === true ? ['oncall'] : []),
    unknown: () => (oncall === null ? ['oncall'] : []),
  };
  approvals = await world.open({ membership });
});
afterAll(() => world?.close());

const asks = () => {
  n += 1;
  const demand = { approvers: ['oncall'], quorum: 1, assurance: 1 } as const;
  return question({ text: `DROP TABLE orders_${n}`, demand });
};

it('a member may answer, and the release counts him', async () => {
  oncall = ['reviewer'];
  const asked = asks();
  const { id } = await approvals.open(asked);
  expect(await approvals.guard.decide(answer(id, 'deputy'))).toMatchObject({ code: 'not_an_approver' });
  expect(await approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({ state: 'approved' });
  expect((await approvals.release(id, asked)).approvers).toEqual(['reviewer']);
});

it('the owner of the agent may not, whatever groups he joins', async () => {
  oncall = ['owner', 'reviewer'];
  const { id } = await approvals.open(asks());
  expect(await approvals.guard.decide(answer(id, 'owner'))).toMatchObject({ code: 'self_approval' });
});

it('who left between verdict and release does not count', async () => {
  oncall = ['reviewer'];
  const asked = asks();
  const { id } = await approvals.open(asked);
  expect(await approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({ state: 'approved' });
  oncall = ['deputy'];
  await expect(approvals.release(id, asked)).rejects.toMatchObject({ code: 'approvers_not_eligible' });
});

it('who left before the quorum was reached does not count towards it', async () => {
  oncall = ['reviewer', 'deputy', 'principal'];
  const asked = asks();
  const { id } = await approvals.open({ ...asked, demand: { ...asked.demand, quorum: 2 } });
  expect(await approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({ state: 'open', approvals: 1 });
  oncall = ['deputy', 'principal'];
  expect(await approvals.guard.decide(answer(id, 'deputy'))).toMatchObject({ state: 'open', approvals: 1 });
  expect(await approvals.guard.decide(answer(id, 'principal'))).toMatchObject({ state: 'approved' });
});

it('while nobody can say who is a member, nobody is, and the refusal says so', async () => {
  oncall = ['reviewer'];
  const asked = asks();
  const { id } = await approvals.open(asked);
  oncall = null;
  const refused = await approvals.guard.decide(answer(id, 'reviewer'));
  expect(refused).toMatchObject({ ok: false, code: 'not_an_approver' });
  expect(refused).toMatchObject({ message: expect.stringContaining('group oncall is not known just now') });
  const view = await approvals.get(id);
  if (view === null) throw new Error('no view');
  expect(approvals.mayApprove(view, [{ kind: 'person', value: 'reviewer' }], 1)?.code).toBe(
    'not_an_approver',
  );
  oncall = ['reviewer'];
  expect(await approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({ state: 'approved' });
  oncall = null;
  await expect(approvals.release(id, asked)).rejects.toMatchObject({ code: 'approvers_not_eligible' });
});
