/** Requests as they stand, changed past the program by whoever has its role, or owns the schema; and what the log says. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifySnapshot } from '../../src/audit/verify/verify-database.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { answered, connect, PATIENCE, published, sends, settled } from './support.ts';

let stack: Stack;
let admin: pg.Client;
let writer: string;
const ids: Record<string, string> = {};
beforeAll(async () => {
  stack = await startStack({ sample: 'CREATE TABLE notes (id int)' });
  writer = decodeURIComponent(new URL(stack.config.audit.url).username);
  admin = new pg.Client({ connectionString: stack.config.audit.adminUrl ?? '' });
  admin.on('error', () => {});
  await admin.connect();
}, 600_000);
afterAll(async () => {
  await admin?.end();
  await stack?.close();
});

type Found = { readonly problem: string; readonly request_id: string; readonly person: string | null };

/** Done as that role, looked at as the auditor, and taken back. */
async function after(role: string, sql: string): Promise<{ view: Found[]; program: string[] }> {
  await admin.query('BEGIN');
  try {
    await admin.query(`SET LOCAL ROLE ${role}`);
    await admin.query(withIds(sql));
    await admin.query('RESET ROLE; SET LOCAL ROLE countersign_auditor');
    const { rows } = await admin.query<Found>(
      'SELECT problem, request_id, person FROM audit.request_differences ORDER BY problem, request_id',
    );
    const { findings } = await verifySnapshot(admin, 'audit', await published(stack));
    return { view: rows, program: findings.map(({ check, detail }) => `${check} ${detail}`) };
  } finally {
    await admin.query('ROLLBACK');
  }
}

function withIds(sql: string): string {
  return sql.replace(/:(\w+):/g, (_, name: string) => `'${ids[name]}'`);
}

const UNGUARDED = `ALTER TABLE countersign.request DISABLE TRIGGER USER;
  ALTER TABLE countersign.verdict DISABLE TRIGGER USER;`;
const VERDICT = `INSERT INTO countersign.verdict (request_id, person, verdict, reason, channel, assurance, ids, facts)
  VALUES (:open:, 'approver', 'approve', NULL, 'api', 1, '{}', '{}');`;
const FORGED = `INSERT INTO countersign.request (id, agent, owner, database, role, sql, class, rule, command, shown, binding,
    digest, attach_key, statement_key, nonce, forbidden, quorum, assurance, expires_at)
  SELECT 'req_forged00000000000000', agent, owner, database, role, sql, class, rule, command, shown, binding, digest,
    attach_key, statement_key, 'another', forbidden, quorum, assurance, expires_at
    FROM countersign.request WHERE id = :open:;`;

it('requests of every kind are as the log says', { timeout: 600_000 }, async () => {
  ids['executed'] = (await answered(stack, 'CREATE TABLE executed (id int)', 'approve')).id;
  ids['denied'] = (await answered(stack, 'CREATE TABLE denied (id int)', 'deny')).id;
  for (const name of ['open', 'approved']) {
    const client = await connect(stack.agentUrl);
    sends(client, `CREATE TABLE ${name} (id int)`);
    ids[name] = (await stack.api.waitFor(`CREATE TABLE ${name}`)).id;
    await client.end();
  }
  const held = async () =>
    (
      await stack.audit.query(
        'SELECT FROM countersign.request WHERE attached_by IS NOT NULL AND ended_at IS NULL',
      )
    ).rowCount;
  await expect.poll(held, PATIENCE).toBe(0);
  expect((await stack.api.verdict(ids['approved'] ?? '', 'approve')).status).toBe(200);
  await settled(stack);
  requireFound(await after('countersign_auditor', 'SELECT 1'), []);
});

