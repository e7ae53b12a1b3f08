import { generateKeyPairSync, sign } from 'node:crypto';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { attachKey, bindingDigest, bindingOf, bindingText, statementKey } from '../../src/approval/digest.ts';
import type { Question } from '../../src/approval/port.ts';
import type { ApprovalHandle } from '../../src/approval/store.ts';
import {
  type ApprovalWorld,
  answer,
  approvalWorld,
  deputy,
  owner,
  principal,
  question,
  reviewer,
} from './support.ts';

/**
 * Somebody who has the database password of the proxy, and so may write the tables of `countersign` as it may; but none of
 * the installation's keys. What the constraints stop is in schema.test.ts; here is what only the guard finds. What neither
 * stops: ending requests (denied, expired, withdrawn), so that nothing runs; the log has no entry for such an end.
 */
let world: ApprovalWorld;
let approvals: ApprovalHandle;
let writer: pg.Client;
let asked: Question;
let id: string;
let n = 0;
const two = { approvers: [], quorum: 2, assurance: 1 } as const;

beforeAll(async () => {
  world = await approvalWorld('apins');
  approvals = await world.open();
  writer = new pg.Client(world.writer);
  await writer.connect();
});
afterAll(async () => {
  await writer?.end();
  await world?.close();
});
beforeEach(async () => {
  n += 1;
  asked = question({ text: `DROP TABLE insider_${n}`, demand: two });
  id = (await approvals.open(asked)).id;
});
afterEach(() => vi.restoreAllMocks());

function forge(request: string, person: string, seal: string): Promise<unknown> {
  return writer.query(
    `INSERT INTO countersign.verdict (request_id, person, verdict, channel, assurance, ids, facts, seal)
     VALUES ($1, $2, 'approve', 'api', 1, '{}', '{}', $3)`,
    [request, person, seal],
  );
}
async function sealOf(request: string, person: string): Promise<string> {
  const { rows } = await writer.query(
    'SELECT seal FROM countersign.verdict WHERE request_id = $1 AND person = $2',
    [request, person],
  );
  return (rows[0] as { seal: string }).seal;
}
async function expectAltered(person = 'reviewer'): Promise<void> {
  expect(await approvals.guard.decide(answer(id, person))).toMatchObject({
    ok: false,
    code: 'request_altered',
  });
  expect((await approvals.get(id))?.state).toBe('open');
  const refused = (await world.entries()).filter(({ request_id: of }) => of === id).at(-1);
  expect(refused).toMatchObject({ kind: 'verdict_refused', detail: { code: 'request_altered' } });
}

