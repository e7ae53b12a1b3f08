import { readFileSync } from 'node:fs';
import type { Analyser } from '../../src/analyser/analyser.ts';
import { loadCatalog } from '../../src/catalog/load.ts';
import { readingJudgement } from '../../src/catalog/reading.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import type { Catalog } from '../../src/statement/catalog.ts';
import { createDatabase, superuser, withClient } from '../support/postgres.ts';
import { type DatabaseFacts, readFacts } from './catalog-facts.ts';
import { installWatch } from './watch.ts';

/** A database that statements run against, with what analysis and verdict know about it. */
export type Laboratory = {
  readonly url: string;
  readonly catalog: Catalog;
  readonly facts: DatabaseFacts;
  readonly vacuum: () => Promise<void>;
  readonly drop: () => Promise<void>;
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
END $do$`;

const PRIVILEGES = `
CREATE FOREIGN DATA WRAPPER oracle_fdw;
CREATE SERVER oracle_server FOREIGN DATA WRAPPER oracle_fdw;
CREATE USER MAPPING FOR ${OWNER} SERVER oracle_server OPTIONS (password 'SCRAM-SHA-256$unused');
ALTER SERVER oracle_server OWNER TO ${OWNER};
GRANT USAGE ON FOREIGN DATA WRAPPER oracle_fdw TO ${OWNER};
GRANT SET ON PARAMETER session_replication_role, log_statement, track_functions, lo_compat_privileges TO ${OWNER};
GRANT SELECT ON pg_authid, pg_shadow, pg_user_mapping TO ${OWNER}`;

/** `schema`: SQL that makes the content, run as the owner. */
export async function createLaboratory(
  prefix: string,
  file: string,
  analyser: Analyser,
): Promise<Laboratory> {
  await withClient(superuser(), (client) => client.query(ROLES));
  const database = await createDatabase(prefix);
  const sql = readFileSync(new URL(`../../fixtures/statements/${file}`, import.meta.url), 'utf8');
  await database.query(`ALTER DATABASE ${database.name} OWNER TO ${OWNER}`);
  await database.query(`ALTER SCHEMA public OWNER TO ${OWNER}`);
  await database.query(`ALTER DATABASE ${database.name} SET track_functions = 'all'`);
  const url = new URL(database.url);
  url.username = OWNER;
  url.password = PASSWORD;
  // Operator classes take a superuser to make; the owner is none any more when the statements come.
  await database.query(`ALTER ROLE ${OWNER} SUPERUSER`);
  await withClient({ connectionString: url.href }, (client) => client.query(sql));
  await database.query(`ALTER ROLE ${OWNER} NOSUPERUSER; ${PRIVILEGES}`);
  const judgement = readingJudgement(analyser, DEFAULT_LIMITS);
  return await withClient(superuser(database.name), async (client) => {
    await client.query('VACUUM ANALYZE');
    const catalog = await loadCatalog(client, judgement);
    const facts = await readFacts(client);
    await installWatch(client);
    return {
      url: url.href,
      catalog,
      facts,
      vacuum: async () => void (await database.query('VACUUM')),
      drop: database.drop,
    };
  });
}
