import { readFileSync } from 'node:fs';
import { createDatabase, superuser, type TestDatabase, withClient } from '../support/postgres.ts';

const SCHEMA = readFileSync(new URL('../../fixtures/statements/corpus-schema.sql', import.meta.url), 'utf8');
const ROLES = ['shop_owner', 'agent_ro', 'agent_rw', 'analyst', 'intern'];

/** A fresh database with the corpus' schema, and `more` after it. */
export async function createCorpusDatabase(prefix: string, more = ''): Promise<TestDatabase> {
  await makeRoles();
  const database = await createDatabase(prefix);
  await database.query(SCHEMA);
  if (more !== '') await database.query(more);
  return database;
}

/** Roles belong to the cluster, and other test files may be making the same ones at this moment. */
async function makeRoles(): Promise<void> {
  await withClient(superuser(), async (client) => {
    for (const role of ROLES)
      await client.query(`CREATE ROLE ${role} NOLOGIN`).catch((error: { code?: string }) => {
        if (error.code !== '42710' && error.code !== '23505') throw error;
      });
  });
}
