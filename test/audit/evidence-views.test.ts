import { generateKeyPairSync, sign } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { jwkThumbprint } from '../../src/audit/chain/thumbprint.ts';
import type { Entry, EventEntry } from '../../src/audit/entry.ts';
import type { LogSigner } from '../../src/audit/port.ts';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { makeStream } from './stream-maker.ts';
import { type AuditDatabase, createAuditDatabase, event, intent, outcome, SESSION } from './support.ts';

let database: AuditDatabase;
let auditor: pg.Client;
const key = generateKeyPairSync('ed25519');
const publicJwk = { ...key.publicKey.export({ format: 'jwk' }) };
const signer: LogSigner = {
  kid: jwkThumbprint(publicJwk),
  publicJwk,
  sign: (bytes) => sign(null, bytes, key.privateKey),
};
/** 9:00 UTC of one day, and so many minutes later. */
const at = (minutes: number) => BigInt(Date.UTC(2026, 2, 2, 9, minutes)) * 1000n;
const seconds = (minutes: number) => Number(at(minutes) / 1_000_000n);

type Approver = { readonly person: string; readonly ids?: readonly string[]; readonly assurance?: number };

/** A receipt as src/signing/receipt.ts makes it. */
function receiptOf(request: string, approvers: readonly Approver[], change: Record<string, unknown> = {}) {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const head = part({ alg: 'EdDSA', typ: 'countersign-receipt+jws', kid: signer.kid });
  const body = part({
    iss: 'countersign',
    request,
    sqlSha256: '07'.repeat(32),
    agent: SESSION.agent,
    approvers: approvers.map(({ person, ids = [`email:${person}@example.com`], assurance = 1 }) => ({
      ...{ person, ids, assurance, channel: 'api', at: seconds(1), reason: null, facts: {} },
    })),
    iat: seconds(1),
    exp: seconds(30),
    ...change,
  });
  return `${head}.${body}.${signer.sign(Buffer.from(`${head}.${body}`)).toString('base64url')}`;
}

type Case = {
  readonly approvers: readonly Approver[];
  readonly opened?: Record<string, string>;
  readonly claims?: Record<string, unknown>;
  /** Who gave an approving verdict; left out: the receipt's people. */
  readonly verdicts?: readonly string[];
  /** Whom the entries name; left out: the receipt's people. */
  readonly named?: readonly string[];
  readonly without?: readonly EventEntry['kind'][];
  readonly releases?: number;
};

/** What is wrong with each, and only with that one. */
const CASES: Readonly<Record<string, Case>> = {
  good: { approvers: [{ person: 'ana' }] },
  two: { approvers: [{ person: 'ana' }, { person: 'bo' }], opened: { quorum: '2' } },
  owner: { approvers: [{ person: 'deputy' }] },
  forbidden: { approvers: [{ person: 'boss' }] },
  itself: { approvers: [{ person: 'reporter' }] },
  twice: { approvers: [{ person: 'ana' }, { person: 'ana' }] },
  alias: {
    approvers: [
      { person: 'ana', ids: ['oidc:1'] },
      { person: 'bo', ids: ['email:bo@example.com', 'oidc:1'] },
    ],
  },
  few: { approvers: [{ person: 'ana' }], opened: { quorum: '2' } },
  weak: { approvers: [{ person: 'ana' }], opened: { assurance: '2' } },
  silent: { approvers: [{ person: 'ana' }, { person: 'bo' }], verdicts: ['ana'] },
  other: { approvers: [{ person: 'ana' }], named: ['bo'] },
  unopened: { approvers: [{ person: 'ana' }], without: ['request_opened'] },
  text: { approvers: [{ person: 'ana' }], claims: { sqlSha256: '08'.repeat(32) } },
  agent: { approvers: [{ person: 'ana' }], claims: { agent: 'somebody' } },
  moved: { approvers: [{ person: 'ana' }], claims: { request: 'req_elsewhere' } },
  late: { approvers: [{ person: 'ana' }], claims: { exp: seconds(2) } },
  unapproved: { approvers: [{ person: 'ana' }], without: ['request_approved'] },
  unreleased: { approvers: [{ person: 'ana' }], without: ['released'] },
  again: { approvers: [{ person: 'ana' }], releases: 2 },
};

