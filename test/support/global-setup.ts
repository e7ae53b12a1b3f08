import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { startEmbeddedPostgres } from '../../src/embedded/launcher.ts';

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
