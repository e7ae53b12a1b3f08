import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded/launcher.ts';

declare module 'vitest' {
  interface ProvidedContext {
    postgres: { readonly port: number; readonly password: string; readonly socketDirectory: string | null };
  }
}

/** One real Postgres for the whole run; each test file makes its own databases and roles in it. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = mkdtempSync(join(tmpdir(), 'cs-test-'));
  chmodSync(directory, 0o755);
  const server = await startEmbeddedPostgres({
    directory,
    password: 'test-superuser',
    settings: {
      fsync: 'off',
      full_page_writes: 'off',
      max_connections: '300',
      shared_buffers: '128MB',
      max_prepared_transactions: '10',
    },
  });
  await withRoles(server);
  project.provide('postgres', {
    port: server.port,
    password: server.password,
    socketDirectory: server.socketDirectory,
  });
  return async () => {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  };
}

/** Roles are the whole server's: made once here, so that migrations of parallel test files do not race for them. */
async function withRoles({ port, password }: EmbeddedPostgres): Promise<void> {
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', password, database: 'postgres' });
  await client.connect();
  await client.query(`
    CREATE ROLE countersign_audit_owner NOLOGIN;
    CREATE ROLE countersign_requests_owner NOLOGIN;
    CREATE ROLE countersign_audit_writer NOLOGIN;
    CREATE ROLE countersign_auditor LOGIN PASSWORD 'auditor-secret'`);
  await client.end();
}