function entriesOf(name: string, one: Case, no: number): { statements: Entry[]; requests: Entry[] } {
  const requestId = `req_${name}`;
  const people = one.named ?? [...new Set(one.approvers.map(({ person }) => person))];
  const receipt = receiptOf(requestId, one.approvers, one.claims);
  const common = { session: SESSION, requestId };
  const requests = [
    event('request_opened', {
      ...common,
      ...{ at: at(0), people: ['deputy', 'boss'] },
      detail: { quorum: '1', assurance: '1', ...one.opened },
    }),
    ...(one.verdicts ?? [...new Set(one.approvers.map(({ person }) => person))]).map((person) =>
      event('verdict', { ...common, at: at(1), people: [person], detail: { verdict: 'approve' } }),
    ),
    event('request_approved', { ...common, at: at(2), people, receipt }),
    ...Array.from({ length: one.releases ?? 1 }, () =>
      event('released', { ...common, at: at(3), people, receipt }),
    ),
  ].filter(({ kind }) => !one.without?.includes(kind));
  const statements = [
    intent(no, {
      ...{ at: at(0), requestId, class: 'ddl', decision: 'hold', rule: 'default:ddl' },
      ...{ sql: `DROP TABLE ${name}`, sqlSha256: Buffer.alloc(32, 7) },
    }),
    outcome(no, { at: at(4), requestId, approvers: people, tag: 'DROP TABLE' }),
  ];
  return { statements, requests };
}

beforeAll(async () => {
  database = await createAuditDatabase();
  const all = Object.entries(CASES).map(([name, one], i) => entriesOf(name, one, i + 1));
  const statements = [
    event('policy', { at: at(0), detail: { digest: 'd1', rules: '[]' } }),
    event('configuration', { at: at(0), detail: { mode: 'enforce', agents: 'reporter' } }),
    event('session_start', { at: at(0), session: SESSION }),
    ...all.flatMap((one) => one.statements),
    event('session_end', { at: at(9), session: SESSION, detail: { why: 'client' } }),
    event('login_refused', {
      at: at(10),
      detail: {
        user: 'x',
        code: 'no_such_agent',
        message: 'no',
        address: '10.0.0.7',
        tls: 'true',
        count: '7',
      },
    }),
    event('policy', { at: at(11), detail: { digest: 'd2', rules: '[]', was: 'd1' } }),
    event('policy', { at: at(12), detail: { digest: 'd2', rules: '[]' } }),
    event('configuration', { at: at(13), detail: { problem: 'line 3', keptPolicy: 'd2' } }),
    event('key', { at: at(14), detail: { event: 'revoked', kid: 'k9', by: 'root', reason: 'compromised' } }),
    event('log_stop', { at: at(15) }),
  ];
  const writer = new pg.Client(database.writerUrl);
  await writer.connect();
  for (const [purpose, entries] of [
    ['statements', statements],
    ['requests', all.flatMap((one) => one.requests)],
  ] as const) {
    const stream = makeStream(signer, { purpose, host: 'here', pid: '7' });
    await writer.query(appendCall('audit', stream.start()));
    await writer.query(appendCall('audit', stream.batch(entries)));
  }
  await writer.end();
  auditor = new pg.Client(database.auditorUrl);
  await auditor.connect();
});
afterAll(async () => {
  await auditor.end();
  await database.dropAll();
});

const select = async (sql: string) => (await auditor.query(sql)).rows;

test('every view has a comment that names the SOC 2 criterion which it serves', async () => {
  const views = await select(
    `SELECT c.relname AS name, obj_description(c.oid) AS comment FROM pg_class c
      WHERE c.relnamespace = 'audit'::regnamespace AND c.relkind = 'v'
        AND has_table_privilege(c.oid, 'SELECT') ORDER BY 1`,
  );
  expect(views.length).toBeGreaterThan(25);
  const criterion = /\(SOC 2 (?:(?:CC(?:6\.[1-8]|7\.[1-4]|8\.1)|C1\.[12]|P4\.3)(?:, )?)+\)/;
  expect(views.filter(({ comment }) => !criterion.test(comment ?? ''))).toEqual([]);
});

