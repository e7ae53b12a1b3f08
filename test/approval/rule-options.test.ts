import { decodeJwt } from 'jose';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ApprovalHandle } from '../../src/approval/store.ts';
import { type ApprovalWorld, answer, approvalWorld, question } from './support.ts';

let world: ApprovalWorld;
let approvals: ApprovalHandle;

beforeAll(async () => {
  world = await approvalWorld('apro');
  approvals = await world.open();
});
afterAll(() => world?.close());

const demand = { approvers: [], quorum: 1, assurance: 1 } as const;

it('a rule says how long a request stays open, and which channel hears of it', async () => {
  const asked = question({ text: 'DROP TABLE a', demand: { ...demand, expiryMs: 90_000, channel: 'C0DBA' } });
  const before = Date.now();
  const { id, expiresAt } = await approvals.open(asked);
  expect(expiresAt.getTime() - before).toBeGreaterThan(85_000);
  expect(expiresAt.getTime() - before).toBeLessThan(85_000 + 60_000);
  const view = await approvals.get(id);
  expect(view?.demand).toEqual({ ...demand, channel: 'C0DBA' });
  expect(view?.limits).toEqual({ rows: null, bytes: null });
});

it('what an approval allows is in the request, its opening and its receipt, and binds the release', async () => {
  const limits = { rows: 500, bytes: null };
  const asked = question({ text: 'COPY a TO STDOUT', limits });
  const { id } = await approvals.open(asked);
  expect((await approvals.get(id))?.limits).toEqual(limits);
  expect(await approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({ state: 'approved' });
  const { limits: _, ...unlimited } = asked;
  await expect(approvals.release(id, unlimited)).rejects.toMatchObject({ code: 'receipt_mismatch' });
  const wider = { ...asked, limits: { rows: 501, bytes: null } };
  await expect(approvals.release(id, wider)).rejects.toMatchObject({ code: 'receipt_mismatch' });
  const { receipt } = await approvals.release(id, asked);
  expect(decodeJwt(receipt)['limits']).toEqual(limits);
});

it('other limits are another question', async () => {
  const one = await approvals.open(question({ text: 'COPY b TO STDOUT', limits: { rows: 5, bytes: null } }));
  await approvals.detach(one.id);
  const two = await approvals.open(question({ text: 'COPY b TO STDOUT', limits: { rows: 6, bytes: null } }));
  expect(two).toMatchObject({ attached: false, state: 'open' });
  expect((await approvals.get(one.id))?.state).toBe('expired');
});
