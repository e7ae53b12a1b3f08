import { readdirSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { bindingDigest, bindingOf, bindingText } from '../../src/approval/digest.ts';
import { migrateApprovals } from '../../src/approval/migrate.ts';
import { type ApprovalHandle, openApprovals } from '../../src/approval/store.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { createDatabase, superuser, withClient } from '../support/postgres.ts';
import { type ApprovalWorld, answer, approvalWorld, fakeAppend, PEOPLE, question } from './support.ts';

const FILES = readdirSync(new URL('../../src/approval/schema/', import.meta.url)).sort();

let world: ApprovalWorld;
let approvals: ApprovalHandle;
let writer: pg.Client;
let id: string;
let n = 0;
beforeAll(async () => {
  world = await approvalWorld('apsc');
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
  const base = question({ text: `DROP TABLE schema_${n}` });
  id = (await approvals.open({ ...base, session: { ...base.session, onBehalfOf: 'principal@shop.example' } }))
    .id;
});

const insertVerdict = (person: string, verdict = 'approve') =>
  writer.query(
    `INSERT INTO countersign.verdict (request_id, person, verdict, channel, assurance, ids, facts)
     VALUES ($1, $2, $3, 'api', 2, '{}', '{}')`,
    [id, person, verdict],
  );

describe('whoever goes past the code, as the role the proxy works with', () => {
  it.each(['owner', 'OWNER', 'principal', 'principal@shop.example', 'shop-agent'])(
    'cannot insert a verdict of %s, a party',
    async (person) => {
      for (const verdict of ['approve', 'deny']) {
        await expect(insertVerdict(person, verdict)).rejects.toMatchObject({
          constraint: 'verdict_not_by_a_party',
        });
      }
    },
  );

  it('cannot turn a verdict over to a party, nor approve what was denied', async () => {
    await insertVerdict('reviewer', 'approve');
    await expect(
      writer.query("UPDATE countersign.verdict SET person = 'owner' WHERE request_id = $1", [id]),
    ).rejects.toMatchObject({ code: '42501' });
    await writer.query("UPDATE countersign.verdict SET verdict = 'deny' WHERE request_id = $1", [id]);
    await expect(
      writer.query("UPDATE countersign.verdict SET verdict = 'approve' WHERE request_id = $1", [id]),
    ).rejects.toMatchObject({ constraint: 'verdict_is_final' });
  });

  it('cannot open a request that forgets to forbid a party', async () => {
    const copy = (forbidden: string) =>
      writer.query(
        `INSERT INTO countersign.request (id, agent, owner, on_behalf_of, database, role, sql, class, rule, command, shown,
           binding, digest, attach_key, statement_key, nonce, forbidden, quorum, assurance, expires_at)
         SELECT 'req_0000000000000000000' || $3, agent, owner, on_behalf_of, database, role, sql, class, rule, command,
           shown, binding, digest, attach_key, statement_key, 'nonce-' || $3, $2::text[], quorum, assurance, expires_at
         FROM countersign.request WHERE id = $1`,
        [id, forbidden, String(n).padStart(3, '0')],
      );
    for (const forbidden of [
      '{}',
      '{shop-agent,owner}',
      '{shop-agent,principal@shop.example}',
      '{owner,principal@shop.example}',
    ]) {
      await expect(copy(forbidden)).rejects.toMatchObject({ constraint: 'request_forbids_its_parties' });
    }
  });

  it.each([
    "forbidden = '{}'",
    "sql = 'SELECT 1'",
    "agent = 'x'",
    "digest = 'x'",
    "binding = '{}'",
    'quorum = 0',
    "expires_at = expires_at + interval '1 day'",
    "nonce = 'x'",
  ])('cannot change what was asked: %s', async (change) => {
    await expect(
      writer.query(`UPDATE countersign.request SET ${change} WHERE id = $1`, [id]),
    ).rejects.toMatchObject({ code: '42501' });
  });

  it.each([
    ["state = 'approved', receipt = 'x', receipt_expires_at = now() + interval '1 hour'", 'request_quorum'],
    [
      "state = 'consumed', consumed_by = 'x', receipt = 'x', receipt_expires_at = now() + interval '1 hour'",
      'request_transition',
    ],
    ["state = 'approved'", 'request_quorum'],
  ])('cannot approve without verdicts: %s', async (change, constraint) => {
    await expect(
      writer.query(`UPDATE countersign.request SET ${change} WHERE id = $1`, [id]),
    ).rejects.toMatchObject({ constraint });
  });

  it('cannot approve without a receipt, release twice, or go back', async () => {
    await insertVerdict('reviewer');
    await expect(
      writer.query("UPDATE countersign.request SET state = 'approved' WHERE id = $1", [id]),
    ).rejects.toMatchObject({ constraint: 'request_approved_has_receipt' });
    const set = (change: string) =>
      writer.query(`UPDATE countersign.request SET ${change} WHERE id = $1`, [id]);
    await set("state = 'approved', receipt = 'x', receipt_expires_at = now() + interval '1 hour'");
    await expect(set("receipt = 'y'")).rejects.toMatchObject({ constraint: 'request_receipt_is_final' });
    await set("state = 'consumed', consumed_by = 'a'");
    await expect(set("consumed_by = 'b'")).rejects.toMatchObject({ constraint: 'request_consumed_once' });
    await expect(set("state = 'approved', consumed_by = NULL")).rejects.toMatchObject({
      constraint: 'request_transition',
    });
    await expect(insertVerdict('deputy')).rejects.toMatchObject({ constraint: 'verdict_on_open_request' });
  });

  it('cannot delete, truncate, switch triggers off, or make anything here', async () => {
    for (const sql of [
      'DELETE FROM countersign.request',
      'DELETE FROM countersign.verdict',
      'TRUNCATE countersign.verdict',
      'ALTER TABLE countersign.verdict DISABLE TRIGGER ALL',
      'CREATE TABLE countersign.mine ()',
      'SET session_replication_role = replica',
    ]) {
      await expect(writer.query(sql)).rejects.toMatchObject({ code: '42501' });
    }
  });
});

describe('the guard, when the stored request was changed by somebody with more rights', () => {
  it.each([
    "sql = 'SELECT harmless'",
    "agent = 'nice-agent', forbidden = forbidden || '{nice-agent}'",
    'quorum = 2',
    "class = 'read'",
    "shown = replace(shown, 'changes the schema', 'is harmless')",
    'shown = replace(shown, \'"inTransaction":false\', \'"inTransaction":true\')',
  ])('takes no answer: %s', async (change) => {
    await world.database.query(`UPDATE countersign.request SET ${change} WHERE id = $1`, [id]);
    expect(await approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({
      ok: false,
      code: 'request_altered',
    });
  });
});

it('a card that was exchanged before the approval, digest and all, releases nothing', async () => {
  const asked = question({ text: `DROP TABLE exchanged_${n}` });
  const opened = await approvals.open(asked);
  const fake = bindingOf({ ...asked, sql: 'SELECT 1' }, 'x', opened.expiresAt.getTime());
  const text = bindingText(fake);
  await world.database.query(
    'UPDATE countersign.request SET sql = $2, binding = $3, digest = $4, nonce = $5 WHERE id = $1',
    [opened.id, 'SELECT 1', text, bindingDigest(fake), 'x'],
  );
  expect(await approvals.guard.decide(answer(opened.id, 'reviewer'))).toMatchObject({
    ok: true,
    state: 'approved',
  });
  await expect(approvals.release(opened.id, asked)).rejects.toMatchObject({ code: 'receipt_mismatch' });
});

describe('migration', () => {
  it('runs once, on a fresh database, and may be run again', async () => {
    const database = await createDatabase('apmig');
    const roles = { owner: `apmig_o_${database.name}`, writer: `apmig_w_${database.name}` };
    try {
      await withClient(superuser(database.name), async (client) => {
        expect(await migrateApprovals(client, roles)).toEqual(FILES);
        expect(await migrateApprovals(client, roles)).toEqual([]);
      });
      const { rows } = await database.query(
        "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'countersign'",
      );
      expect(rows).toEqual([{ tableowner: roles.owner }]);
      const logins = await database.query('SELECT rolcanlogin FROM pg_roles WHERE rolname = ANY ($1)', [
        [roles.owner, roles.writer],
      ]);
      expect(logins.rows).toEqual([{ rolcanlogin: false }, { rolcanlogin: false }]);
    } finally {
      await database.drop();
      await withClient(superuser(), (client) => client.query(`DROP ROLE ${roles.owner}, ${roles.writer}`));
    }
  });

  it('needs no superuser: CREATEROLE and the database are enough', async () => {
    const database = await createDatabase('apadm');
    const admin = `apadm_a_${database.name}`;
    const roles = { owner: `apadm_o_${database.name}`, writer: `apadm_w_${database.name}` };
    try {
      await database.query(
        `CREATE ROLE ${admin} LOGIN CREATEROLE PASSWORD 'a'; ALTER DATABASE ${database.name} OWNER TO ${admin}`,
      );
      await withClient({ ...superuser(database.name), user: admin, password: 'a' }, async (client) => {
        expect(await migrateApprovals(client, roles)).toEqual(FILES);
        expect(await migrateApprovals(client, roles)).toEqual([]);
      });
    } finally {
      await database.drop();
      await withClient(superuser(), (client) =>
        client.query(`DROP ROLE ${roles.owner}, ${roles.writer}, ${admin}`),
      );
    }
  });

  it('is missed at opening, not at the first hold', async () => {
    const database = await createDatabase('apnone');
    const opening = openApprovals({
      url: database.url,
      limits: DEFAULT_LIMITS,
      people: PEOPLE,
      keys: world.keys,
      appendAudit: fakeAppend,
      log: { info: () => {}, warn: () => {}, error: () => {} },
      publicUrl: 'http://127.0.0.1',
      processId: 'p',
    });
    await expect(opening).rejects.toMatchObject({ code: 'approval_schema_missing' });
    await database.drop();
  });
});
