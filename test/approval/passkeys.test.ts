import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Answer, PasskeyAssertion } from '../../src/approval/guard.ts';
import type { ApprovalHandle } from '../../src/approval/store.ts';
import type { Person } from '../../src/config/config.ts';
import { passkeyThumbprint } from '../../src/signing/passkey.ts';
import { readReceipt } from '../../src/signing/receipt.ts';
import { type Changes, device, PRESENT } from '../support/authenticator.ts';
import { withClient } from '../support/postgres.ts';
import {
  type ApprovalWorld,
  answer,
  approvalWorld,
  deputy,
  owner,
  PEOPLE,
  question,
  reviewer,
} from './support.ts';

const ORIGIN = 'https://countersign.example.com';
const [first, second, third] = [device(), device(), device()];
const having = (person: Person, ...devices: readonly (typeof first)[]): Person => ({
  ...person,
  passkeys: devices.map(({ passkey }) => passkey),
});
const PEOPLE_WITH: readonly Person[] = [
  having(owner, third),
  having(reviewer, first),
  having(deputy, second),
  ...PEOPLE.slice(3),
];
const SURE = { approvers: [], quorum: 1, assurance: 3 } as const;

describe('approvals with a passkey', () => {
  let world: ApprovalWorld;
  let desk: ApprovalHandle;
  beforeAll(async () => {
    world = await approvalWorld('appk');
    desk = await world.open({ people: PEOPLE_WITH, publicUrl: ORIGIN });
  });
  afterAll(async () => world?.close());

  let count = 0;
  /** A request that needs a passkey, and the question that it was opened for. */
  async function asked(demand: Partial<typeof SURE | { quorum: number; assurance: 1 | 2 | 3 }> = {}) {
    const asking = question({ text: `DROP TABLE passkey_${count++}`, demand: { ...SURE, ...demand } });
    const { id } = await desk.open(asking);
    const view = await desk.get(id);
    return { id, asking, digest: view?.digest ?? '' };
  }
  function signedBy(
    id: string,
    person: string,
    passkey: PasskeyAssertion,
    more: Partial<Answer> = {},
  ): Answer {
    return answer(id, person, { attestation: { assurance: 1, facts: { key: 'k' }, passkey }, ...more });
  }
  const state = async (id: string) => (await desk.get(id))?.state;
  const refusals = async (id: string) =>
    (await world.entries())
      .filter((entry) => entry.request_id === id && entry.kind === 'verdict_refused')
      .map(({ detail }) => ({ code: detail['code'], why: detail['why'] }));

  it('count as assurance 3, are in the receipt whole, and release', async () => {
    const { id, asking, digest } = await asked();
    const assertion = first.assertion(digest, ORIGIN);
    const result = await desk.guard.decide(signedBy(id, 'reviewer', assertion));
    expect(result).toMatchObject({ ok: true, state: 'approved', person: 'reviewer' });
    const again = await desk.guard.decide(signedBy(id, 'reviewer', assertion));
    expect(again).toMatchObject({ ok: true, repeated: true });
    const { receipt } = await desk.release(id, asking);
    const { claims } = await readReceipt(receipt, world.keys);
    const { id: _id, ...signed } = assertion;
    expect(claims.approvers).toMatchObject([{ person: 'reviewer', assurance: 3 }]);
    expect(claims.approvers[0]?.facts).toEqual({
      key: 'k',
      passkey: passkeyThumbprint(first.passkey.key),
      ...signed,
    });
  });

  it('are not claimed: a channel that says 3, or states what a device would have signed, gives 2', async () => {
    const { id, digest } = await asked();
    const { id: _id, ...signed } = first.assertion(digest, ORIGIN);
    const facts = { passkey: passkeyThumbprint(first.passkey.key), ...signed };
    const attestation = { assurance: 3, facts } as unknown as Answer['attestation'];
    const refused = await desk.guard.decide(answer(id, 'reviewer', { attestation }));
    expect(refused).toMatchObject({ ok: false, code: 'assurance_too_low' });
    expect(refused.ok ? '' : refused.message).toMatch(/asks for a passkey/);
    const lower = await asked({ assurance: 2 });
    const taken = await desk.guard.decide(answer(lower.id, 'reviewer', { attestation }));
    expect(taken).toMatchObject({ ok: true });
    const { claims } = await readReceipt((await desk.get(lower.id))?.receipt ?? '', world.keys);
    expect(claims.approvers[0]).toMatchObject({ assurance: 2, facts: {} });
  });

  const forged: readonly (readonly [string, Changes])[] = [
    ['signs another request', { challenge: Buffer.alloc(32, 7).toString('base64url') }],
    ['comes from another origin', { origin: 'https://countersign.example.org' }],
    ['is for another relying party', { rpId: 'example.com' }],
    ['has no verified user', { flags: PRESENT }],
    ['is from making a passkey', { type: 'webauthn.create' }],
  ];
  it.each(forged)('are refused where the assertion %s, and that is an entry', async (_what, changes) => {
    const { id, digest } = await asked();
    const result = await desk.guard.decide(
      signedBy(id, 'reviewer', first.assertion(digest, ORIGIN, changes)),
    );
    expect(result).toMatchObject({ ok: false, code: 'passkey_refused', state: 'open' });
    expect(await refusals(id)).toEqual([{ code: 'passkey_refused', why: expect.any(String) }]);
  });

  it('are refused with somebody else’s passkey, under its own id or one’s own', async () => {
    const { id, digest } = await asked();
    const theirs = second.assertion(digest, ORIGIN);
    const codes = [];
    for (const assertion of [
      theirs,
      { ...theirs, id: first.passkey.id },
      device().assertion(digest, ORIGIN),
    ]) {
      const result = await desk.guard.decide(signedBy(id, 'reviewer', assertion));
      codes.push(result.ok ? 'taken' : result.code);
    }
    expect(codes).toEqual(['passkey_refused', 'passkey_refused', 'passkey_refused']);
    expect(await state(id)).toBe('open');
  });

  it('are refused when replayed for another request, also for the very same statement asked again', async () => {
    const one = await asked();
    const assertion = first.assertion(one.digest, ORIGIN);
    await desk.guard.decide(signedBy(one.id, 'reviewer', assertion));
    await desk.release(one.id, one.asking);
    await desk.end(one.id, 'executed', { tag: 'DROP TABLE', rows: 0n, bytes: 0n, sqlstate: null });
    const again = await desk.open(one.asking);
    expect(again.id).not.toBe(one.id);
    const replayed = await desk.guard.decide(signedBy(again.id, 'reviewer', assertion));
    expect(replayed).toMatchObject({ ok: false, code: 'passkey_refused' });
  });

  it('of a party of the request are a party’s', async () => {
    const { id, digest } = await asked();
    const result = await desk.guard.decide(signedBy(id, 'owner', third.assertion(digest, ORIGIN)));
    expect(result).toMatchObject({ ok: false, code: 'self_approval' });
  });

  it('answer one of several that are shown as one', async () => {
    const asking = question({ text: 'DROP TABLE passkey_alike', demand: SURE });
    const ids = [(await desk.open(asking)).id, (await desk.open(asking)).id];
    const view = await desk.get(ids[0] ?? '');
    expect(view?.alike).toEqual(ids);
    const assertion = first.assertion(view?.digest ?? '', ORIGIN);
    const results = await desk.guard.decideAll(signedBy(ids[0] ?? '', 'reviewer', assertion), null);
    expect(results.map((result) => (result.ok ? result.state : result.code))).toEqual([
      'approved',
      'passkey_refused',
    ]);
    expect(await state(ids[1] ?? '')).toBe('open');
  });

  it('are not taken with less where a passkey was meant, and denials need none', async () => {
    const { id, digest } = await asked({ assurance: 1 });
    const wrong = first.assertion(digest, ORIGIN, { flags: PRESENT });
    expect(await desk.guard.decide(signedBy(id, 'reviewer', wrong))).toMatchObject({
      code: 'passkey_refused',
    });
    const denied = await desk.guard.decide(signedBy(id, 'reviewer', wrong, { verdict: 'deny' }));
    expect(denied).toMatchObject({ ok: true, state: 'denied' });
    const sure = await asked();
    const without = await desk.guard.decide(answer(sure.id, 'reviewer', { verdict: 'deny' }));
    expect(without).toMatchObject({ ok: true, state: 'denied' });
  });

  it('end with the passkey: removed from the configuration, or another’s now, it releases nothing', async () => {
    const { id, asking, digest } = await asked();
    const assertion = first.assertion(digest, ORIGIN);
    expect(await desk.guard.decide(signedBy(id, 'reviewer', assertion))).toMatchObject({ state: 'approved' });
    for (const people of [
      PEOPLE,
      [having(reviewer, third), having(deputy, first), owner],
      [having(reviewer, second), having(deputy, third), owner],
    ]) {
      const later = await world.open({ people, publicUrl: ORIGIN });
      await expect(later.release(id, asking)).rejects.toMatchObject({ code: 'approvers_not_eligible' });
      await later.close();
    }
    const elsewhere = await world.open({ people: PEOPLE_WITH, publicUrl: 'https://other.example.com' });
    await expect(elsewhere.release(id, asking)).rejects.toMatchObject({ code: 'approvers_not_eligible' });
    await elsewhere.close();
    expect((await desk.release(id, asking)).approvers).toEqual(['reviewer']);
  });

  it('count for a quorum only while their passkey does', async () => {
    const { id, digest } = await asked({ quorum: 2 });
    await desk.guard.decide(signedBy(id, 'reviewer', first.assertion(digest, ORIGIN)));
    const later = await world.open({ people: [reviewer, having(deputy, second), owner], publicUrl: ORIGIN });
    const result = await later.guard.decide(signedBy(id, 'deputy', second.assertion(digest, ORIGIN)));
    expect(result).toMatchObject({ ok: true, state: 'open', approvals: 1, quorum: 2 });
    await later.close();
    const both = await asked({ quorum: 2 });
    await desk.guard.decide(signedBy(both.id, 'reviewer', first.assertion(both.digest, ORIGIN)));
    const done = await desk.guard.decide(signedBy(both.id, 'deputy', second.assertion(both.digest, ORIGIN)));
    expect(done).toMatchObject({ ok: true, state: 'approved', approvals: 2 });
  });

  it('cannot be given at an address, where browsers have none, nor by programs', async () => {
    const robot: Person = {
      ...having({ ...owner, id: 'robot', email: '', slack: [], oidc: [] }, third),
      automationOf: deputy,
    };
    const here = await world.open({ people: [...PEOPLE_WITH.slice(1), robot] });
    const { id, digest } = await asked();
    const refused = await here.guard.decide(signedBy(id, 'reviewer', first.assertion(digest, ORIGIN)));
    expect(refused).toMatchObject({ code: 'passkey_refused' });
    expect(here.passkeysOf([{ kind: 'person', value: 'reviewer' }])).toEqual([]);
    await here.close();
    const there = await world.open({ people: [robot, deputy], publicUrl: ORIGIN });
    const demand = { approvers: ['robot'], quorum: 1, assurance: 1 } as const;
    const named = await there.open(question({ text: 'DROP TABLE robot', demand }));
    const assertion = third.assertion((await there.get(named.id))?.digest ?? '', ORIGIN);
    const identities = [{ kind: 'automation', value: 'robot' }] as const;
    const attestation = { assurance: 1, facts: {}, passkey: assertion } as const;
    const result = await there.guard.decide(answer(named.id, identities, { attestation }));
    expect(result).toMatchObject({ code: 'passkey_refused' });
    await there.close();
  });

  it('are not made by whoever can write rows: without what was signed the table takes none', async () => {
    const { id } = await asked();
    const insert = (facts: string) =>
      withClient(world.writer, (client) =>
        client.query(
          `INSERT INTO countersign.verdict (request_id, person, verdict, channel, assurance, ids, facts, seal)
           VALUES ($1, 'reviewer', 'approve', 'console', 3, '{}', $2, '')`,
          [id, facts],
        ),
      );
    await expect(insert('{}')).rejects.toMatchObject({ constraint: 'verdict_with_passkey' });
    // With something in its place it is a row without a seal.
    await insert('{"passkey":"a","authenticatorData":"b","clientDataJSON":"c","signature":"d"}');
    const result = await desk.guard.decide(answer(id, 'deputy', { verdict: 'deny' }));
    expect(result).toMatchObject({ ok: false, code: 'request_altered' });
  });
});
