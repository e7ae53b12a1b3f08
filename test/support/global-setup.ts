import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded/launcher.ts';
import { binariesOf, isMajor, NEWEST } from './majors.ts';

declare module 'vitest' {
  interface ProvidedContext {
    postgres: {
      readonly port: number;
      readonly password: string;
      readonly socketDirectory: string | null;
      readonly major: number;
    };
  }
}

const MAJOR = Number(process.env['COUNTERSIGN_TEST_POSTGRES'] ?? NEWEST);

/**
 * One real Postgres for the whole run; each test file makes its own databases and roles in it. Another major than the
 * newest with COUNTERSIGN_TEST_POSTGRES=14.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = mkdtempSync(join(tmpdir(), 'cs-test-'));
  chmodSync(directory, 0o755);
  const server = await startEmbeddedPostgres({
    directory,
    password: 'test-superuser',
    native: binariesOfMajor(MAJOR),
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
    major: MAJOR,
  });
  return async () => {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  };
}

function binariesOfMajor(major: number): string {
  const directory = isMajor(major) ? binariesOf(major) : null;
  if (directory === null) throw new Error(`Postgres ${major} is not installed here`);
  return directory;
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
