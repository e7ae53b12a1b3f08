import { readFileSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, superuser, type TestDatabase, withClient } from '../../support/postgres.ts';
import { findingsOn, labelled } from './support.ts';

const tag = `bg${process.pid}`;
const role = (name: string) => `${tag}_${name}`;
let database: TestDatabase;
let client: pg.Client;
beforeAll(async () => {
  database = await createDatabase('blast_grants');
  await database.query(readFileSync(new URL('./shop.sql', import.meta.url), 'utf8'));
  await database.query(`
    CREATE ROLE ${role('readers')}; CREATE ROLE ${role('ann')} LOGIN; CREATE ROLE ${role('bob')} LOGIN NOINHERIT;
    CREATE ROLE ${role('team')}; CREATE ROLE ${role('chief')} CREATEROLE BYPASSRLS; CREATE ROLE ${role('lone')};
    GRANT ${role('readers')} TO ${role('team')}, ${role('bob')};
    GRANT ${role('team')} TO ${role('ann')};
    ALTER TABLE crm.base OWNER TO ${role('chief')};
    GRANT SELECT ON crm.base, crm.orders TO ${role('chief')};
    GRANT INSERT ON crm.lines TO ${role('chief')};
    GRANT SELECT ON crm.notes TO ${role('chief')} WITH GRANT OPTION;
    SET ROLE ${role('chief')}; RESET ROLE;
    GRANT USAGE ON SCHEMA crm TO ${role('chief')};
    SET ROLE ${role('chief')}; GRANT SELECT ON crm.notes TO ${role('ann')}; RESET ROLE;`);
  client = new pg.Client(superuser(database.name));
  await client.connect();
});
afterAll(async () => {
  await client?.end();
  await database?.drop();
  const names = ['team', 'readers', 'ann', 'bob', 'chief', 'lone'].map(role);
  await withClient(superuser(), (end) => end.query(`DROP ROLE IF EXISTS ${names.join(', ')}`));
});

const lines = async (sql: string, tags: (schema: string, name: string) => readonly string[] = () => []) =>
  (await findingsOn(client, sql, ['crm'], { tags, cascades: () => null })).map(
    ({ label, text, items, of }) =>
      `${label}: ${text}${items.length === 0 ? '' : ` [${items.join(', ')}]`}${of > items.length ? ` of ${of}` : ''}`,
  );

/** Relations on which the grant really changes what `who` may do. */
async function changed(sql: string, who: string, privilege: string): Promise<readonly string[]> {
  const asked = `SELECT pg_describe_object(1259, c.oid, 0) AS words FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE n.nspname = 'crm' AND c.relkind IN ('r', 'v', 'm', 'f', 'p')
      AND EXISTS (SELECT FROM aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
        WHERE r.rolname = $1 AND a.privilege_type = $2)`;
  await client.query('BEGIN; SET LOCAL search_path = pg_catalog');
  try {
    const before = await client.query<{ words: string }>(asked, [who, privilege]);
    await client.query(sql);
    const after = await client.query<{ words: string }>(asked, [who, privilege]);
    const had = new Set(before.rows.map(({ words }) => words));
    return after.rows.map(({ words }) => words).filter((words) => !had.has(words));
  } finally {
    await client.query('ROLLBACK');
  }
}

