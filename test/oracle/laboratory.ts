import { readFileSync } from 'node:fs';
import type { Analyser } from '../../src/analyser/analyser.ts';
import { loadCatalog } from '../../src/catalog/load.ts';
import { readingJudgement } from '../../src/catalog/reading.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import type { Catalog } from '../../src/statement/catalog.ts';
import { createDatabase, superuser, type TestDatabase, withClient } from '../support/postgres.ts';
import { type DatabaseFacts, readFacts } from './catalog-facts.ts';
import { installWatch } from './watch.ts';

/** A database, and copies of it, that statements run against, with what analysis and verdict know about it. */
export type Laboratory = {
  /** The same database several times, with the same OIDs, so that statements can run side by side. */
  readonly benches: readonly Bench[];
  readonly catalog: Catalog;
  readonly facts: DatabaseFacts;
  readonly drop: () => Promise<void>;
};

export type Bench = {
  readonly url: string;
  /** Takes away what statements that were rolled back have left behind. */
  readonly vacuum: () => Promise<void>;
};

/** Who runs the statements: owns everything, and may make roles and databases; no superuser, so no files, no programs. */
const OWNER = 'oracle_owner';
const PASSWORD = 'oracle';

const ROLES = `
DO $do$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '${OWNER}') THEN
    CREATE ROLE ${OWNER} LOGIN CREATEROLE CREATEDB PASSWORD '${PASSWORD}';
    CREATE ROLE oracle_other PASSWORD 'unused';
    CREATE ROLE oracle_reader;
    GRANT oracle_other, oracle_reader TO ${OWNER} WITH ADMIN OPTION;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $do$`;

const PRIVILEGES = `
CREATE FOREIGN DATA WRAPPER oracle_fdw;
CREATE SERVER oracle_server FOREIGN DATA WRAPPER oracle_fdw;
CREATE USER MAPPING FOR ${OWNER} SERVER oracle_server OPTIONS (password 'SCRAM-SHA-256$unused');
ALTER SERVER oracle_server OWNER TO ${OWNER};
GRANT USAGE ON FOREIGN DATA WRAPPER oracle_fdw TO ${OWNER};
GRANT SET ON PARAMETER session_replication_role, log_statement, track_functions, lo_compat_privileges, log_min_messages
  TO ${OWNER};
GRANT SELECT ON pg_authid, pg_shadow, pg_user_mapping TO ${OWNER}`;

/** `file`: the SQL below fixtures/statements that makes the content, which is then the owner's. */
export async function createLaboratory(
  prefix: string,
  file: string,
  analyser: Analyser,
  benches = 1,
): Promise<Laboratory> {
  await withClient(superuser(), (client) => client.query(ROLES));
  const original = await createDatabase(prefix);
  const sql = readFileSync(new URL(`../../fixtures/statements/${file}`, import.meta.url), 'utf8');
  await original.query(settingsOf(original.name));
  await original.query(`ALTER SCHEMA public OWNER TO ${OWNER}`);
  // Operator classes take a superuser to make, and the owner never is one: another file's statements may run as it.
  const builder = `builder_${original.name}`;
  await original.query(`CREATE ROLE ${builder} SUPERUSER`);
  await withClient(superuser(original.name), async (client) => {
    await client.query(`SET SESSION AUTHORIZATION ${builder}`);
    await client.query(sql);
    await client.query('RESET SESSION AUTHORIZATION');
    // These can only be a superuser's.
    const { rows } = await client.query<{ what: string }>(
      `SELECT format('FOREIGN DATA WRAPPER %I', fdwname) AS what FROM pg_foreign_data_wrapper
        WHERE fdwowner = '${builder}'::regrole
       UNION SELECT format('EVENT TRIGGER %I', evtname) FROM pg_event_trigger WHERE evtowner = '${builder}'::regrole`,
    );
    for (const { what } of rows) await client.query(`ALTER ${what} OWNER TO postgres`);
    await client.query(`REASSIGN OWNED BY ${builder} TO ${OWNER}; DROP ROLE ${builder}`);
  });
  await original.query(PRIVILEGES);
  const judgement = readingJudgement(analyser, DEFAULT_LIMITS);
  const [catalog, facts] = await withClient(superuser(original.name), async (client) => {
    await client.query('VACUUM ANALYZE');
    const read = [await loadCatalog(client, judgement), await readFacts(client)] as const;
    await installWatch(client);
    return read;
  });
  const databases = [original];
  while (databases.length < benches) {
    const copy = await createDatabase(prefix, original.name);
    await copy.query(settingsOf(copy.name));
    databases.push(copy);
  }
  return {
    benches: databases.map((database) => ({
      url: ownersUrl(database),
      vacuum: async () => void (await database.query('VACUUM')),
    })),
    catalog,
    facts,
    drop: async () => {
      for (const { drop } of databases) await drop();
    },
  };
}

function settingsOf(database: string): string {
  return `ALTER DATABASE ${database} OWNER TO ${OWNER}; ALTER DATABASE ${database} SET track_functions = 'all'`;
}

function ownersUrl(database: TestDatabase): string {
  const url = new URL(database.url);
  url.username = OWNER;
  url.password = PASSWORD;
  return url.href;
}