describe('a verdict that the guard did not record', () => {
  it('is no half of a quorum: without a seal, with one of another verdict, with one of another key', async () => {
    const other = (await approvals.open(question({ text: `DROP TABLE lent_${n}`, demand: two }))).id;
    await approvals.guard.decide(answer(other, 'deputy'));
    const lent = await sealOf(other, 'deputy');
    const { privateKey } = generateKeyPairSync('ed25519');
    const own = `${world.keys.signer.kid}.${sign(null, Buffer.from('x'), privateKey).toString('base64url')}`;
    for (const [place, seal] of ['', lent, own, `${'A'.repeat(43)}.${'A'.repeat(86)}`, 'x'].entries()) {
      asked = question({ text: `DROP TABLE forged_${n}_${place}`, demand: two });
      id = (await approvals.open(asked)).id;
      await forge(id, 'deputy', seal);
      await expectAltered();
    }
  });

  it('counts as little when it was put there after another one that is good', async () => {
    expect(await approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({ ok: true, state: 'open' });
    await forge(id, 'deputy', await sealOf(id, 'reviewer'));
    await expectAltered('principal');
    expect(await approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({ code: 'request_altered' });
  });

  it('is found out where one that is good was changed', async () => {
    await approvals.guard.decide(answer(id, 'reviewer'));
    // The constraints stop the writer; somebody with more rights changes whose it is.
    await expect(
      writer.query("UPDATE countersign.verdict SET reason = 'x' WHERE request_id = $1", [id]),
    ).rejects.toMatchObject({ constraint: 'verdict_is_final' });
    await world.database.query('ALTER TABLE countersign.verdict DISABLE TRIGGER USER');
    await world.database.query("UPDATE countersign.verdict SET person = 'deputy' WHERE request_id = $1", [
      id,
    ]);
    await world.database.query('ALTER TABLE countersign.verdict ENABLE ALWAYS TRIGGER verdict_guard');
    await expectAltered();
  });
});

describe('a request that the program did not open', () => {
  it('shows something harmless, and its approval releases nothing', async () => {
    const evil = question({ text: `DROP TABLE evil_${n}` });
    const expires = new Date(Date.now() + 600_000);
    const real = bindingOf(evil, `nonce-${n}`, expires.getTime());
    const shown = bindingOf({ ...evil, sql: 'SELECT 1' }, `nonce-${n}`, expires.getTime());
    const forged = `req_${'0'.repeat(18)}${String(n).padStart(4, '0')}`;
    await writer.query(
      `INSERT INTO countersign.request (id, agent, owner, on_behalf_of, database, role, sql, class, rule, command, shown,
         binding, digest, attach_key, statement_key, nonce, forbidden, quorum, assurance, expires_at)
       SELECT $2, agent, owner, on_behalf_of, database, role, 'SELECT 1', class, rule, command, shown,
         $3, $4, $5, $6, $7, forbidden, 1, 1, $8 FROM countersign.request WHERE id = $1`,
      [
        id,
        forged,
        bindingText(shown),
        bindingDigest(shown),
        attachKey(real),
        statementKey(real),
        `nonce-${n}`,
        expires,
      ],
    );
    expect(await approvals.guard.decide(answer(forged, 'reviewer'))).toMatchObject({
      ok: true,
      state: 'approved',
    });
    expect(await approvals.open(evil)).toMatchObject({ id: forged, state: 'approved', attached: true });
    await expect(approvals.release(forged, evil)).rejects.toMatchObject({ code: 'receipt_mismatch' });
  });

  it('or that it says is approved, with a receipt of one’s own, releases nothing', async () => {
    await approvals.guard.decide(answer(id, 'reviewer'));
    await forge(id, 'deputy', '');
    await writer.query(
      "UPDATE countersign.request SET state = 'approved', receipt = 'e30.e30.AA', receipt_expires_at = expires_at WHERE id = $1",
      [id],
    );
    await expect(approvals.release(id, asked)).rejects.toMatchObject({
      code: expect.stringMatching(/^receipt_/),
    });
    expect((await approvals.get(id))?.state).toBe('approved');
  });
});

describe('people who may not any more, between the verdict and the release', () => {
  async function approvedByBoth(demand: Question['demand']): Promise<void> {
    asked = question({ text: `DROP TABLE gone_${n}`, demand });
    id = (await approvals.open(asked)).id;
    await approvals.guard.decide(answer(id, 'reviewer'));
    await approvals.guard.decide(answer(id, 'deputy'));
    expect((await approvals.get(id))?.state).toBe('approved');
    await approvals.detach(id);
  }

  it.each([
    ['somebody who left the configuration', [owner, reviewer, principal]],
    ["somebody who left the rule's group", [owner, reviewer, { ...deputy, groups: [] }, principal]],
    [
      'somebody who turns out to be the owner',
      [owner, reviewer, { ...deputy, slack: ['T1/owner'] }, principal],
    ],
  ])('%s does not count', async (_who, people) => {
    await approvedByBoth({ approvers: ['dba', 'security'], quorum: 2, assurance: 1 });
    const today = await world.open({ people });
    expect((await today.open(asked)).state).toBe('approved');
    await expect(today.release(id, asked)).rejects.toMatchObject({ code: 'approvers_not_eligible' });
    expect((await today.get(id))?.state).toBe('approved');
  });

  it('an agent that changed its owner asks anew', async () => {
    await approvedByBoth(two);
    const now = { ...asked, session: { ...asked.session, owner: 'deputy' } };
    expect(await approvals.open(now)).toMatchObject({ state: 'open', attached: false });
    // The old one was superseded with that.
    await expect(approvals.release(id, now)).rejects.toMatchObject({ code: 'request_expired' });
  });
});

describe('at the same moment', () => {
  it('of an approval and a denial through two processes one comes first, and the log says which', async () => {
    const other = await world.open();
    const ends = new Set<string>();
    for (let i = 0; i < 12; i += 1) {
      const one = question({ text: `DROP TABLE raced_${n}_${i}` });
      const raced = (await approvals.open(one)).id;
      const [yes, no] = await Promise.all([
        approvals.guard.decide(answer(raced, 'reviewer')),
        other.guard.decide(answer(raced, 'deputy', { verdict: 'deny' })),
      ]);
      expect([yes.ok, no.ok].filter(Boolean)).toHaveLength(1);
      expect([yes, no].find(({ ok }) => !ok)).toMatchObject({ code: 'already_ended' });
      const state = (await approvals.get(raced))?.state ?? '';
      expect(state).toBe(yes.ok ? 'approved' : 'denied');
      ends.add(state);
      const kinds = (await world.entries())
        .filter(({ request_id: of }) => of === raced)
        .map(({ kind }) => kind);
      expect(kinds.filter((kind) => kind === 'request_approved' || kind === 'request_denied')).toHaveLength(
        1,
      );
      if (no.ok)
        await expect(approvals.release(raced, one)).rejects.toMatchObject({ code: 'request_denied' });
    }
    expect(ends.size).toBeGreaterThan(0);
  });

  it('of a release, a withdrawal and a denial, the release stands or nothing ran', async () => {
    for (let i = 0; i < 8; i += 1) {
      const one = question({ text: `DROP TABLE used_${n}_${i}` });
      const used = (await approvals.open(one)).id;
      await approvals.guard.decide(answer(used, 'reviewer'));
      const [released, , denied] = await Promise.all([
        approvals.release(used, one).then(
          () => true,
          () => false,
        ),
        approvals.withdraw(used, 'cancelled'),
        approvals.guard.decide(answer(used, 'deputy', { verdict: 'deny' })),
      ]);
      expect(denied).toMatchObject({ ok: false, code: 'already_ended' });
      expect((await approvals.get(used))?.state).toBe(released ? 'consumed' : 'withdrawn');
    }
  });
});

describe('a process whose clock is wrong', () => {
  it.each([-86_400_000, 86_400_000])(
    'by %d ms takes what the database has time for, and nothing after',
    async (off) => {
      const real = Date.now;
      vi.spyOn(Date, 'now').mockImplementation(() => real() + off);
      const brief = await world.open({ limits: { requestLifetimeMs: 400, pollMs: 60_000 } });
      const [now, late] = [
        question({ text: `DROP TABLE now_${off}` }),
        question({ text: `DROP TABLE late_${off}` }),
      ];
      const first = await approvals.open(now);
      expect(await approvals.guard.decide(answer(first.id, 'reviewer'))).toMatchObject({ ok: true });
      await approvals.release(first.id, now);
      const second = await brief.open(late);
      await new Promise((done) => setTimeout(done, 600));
      expect(await brief.guard.decide(answer(second.id, 'reviewer'))).toMatchObject({
        code: 'already_ended',
      });
    },
  );
});