describe('what a GRANT reaches', () => {
  it('ON ALL TABLES IN SCHEMA: each of them, those with tags first', async () => {
    const sql = `GRANT SELECT ON ALL TABLES IN SCHEMA crm TO ${role('lone')}`;
    const found = await findingsOn(client, sql, null, {
      tags: (schema, name) => (schema === 'crm' && name === 'orders' ? ['pii'] : []),
      cascades: () => null,
    });
    const items = labelled(found, 'Gives');
    expect(items[0]).toBe('table crm.orders (tags pii)');
    const real = await changed(sql, role('lone'), 'SELECT');
    expect(real.length).toBeGreaterThan(10);
    expect(items.map((one) => one.replace(/ \(tags .*/, '')).sort()).toEqual([...real].sort());
    expect(found.find(({ label }) => label === 'Gives')?.text).toBe(
      `SELECT on every table in schema crm: ${real.length} tables`,
    );
  });

  it('named tables, through the search_path, and members that inherit', async () => {
    expect(
      await lines(`GRANT SELECT (id), UPDATE ON orders TO ${role('readers')} WITH GRANT OPTION`),
    ).toEqual([
      'Gives: SELECT (id), UPDATE, with the right to hand it on, on 1 object [table crm.orders]',
      `Reaches: role ${role('readers')} and 3 members of it [${role('ann')}, ${role('bob')} (by SET ROLE), ${role('team')}]`,
    ]);
    const inherits = await client.query<{ who: string; has: boolean }>(
      `SELECT who, pg_has_role(who, $2, 'USAGE') AS has FROM unnest($1::text[]) who`,
      [['ann', 'bob', 'team'].map(role), role('readers')],
    );
    expect(inherits.rows.map(({ has }) => has)).toEqual([true, false, true]);
  });

  it('PUBLIC is everybody', async () => {
    const { rows } = await client.query('SELECT count(*)::int AS n FROM pg_roles WHERE oid >= 16384');
    expect(rows[0].n).toBeGreaterThan(5);
    const [, reach] = await lines('GRANT SELECT ON orders TO PUBLIC');
    expect(reach).toMatch(
      /^Reaches: PUBLIC: every role of this server, now \d+ roles \(\d+ can log in\), and all that/,
    );
  });

  it('a role: what it can do, and who gets it', async () => {
    const { rows } = await client.query(
      `SELECT count(*) FILTER (WHERE pg_has_role($1, relowner, 'USAGE'))::int AS owns,
         count(*) FILTER (WHERE has_table_privilege($1, c.oid, 'SELECT'))::int AS reads,
         count(*) FILTER (WHERE has_table_privilege($1, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'))::int AS writes
       FROM pg_class c WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND oid >= 16384`,
      [role('chief')],
    );
    expect(rows[0]).toEqual({ owns: 1, reads: 3, writes: 2 });
    expect(await lines(`GRANT ${role('chief')} TO ${role('team')}`)).toEqual([
      `Gives: role ${role('chief')}: BYPASSRLS, CREATEROLE; owns 1 relation, may read 3 and write 2 in this database`,
      `Reaches: role ${role('team')} and 1 member of it [${role('ann')}]`,
    ]);
    expect(await lines(`REVOKE ${role('readers')} FROM ${role('team')}`)).toEqual([
      `Takes: role ${role('readers')}: owns 0 relations, may read 0 and write 0 in this database`,
      `Reaches: role ${role('team')} and 1 member of it [${role('ann')}]`,
    ]);
    expect(await lines(`SET ROLE ${role('chief')}`)).toEqual([
      `Acts as: role ${role('chief')}: BYPASSRLS, CREATEROLE; owns 1 relation, may read 3 and write 2 in this database`,
    ]);
  });

  it('REVOKE of what was handed on', async () => {
    const sql = `REVOKE SELECT ON crm.notes FROM ${role('chief')}`;
    await expect(client.query(sql)).rejects.toThrow('dependent privileges exist');
    const handed = `SELECT on table crm.notes, given to ${role('ann')} by ${role('chief')}`;
    expect(labelled(await findingsOn(client, sql), 'Fails')).toEqual([handed]);
    expect(labelled(await findingsOn(client, `${sql} CASCADE`), 'CASCADE')).toEqual([handed]);
  });

  it('functions, schemas, sequences and later objects', async () => {
    expect(await lines(`GRANT EXECUTE ON FUNCTION half(numeric) TO ${role('lone')}`)).toEqual([
      'Gives: EXECUTE on 1 object [function crm.half(numeric)]',
      `Reaches: role ${role('lone')}, which has no members`,
    ]);
    expect((await lines(`GRANT ALL ON SCHEMA crm TO ${role('lone')}`))[0]).toBe(
      'Gives: ALL on 1 object [schema crm]',
    );
    expect((await lines(`GRANT USAGE ON ALL SEQUENCES IN SCHEMA crm TO ${role('lone')}`))[0]).toMatch(
      /^Gives: USAGE on every sequence in schema crm: 3 sequences \[/,
    );
    expect(
      (await lines(`ALTER DEFAULT PRIVILEGES IN SCHEMA crm GRANT SELECT ON TABLES TO ${role('lone')}`))[0],
    ).toBe('Gives: SELECT on every table that is made later in schema crm; none that is there now');
  });

  it('owners', async () => {
    expect(await lines(`ALTER TABLE orders OWNER TO ${role('chief')}`)).toEqual([
      expect.stringMatching(/^Lock: ACCESS EXCLUSIVE on table crm.orders/),
      'New owner: who can do anything with it [table crm.orders]',
      `Reaches: role ${role('chief')}, which has no members`,
    ]);
    expect(await lines(`REASSIGN OWNED BY ${role('chief')} TO ${role('lone')}`)).toEqual([
      'New owner: of 1 object in this database [table crm.base]',
      `Reaches: role ${role('lone')}, which has no members`,
    ]);
    const dropped = await lines(`DROP OWNED BY ${role('chief')} CASCADE`);
    expect(dropped[0]).toMatch(/^Drops: 1 object .*\[table crm.base\]$/);
    expect(dropped).toContain(
      'CASCADE: drops 1 other object too (0 bytes, about 0 rows) [table crm.derived]',
    );
    expect((await lines(`DROP ROLE ${role('chief')}`))[0]).toMatch(/^Fails: role .* owns 1 object here/);
    await expect(client.query(`DROP ROLE ${role('chief')}`)).rejects.toThrow('cannot be dropped');
    expect((await lines(`DROP ROLE ${role('lone')}`))[0]).toMatch(/^Drops: role .* owns nothing/);
  });

  it('says what is not there', async () => {
    expect(await lines('GRANT SELECT ON nowhere TO nobody_at_all')).toEqual([
      expect.stringMatching(/^Not known: not found in the catalog.*\[nowhere\]$/),
      expect.stringMatching(/^Not known: there is no role nobody_at_all/),
    ]);
  });
});