describe("with the proxy's own role", { timeout: 600_000 }, () => {
  it.each([
    [
      'ends what is open',
      `UPDATE countersign.request SET state = 'withdrawn', ended_at = clock_timestamp() WHERE id = :open:`,
      [['state', 'open']],
    ],
    [
      'takes an approval away',
      `UPDATE countersign.request SET state = 'expired', ended_at = clock_timestamp() WHERE id = :approved:`,
      [['state', 'approved']],
    ],
    [
      'says that somebody denied it',
      `UPDATE countersign.request SET state = 'denied', ended_at = clock_timestamp(), ended_by = 'approver' WHERE id = :open:`,
      [['state', 'open']],
    ],
    ['puts a verdict in', VERDICT, [['verdict', 'open', 'approver']]],
    [
      'approves',
      `${VERDICT} UPDATE countersign.request SET state = 'approved', receipt = 'a.b.c',
         receipt_expires_at = expires_at WHERE id = :open:`,
      [
        ['receipt', 'open'],
        ['state', 'open'],
        ['verdict', 'open', 'approver'],
      ],
    ],
    [
      'releases',
      `UPDATE countersign.request SET state = 'consumed', consumed_by = 'me' WHERE id = :approved:`,
      [['state', 'approved']],
    ],
    ['asks', FORGED, [['no_entry', 'forged']]],
    [
      'asks, long ago',
      FORGED.replace('expires_at)', 'expires_at, created_at)').replace(
        'assurance, expires_at\n',
        "assurance, expires_at, '2001-01-01'\n",
      ),
      [['no_entry', 'forged']],
    ],
    [
      'asks, long ago, and denies it now',
      `${FORGED.replace('expires_at)', 'expires_at, created_at)').replace(
        'assurance, expires_at\n',
        "assurance, expires_at, '2001-01-01'\n",
      )} UPDATE countersign.request SET state = 'denied', ended_at = clock_timestamp() WHERE id = :forged:`,
      [['no_entry', 'forged']],
    ],
    [
      'says that it did something else',
      `UPDATE countersign.request SET outcome = '{"tag": "SELECT 1", "rows": "1", "bytes": "5"}' WHERE id = :executed:`,
      [['outcome', 'executed']],
    ],
    [
      'exchanges a reason',
      `UPDATE countersign.request SET end_reason = 'go on, another way is fine' WHERE id = :denied:`,
      [['answer', 'denied', 'approver']],
    ],
  ] as const)('%s', async (_name, sql, problems) => {
    ids['forged'] = 'req_forged00000000000000';
    requireFound(await after(writer, sql), problems);
  });
});

describe('with the role that owns the schema', { timeout: 600_000 }, () => {
  it.each([
    [
      'opens again what was denied',
      `UPDATE countersign.request SET state = 'open', ended_at = NULL, ended_by = NULL WHERE id = :denied:`,
      [['state', 'denied']],
    ],
    [
      'makes an approval of a no',
      `UPDATE countersign.verdict SET verdict = 'approve' WHERE request_id = :denied:`,
      [['verdict', 'denied', 'approver']],
    ],
    [
      'exchanges what it is about',
      `UPDATE countersign.request SET binding = binding || ' ', quorum = 9, forbidden = forbidden || '{x}'::text[],
         digest = encode(sha256(convert_to(binding || ' ', 'UTF8')), 'hex') WHERE id = :approved:`,
      [['altered', 'approved']],
    ],
    [
      'exchanges a receipt',
      `UPDATE countersign.request SET receipt = receipt || 'x' WHERE id = :executed:`,
      [['receipt', 'executed']],
    ],
    [
      'takes a verdict out',
      'DELETE FROM countersign.verdict WHERE request_id = :approved:',
      [['verdict', 'approved', 'approver']],
    ],
    [
      'takes a request out',
      `DELETE FROM countersign.verdict WHERE request_id = :denied:;
       DELETE FROM countersign.request WHERE id = :denied:`,
      [['removed', 'denied']],
    ],
    [
      'says that what ran has failed',
      `UPDATE countersign.request SET state = 'failed' WHERE id = :executed:`,
      [['state', 'executed']],
    ],
  ] as const)('%s', async (_name, sql, problems) => {
    requireFound(await after('countersign_requests_owner', `${UNGUARDED} ${sql}`), problems);
  });

  it('where the whole schema is gone there is nothing to compare, and who may not read it is told so', async () => {
    const keys = await published(stack);
    // So that nobody waits for anybody.
    await stack.running.close();
    const looked = async (sql: string) => {
      await admin.query('BEGIN');
      try {
        await admin.query(`${sql}; SET LOCAL ROLE countersign_auditor`);
        return await verifySnapshot(admin, 'audit', keys);
      } finally {
        await admin.query('ROLLBACK');
      }
    };
    expect(await looked('DROP SCHEMA countersign CASCADE')).toMatchObject({ findings: [], whole: true });
    const blind = await looked('REVOKE USAGE ON SCHEMA countersign FROM countersign_auditor');
    expect(blind).toMatchObject({ whole: false, altered: false });
    expect(blind.findings.filter(({ ok }) => ok !== true).map(({ check }) => check)).toEqual(['request']);
  });
});

function requireFound(
  { view, program }: Awaited<ReturnType<typeof after>>,
  problems: readonly (readonly [problem: string, name: string, person?: string])[],
): void {
  const wanted = problems.map(([problem, name, person]) => ({
    ...{ problem, request_id: ids[name], person: person ?? null },
  }));
  expect(view).toEqual(wanted);
  expect(program).toHaveLength(problems.length);
  for (const [, name] of problems) expect(program.join('\n')).toContain(`request ${ids[name]}`);
}
