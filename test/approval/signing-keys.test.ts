import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listKeys, recordRevocation } from '../../src/approval/signing-keys.ts';
import type { ApprovalHandle } from '../../src/approval/store.ts';
import { newPrivateKeyText } from '../../src/signing/key-text.ts';
import { keysFrom } from '../../src/signing/keys.ts';
import { type ReceiptClaims, signReceipt } from '../../src/signing/receipt.ts';
import { type ApprovalWorld, answer, approvalWorld, fakeAppend, question } from './support.ts';

const NOW = 1_800_000_000;

let world: ApprovalWorld;
let approvals: ApprovalHandle;
beforeEach(async () => {
  world = await approvalWorld('apkeys');
  // It looks at the table of keys when it must, not because it happens to come by.
  approvals = await world.open({ limits: { pollMs: 600_000 } });
});
afterEach(() => world?.close());

const NO_LOG = { info: () => {}, warn: () => {}, error: () => {} };
const context = () => ({ pool: approvals.pool, appendAudit: fakeAppend, log: NO_LOG });
const state = async (id: string) => (await approvals.get(id))?.state;

async function approved(text: string): Promise<string> {
  const { id } = await approvals.open(question({ text }));
  expect(await approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({ ok: true, state: 'approved' });
  return id;
}

describe('a receipt whose key is revoked', () => {
  it('is refused at release with its own code, though the database says approved', async () => {
    const id = await approved('DROP TABLE a');
    // As another machine does it: this process has heard of nothing yet, and its own key directory is as it was.
    await world.database.query(
      `UPDATE countersign.signing_key SET revoked_at = clock_timestamp(), revoked_reason = 'compromised'`,
    );
    await expect(approvals.release(id, question({ text: 'DROP TABLE a' }))).rejects.toMatchObject({
      name: 'ReleaseRefused',
      code: 'receipt_key_revoked',
    });
    expect(await state(id)).toBe('approved');
  });

  it('ends requests that wait for release, only those that it has signed, each with an entry', async () => {
    const [first, open] = [
      await approved('DROP TABLE b'),
      (await approvals.open(question({ text: 'x' }))).id,
    ];
    const stolen = world.keys.signer.kid;
    await world.keys.directory?.rotate(NOW);
    const second = await approved('DROP TABLE c');
    const { requests } = (await recordRevocation(
      context(),
      stolen,
      { at: NOW, reason: 'compromised' },
      'operator',
    )) ?? { requests: [] };
    expect(requests).toEqual([first]);
    expect([await state(first), await state(open), await state(second)]).toEqual([
      'expired',
      'open',
      'approved',
    ]);
    expect((await approvals.get(first))?.endReason).toContain('revoked');
    const entries = await world.entries();
    expect(entries).toContainEqual(
      expect.objectContaining({
        kind: 'key',
        detail: expect.objectContaining({ event: 'revoked', kid: stolen, requests: first, by: 'operator' }),
      }),
    );
    expect(entries).toContainEqual(expect.objectContaining({ kind: 'request_expired', request_id: first }));
    // The new key's approval is as good as ever.
    expect(await approvals.release(second, question({ text: 'DROP TABLE c' }))).toMatchObject({
      approvers: ['reviewer'],
    });
  });

  it('ends an open request with a verdict that it has sealed: it could be answered by nobody any more', async () => {
    const two = question({ text: 'DROP TABLE e', demand: { approvers: [], quorum: 2, assurance: 1 } });
    const { id } = await approvals.open(two);
    const { id: other } = await approvals.open(question({ text: 'DROP TABLE f' }));
    expect(await approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({ state: 'open' });
    const stolen = world.keys.signer.kid;
    await world.keys.directory?.rotate(NOW);
    await recordRevocation(context(), stolen, { at: NOW, reason: 'compromised' }, 'operator');
    expect([await state(id), await state(other)]).toEqual(['expired', 'open']);
    expect(await approvals.guard.decide(answer(other, 'reviewer'))).toMatchObject({ state: 'approved' });
  });

  it('seals no verdict that counts', async () => {
    const { id } = await approvals.open(
      question({ text: 'DROP TABLE g', demand: { approvers: [], quorum: 2, assurance: 1 } }),
    );
    await approvals.guard.decide(answer(id, 'reviewer'));
    await world.database.query(
      `UPDATE countersign.signing_key SET revoked_at = clock_timestamp(), revoked_reason = 'compromised'`,
    );
    expect(await approvals.guard.decide(answer(id, 'deputy'))).toMatchObject({
      ok: false,
      code: 'request_altered',
    });
  });

  it('is never made: an approval fails when the only key is revoked, and the request stays open', async () => {
    const { id } = await approvals.open(question({ text: 'DROP TABLE d' }));
    const { kid } = world.keys.signer;
    await recordRevocation(context(), kid, { at: NOW, reason: 'compromised' }, 'operator');
    await expect(approvals.guard.decide(answer(id, 'reviewer'))).rejects.toMatchObject({
      code: 'key_revoked',
    });
    expect(await state(id)).toBe('open');
  });
});

describe('the table of keys', () => {
  it('has the keys of every process, and believes no key because it is there', async () => {
    const rows = await listKeys(approvals.pool);
    expect(rows.map(({ kid }) => kid)).toEqual([world.keys.signer.kid]);
    const planted = 'A'.repeat(43);
    await approvals.pool.query(`INSERT INTO countersign.signing_key (kid, public_jwk) VALUES ($1, $2)`, [
      planted,
      JSON.stringify({ ...world.keys.signer.publicJwk, kid: planted }),
    ]);
    const other = await world.open();
    expect(await world.keys.find(planted)).toBeNull();
    await other.close();
  });

  it('takes no revocation back, from nobody', async () => {
    const { kid } = world.keys.signer;
    await recordRevocation(context(), kid, { at: NOW, reason: 'compromised' }, 'operator');
    for (const change of [
      'revoked_at = NULL, revoked_reason = NULL',
      `revoked_at = 'infinity'`,
      `revoked_reason = 'superseded'`,
    ])
      await expect(
        approvals.pool.query(`UPDATE countersign.signing_key SET ${change} WHERE kid = $1`, [kid]),
      ).rejects.toMatchObject({ constraint: 'signing_key_revocation_is_final' });
    await expect(approvals.pool.query('DELETE FROM countersign.signing_key')).rejects.toMatchObject({
      code: '42501',
    });
    // An earlier time is taken: more is known now.
    await recordRevocation(context(), kid, { at: NOW - 100, reason: 'superseded' }, 'somebody else');
    expect((await listKeys(approvals.pool))[0]).toMatchObject({
      revoked_at: new Date((NOW - 100) * 1000),
      revoked_reason: 'compromised',
      revoked_by: 'operator',
    });
  });
});

describe('an insider who can write to the database and has a copy of a key', () => {
  /** As the proxy's own role: verdicts of somebody else's name, the state, and a receipt with whatever he likes. */
  async function forge(id: string, receipt: string): Promise<void> {
    await approvals.pool.query(
      `INSERT INTO countersign.verdict (request_id, person, verdict, channel, assurance, ids, facts)
       VALUES ($1, 'reviewer', 'approve', 'api', 1, '{}', '{}')`,
      [id],
    );
    await approvals.pool.query(
      `UPDATE countersign.request SET state = 'approved', receipt = $2, receipt_expires_at = clock_timestamp() + interval '9 years'
       WHERE id = $1`,
      [id, receipt],
    );
  }

  async function claimsFor(id: string, text: string, nowSeconds: number): Promise<ReceiptClaims> {
    const { rows } = await approvals.pool.query<{ digest: string; nonce: string; binding: string }>(
      'SELECT digest, nonce, binding FROM countersign.request WHERE id = $1',
      [id],
    );
    const { digest = '', nonce = '', binding = '{}' } = rows[0] ?? {};
    const { parametersSha256 } = JSON.parse(binding) as { parametersSha256: string };
    const at = nowSeconds;
    return {
      iss: 'countersign',
      request: id,
      digest,
      sqlSha256: createHash('sha256').update(text).digest('hex'),
      parametersSha256,
      agent: 'shop-agent',
      approvers: [{ person: 'reviewer', channel: 'api', ids: [], assurance: 1, at, reason: null, facts: {} }],
      policyDigest: 'policy-1',
      limits: { rows: null, bytes: null },
      nonce,
      iat: at,
      exp: at + 99_999_999,
    };
  }

  it('gets nothing released by one that was revoked or replaced, nor by one that he puts there himself', async () => {
    const now = Math.floor(Date.now() / 1000);
    const stolen = world.keys.signer;
    await world.keys.directory?.rotate(now - 100_000);
    const text = 'DROP TABLE everything';
    const release = () => approvals.release(id, question({ text }));
    const { id } = await approvals.open(question({ text }));
    await forge(id, await signReceipt(await claimsFor(id, text, now - 200_000), stolen));
    // Backdated to when the key signed: receipts do not live that long.
    await expect(release()).rejects.toMatchObject({ code: 'receipt_key_retired' });
    await recordRevocation(context(), stolen.kid, { at: now, reason: 'compromised' }, 'operator');
    expect(await state(id)).toBe('expired');

    const own = (await keysFrom(newPrivateKeyText(now), [])).signer;
    await approvals.pool.query(
      'INSERT INTO countersign.signing_key (kid, public_jwk, not_before) VALUES ($1, $2, now())',
      [own.kid, JSON.stringify(own.publicJwk)],
    );
    for (const [signer, code] of [
      [stolen, 'receipt_key_revoked'],
      [own, 'receipt_unknown_key'],
    ] as const) {
      const { id: next } = await approvals.open(question({ text }));
      await forge(next, await signReceipt(await claimsFor(next, text, now), signer));
      await expect(approvals.release(next, question({ text }))).rejects.toMatchObject({ code });
      await approvals.withdraw(next, 'over');
    }
    // That the forgery is right in all else: with the key that signs now, it would be released.
    const { id: last } = await approvals.open(question({ text }));
    await forge(last, await signReceipt(await claimsFor(last, text, now), world.keys.signer));
    expect(await approvals.release(last, question({ text }))).toMatchObject({ requestId: last });
  });
});
