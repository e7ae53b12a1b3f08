import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ReleaseRefused } from '../../../src/approval/port.ts';
import { type ApprovalWorld, approvalWorld, question } from '../../approval/support.ts';
import { API_KEYS, type HttpWorld, httpWorld, PUBLIC_URL, post, sha256 } from './support.ts';

/** Programs with keys of their own: what they say, for whom it counts, and how their owners cannot use them. */
let world: ApprovalWorld;
let http: HttpWorld;
let n = 0;

const all = ['read', 'deny', 'approve'] as const;
const automation = (name: string, owner: string, scopes: readonly (typeof all)[number][] = all) => ({
  name,
  sha256: sha256(name),
  person: name,
  owner,
  scopes,
});
const KEYS = [
  ...API_KEYS,
  automation('gate', 'reviewer'),
  automation('second-gate', 'reviewer'),
  automation('owners-gate', 'owner'),
  { name: 'plain', sha256: sha256('plain'), person: 'plain', owner: 'deputy' },
];

beforeAll(async () => {
  world = await approvalWorld('apauto');
  http = await httpWorld(world, PUBLIC_URL, { apiKeys: KEYS });
});
afterAll(() => world?.close());

function asked(approvers: readonly string[], quorum = 1) {
  return question({ text: `DROP TABLE auto_${++n}`, demand: { approvers, quorum, assurance: 1 } });
}
async function open(approvers: readonly string[], quorum = 1): Promise<string> {
  return (await http.approvals.open(asked(approvers, quorum))).id;
}
async function say(id: string, token: string, verdict: 'approve' | 'deny') {
  const response = await post(http.app, id, `Bearer ${token}`, { verdict });
  return { status: response.status, ...((await response.json()) as { code?: string; state?: string }) };
}

describe('an automation', () => {
  it('reads and denies, whoever the rule names', async () => {
    const list = await http.app.request('/api/requests', { headers: { authorization: 'Bearer plain' } });
    expect(list.status).toBe(200);
    for (const approvers of [[], ['reviewer'], ['dba']])
      expect(await say(await open(approvers), 'plain', 'deny')).toMatchObject({
        status: 200,
        state: 'denied',
      });
  });

  it.each([[[]], [['reviewer']], [['dba']], [['second-gate']]])(
    'approves nothing where the rule names %j',
    async (approvers) => {
      const id = await open(approvers);
      expect(await say(id, 'gate', 'approve')).toMatchObject({ status: 403, code: 'automation_not_named' });
      expect((await http.approvals.get(id))?.state).toBe('open');
    },
  );

  it('approves where the rule names it, and the receipt says who it was', async () => {
    const one = asked(['gate']);
    const { id } = await http.approvals.open(one);
    expect(await say(id, 'gate', 'approve')).toMatchObject({
      status: 200,
      state: 'approved',
      person: 'gate',
    });
    expect(await http.approvals.release(id, one)).toMatchObject({ approvers: ['gate'] });
    expect((await http.approvals.get(id))?.verdicts).toMatchObject([{ person: 'gate', channel: 'api' }]);
  });

  it('may have two keys, which are one approver and share their limits', async () => {
    const counted: string[] = [];
    const keys = ['gate-2026', 'gate-2027'].map((name) => ({
      ...automation(name, 'reviewer'),
      person: 'rotating',
    }));
    const allowed = {
      address: () => true,
      credential: (name: string) => {
        counted.push(name);
        return true;
      },
      failure: () => true,
    };
    const { app, approvals } = await httpWorld(world, PUBLIC_URL, {
      apiKeys: [...API_KEYS, ...keys],
      changes: { allowed },
    });
    const { id } = await approvals.open(asked(['rotating', 'deputy'], 2));
    for (const token of ['gate-2026', 'gate-2027'])
      expect((await post(app, id, `Bearer ${token}`, { verdict: 'approve' })).status).toBe(200);
    expect(await approvals.get(id)).toMatchObject({ state: 'open', verdicts: [{ person: 'rotating' }] });
    expect(counted).toEqual(['automation:rotating', 'automation:rotating']);
  });

  it('needs the scope, also where the rule names it', async () => {
    expect(await say(await open(['plain']), 'plain', 'approve')).toMatchObject({ code: 'scope_missing' });
  });

  it("is no way to approve for one's own agent", async () => {
    const id = await open(['owners-gate', 'gate']);
    for (const verdict of ['approve', 'deny'] as const)
      expect(await say(id, 'owners-gate', verdict)).toMatchObject({ status: 403, code: 'self_approval' });
    // The database has it on its list, too.
    const { rows } = await http.approvals.pool.query(
      'SELECT forbidden FROM countersign.request WHERE id = $1',
      [id],
    );
    expect(rows[0].forbidden).toEqual(['owner', 'owners-gate', 'shop-agent']);
    await expect(
      http.approvals.pool.query(
        `INSERT INTO countersign.verdict (request_id, person, verdict, channel, assurance, ids, facts)
         VALUES ($1, 'owners-gate', 'approve', 'api', 1, '{}', '{}')`,
        [id],
      ),
    ).rejects.toMatchObject({ constraint: 'verdict_not_by_a_party' });
  });

  it('is no way either where its owner is the person that the agent acts for', async () => {
    const base = asked(['gate']);
    const { id } = await http.approvals.open({
      ...base,
      session: { ...base.session, onBehalfOf: 'Reviewer+x@shop.example' },
    });
    expect(await say(id, 'gate', 'approve')).toMatchObject({ status: 403, code: 'self_approval' });
  });

  it('counts as its owner: a person and two programs of his are one', async () => {
    const one = asked(['gate', 'second-gate', 'reviewer', 'deputy'], 2);
    const { id } = await http.approvals.open(one);
    for (const token of ['gate', 'second-gate', 'reviewer-token'])
      expect(await say(id, token, 'approve')).toMatchObject({ status: 200, state: 'open', approvals: 1 });
    expect(await say(id, 'deputy-token', 'approve')).toMatchObject({ state: 'approved', approvals: 2 });
    expect((await http.approvals.release(id, one)).approvers.length).toBe(4);
  });

  it('that was taken out of the configuration no longer counts at release', async () => {
    const one = asked(['gate']);
    const { id } = await http.approvals.open(one);
    await say(id, 'gate', 'approve');
    const later = await world.open();
    await http.approvals.detach(id);
    await later.open(one);
    const refused = later.release(id, one);
    await expect(refused).rejects.toBeInstanceOf(ReleaseRefused);
    await expect(refused).rejects.toMatchObject({ code: 'approvers_not_eligible' });
  });

  it('is not the person of the same name, nor the other way round', async () => {
    const id = await open(['gate']);
    const claimed = await http.approvals.guard.decide({
      requestId: id,
      channel: 'slack',
      person: [{ kind: 'person', value: 'gate' }],
      verdict: 'approve',
      reason: null,
      attestation: { assurance: 1, facts: {} },
    });
    expect(claimed).toMatchObject({ ok: false, code: 'unknown_person' });
    const program = await http.approvals.guard.decide({
      requestId: await open(['reviewer']),
      channel: 'api',
      person: [{ kind: 'automation', value: 'reviewer' }],
      verdict: 'approve',
      reason: null,
      attestation: { assurance: 1, facts: {} },
    });
    expect(program).toMatchObject({ ok: false, code: 'unknown_person' });
  });
});