describe('segregation_of_duties', () => {
  test.each([
    ['owner', ['own_request']],
    ['forbidden', ['own_request']],
    ['itself', ['own_request']],
    ['twice', ['counted_twice']],
    ['alias', ['counted_twice']],
    ['few', ['below_quorum']],
    ['weak', ['below_assurance']],
    ['silent', ['no_verdict']],
    ['other', ['people_differ']],
    ['unopened', ['not_asked']],
  ])('%s: %j', async (name, problems) => {
    const found = await select(
      `SELECT DISTINCT problem FROM audit.segregation_of_duties WHERE request_id = 'req_${name}' ORDER BY 1`,
    );
    expect(found.map(({ problem }) => problem)).toEqual(problems);
  });
  test('nothing else', async () => {
    const bad = [
      'owner',
      'forbidden',
      'itself',
      'twice',
      'alias',
      'few',
      'weak',
      'silent',
      'other',
      'unopened',
    ];
    const found = await select('SELECT DISTINCT request_id FROM audit.segregation_of_duties ORDER BY 1');
    expect(found.map(({ request_id }) => request_id)).toEqual(bad.map((name) => `req_${name}`).sort());
  });
  test("a verdict that approves one's own request is found although no receipt came of it", async () => {
    const found = await select(
      `SELECT count(*)::int AS n FROM audit.segregation_of_duties WHERE request_id = 'req_owner' AND person = 'deputy'`,
    );
    expect(found).toEqual([{ n: 3 }]);
  });
});

test('executed_without_approval: each that ran on something else than an approval of it', async () => {
  expect(
    await select('SELECT request_id, problem FROM audit.executed_without_approval ORDER BY request_id'),
  ).toEqual([
    { request_id: 'req_again', problem: 'released_twice' },
    { request_id: 'req_agent', problem: 'other_agent' },
    { request_id: 'req_late', problem: 'expired' },
    { request_id: 'req_moved', problem: 'other_request' },
    { request_id: 'req_text', problem: 'other_statement' },
    { request_id: 'req_unapproved', problem: 'not_approved' },
    { request_id: 'req_unreleased', problem: 'no_release' },
  ]);
});

test('signed_approvals: what the receipt says, and whether its signature fits', async () => {
  expect(
    await select(`SELECT request_id, quorum, assurance, signed_for, channels, signature FROM audit.signed_approvals
                   WHERE request_id IN ('req_two', 'req_moved') ORDER BY request_id DESC`),
  ).toEqual([
    {
      ...{ request_id: 'req_two', quorum: 2, assurance: 1, signed_for: ['ana', 'bo'], channels: ['api'] },
      signature: 'valid',
    },
    expect.objectContaining({ signature: 'the receipt is for another request: req_elsewhere' }),
  ]);
});

test('sessions, refused_logins, configuration_changes, key_events', async () => {
  expect(
    await select(`SELECT session_id, agent, statements::int, ended_by, extract(minute FROM duration)::int AS minutes
                    FROM audit.sessions`),
  ).toEqual([
    {
      session_id: 'ses_1',
      agent: 'reporter',
      statements: Object.keys(CASES).length,
      ended_by: 'client',
      minutes: 9,
    },
  ]);
  expect(
    await select('SELECT login, code, client_address, tls, attempts::int FROM audit.refused_logins'),
  ).toEqual([{ login: 'x', code: 'no_such_agent', client_address: '10.0.0.7', tls: true, attempts: 7 }]);
  expect(
    await select(`SELECT change, policy_digest, policy_digest_before, mode, problem, changed
                    FROM audit.configuration_changes ORDER BY at, seq`),
  ).toEqual([
    {
      change: 'policy',
      policy_digest: 'd1',
      policy_digest_before: null,
      mode: null,
      problem: null,
      changed: true,
    },
    {
      change: 'configuration',
      policy_digest: null,
      policy_digest_before: null,
      mode: 'enforce',
      problem: null,
      changed: true,
    },
    {
      change: 'policy',
      policy_digest: 'd2',
      policy_digest_before: 'd1',
      mode: null,
      problem: null,
      changed: true,
    },
    {
      change: 'policy',
      policy_digest: 'd2',
      policy_digest_before: 'd2',
      mode: null,
      problem: null,
      changed: false,
    },
    {
      change: 'policy_refused',
      policy_digest: 'd2',
      policy_digest_before: null,
      mode: null,
      problem: 'line 3',
      changed: true,
    },
  ]);
  expect(await select(`SELECT event, kid, by, reason FROM audit.key_events WHERE event <> 'in_use'`)).toEqual(
    [{ event: 'revoked', kid: 'k9', by: 'root', reason: 'compromised' }],
  );
});

