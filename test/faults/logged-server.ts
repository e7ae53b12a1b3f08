/** A Postgres of one test's own, which writes down every statement that it runs: what the audit log is compared with. */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type pg from 'pg';
import { type EmbeddedOptions, startEmbeddedPostgres } from '../../src/embedded/launcher.ts';
import { withClient } from '../support/postgres.ts';

export type LoggedServer = {
  readonly port: number;
  readonly superuser: (database?: string) => pg.ClientConfig;
  /** What clients of that application name had run so far, oldest first; waits for those that are still connected. */
  readonly statements: (application: string) => Promise<readonly string[]>;
  readonly close: () => Promise<void>;
};

/** Starts an empty one. */
export async function startLoggedServer(
  options: Pick<EmbeddedOptions, 'settings'> = {},
): Promise<LoggedServer> {
  let log = '';
  const directory = mkdtempSync(join(tmpdir(), 'cs-logged-'));
  chmodSync(directory, 0o755);
  const password = randomBytes(8).toString('hex');
  const server = await startEmbeddedPostgres({
    directory,
    password,
    settings: {
      ...{ fsync: 'off', shared_buffers: '32MB', log_statement: 'all' },
      // Application, then what it ran: each on one line where the statement is.
      log_line_prefix: '%a\t',
      ...options.settings,
    },
    heard: (text) => {
      log += text;
    },
  });
  const superuser = (database = 'postgres') => ({
    ...{ host: '127.0.0.1', port: server.port, user: 'postgres', password, database },
  });
  return {
    port: server.port,
    superuser,
    statements: async (application) => {
      // All of the server writes to one pipe: once this came, what ran before has come.
      const last = `last ${randomBytes(8).toString('hex')}`;
      await withClient(superuser(), async (client) => {
        for (;;) {
          const text = 'SELECT FROM pg_stat_activity WHERE application_name = $1';
          if ((await client.query(text, [application])).rowCount === 0) break;
          await soon();
        }
        await client.query(`SELECT '${last}'`);
      });
      while (!log.includes(last)) await soon();
      return log
        .split('\n')
        .filter((line) => line.startsWith(`${application}\t`))
        .flatMap(
          (line) =>
            /^LOG: {2}(?:statement|execute [^:]*): (.*)$/.exec(line.slice(application.length + 1))?.[1] ?? [],
        );
    },
    close: async () => {
      await server.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

const soon = () => new Promise((done) => setTimeout(done, 50));