test('log_access: who could read, append and change', async () => {
  const { owner, writer, auditor: reader } = database.roles;
  const rows = await select('SELECT * FROM audit.log_access');
  const of = (role: string) => rows.find((row) => row.role === role);
  expect(of(writer.name)).toMatchObject({
    can_log_in: true,
    owner: false,
    reads: [],
    writes: [],
    appends: true,
  });
  expect(of(reader.name)).toMatchObject({ owner: false, writes: [], appends: false });
  expect(of(reader.name).reads).toContain('statements');
  expect(of(reader.name).reads).not.toContain('entry');
  expect(of(owner)).toMatchObject({ can_log_in: false, owner: true });
  expect(of(owner).writes).toContain('entry');
  expect(of('postgres')).toMatchObject({ superuser: true });
  await database.query(`GRANT SELECT (sql) ON audit.entry TO ${writer.name}`);
  const again = await select(`SELECT reads FROM audit.log_access WHERE role = '${writer.name}'`);
  expect(again).toEqual([{ reads: ['entry'] }]);
  await database.query(`REVOKE SELECT (sql) ON audit.entry FROM ${writer.name}`);
});

describe('gaps', () => {
  const gaps = () =>
    select('SELECT gap, stream, from_seq::int, to_seq::int FROM audit.gaps ORDER BY gap, from_seq');
  test('a log that was closed has none but the time since', async () => {
    expect(await gaps()).toEqual([{ gap: 'no_log', stream: null, from_seq: null, to_seq: null }]);
  });
  test('rows that are not there, an end that is not there, rows that nobody signed, a process that did not end', async () => {
    const client = new pg.Client(database.url);
    await client.connect();
    try {
      await client.query(`BEGIN; SET LOCAL search_path = audit;
        ALTER TABLE entry DISABLE TRIGGER ALL; ALTER TABLE batch DISABLE TRIGGER ALL`);
      const { rows } = await client.query(
        `SELECT stream, head_seq::int AS head FROM stream WHERE facts ->> 'purpose' = 'statements'`,
      );
      const { stream, head } = rows[0];
      await client.query(`DELETE FROM entry WHERE stream = '${stream}' AND (seq BETWEEN 5 AND 7 OR seq = ${head});
        DELETE FROM batch WHERE stream = '${stream}' AND from_seq > 1`);
      const found = await client.query(
        'SELECT gap, from_seq::int, to_seq::int FROM gaps WHERE stream = $1 ORDER BY gap',
        [stream],
      );
      expect(found.rows).toEqual([
        { gap: 'missing_end', from_seq: head, to_seq: head },
        { gap: 'missing_rows', from_seq: 5, to_seq: 7 },
        { gap: 'no_end', from_seq: head, to_seq: null },
        { gap: 'unsigned', from_seq: 3, to_seq: head - 1 },
      ]);
    } finally {
      await client.end();
    }
  });
  test('a process that another followed on the same machine without a word, and the time between', async () => {
    const client = new pg.Client(database.url);
    await client.connect();
    try {
      const first = makeStream(signer, { purpose: 'statements', host: 'there' });
      await client.query(appendCall('audit', first.start()));
      await client.query('SELECT pg_sleep(0.05)');
      const second = makeStream(signer, { purpose: 'statements', host: 'there' });
      await client.query(appendCall('audit', second.start()));
      const found = await client.query(
        'SELECT gap, stream FROM audit.gaps WHERE stream IS NOT NULL ORDER BY gap',
      );
      expect(found.rows).toEqual([
        { gap: 'journal_lost', stream: first.stream },
        { gap: 'no_end', stream: second.stream },
      ]);
      const between = await client.query(`SELECT FROM audit.gaps WHERE gap = 'no_log'`);
      expect(between.rowCount).toBe(2);
    } finally {
      await client.end();
    }
  });
});
