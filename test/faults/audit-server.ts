/** An audit database on a server of its own, in all the states that such a server can be in. */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type pg from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded/launcher.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { withClient } from '../support/postgres.ts';

export type AuditServer = {
  /** The way that the program goes; it leads to the server wherever that is now. */
  readonly way: FaultProxy;
  readonly url: string;
  /** As the superuser, on the straight way. */
  readonly adminUrl: () => string;
  readonly auditorUrl: () => string;
  readonly query: (sql: string) => Promise<pg.QueryResult>;
  /** SIGQUIT: no checkpoint, connections just end. */
  readonly kill: () => Promise<void>;
  readonly startAgain: () => Promise<void>;
  readonly close: () => Promise<void>;
};

export const WRITER = 'audit_writer';

/** With the roles that a configuration names, and nothing else. */
export async function startAuditServer(): Promise<AuditServer> {
  const directory = mkdtempSync(join(tmpdir(), 'cs-audit-server-'));
  chmodSync(directory, 0o755);
  const password = randomBytes(8).toString('hex');
  const start = () =>
    startEmbeddedPostgres({ directory, password, settings: { fsync: 'off', shared_buffers: '32MB' } });
  let server: EmbeddedPostgres = await start();
  const urlOf = (user: string, port: number) => `postgres://${user}:${password}@127.0.0.1:${port}/postgres`;
  const query = (sql: string) =>
    withClient({ connectionString: urlOf('postgres', server.port) }, (client) => client.query(sql));
  await query(`
    CREATE ROLE countersign_audit_owner NOLOGIN;
    CREATE ROLE countersign_requests_owner NOLOGIN;
    CREATE ROLE ${WRITER} LOGIN PASSWORD '${password}';
    CREATE ROLE countersign_auditor LOGIN PASSWORD '${password}'`);
  const target = {
    host: '127.0.0.1',
    get port() {
      return server.port;
    },
  };
  const way = await startFaultProxy({ target });
  return {
    way,
    url: urlOf(WRITER, way.port),
    adminUrl: () => urlOf('postgres', server.port),
    auditorUrl: () => urlOf('countersign_auditor', server.port),
    query,
    kill: async () => {
      process.kill(server.pid, 'SIGQUIT');
      await server.exited;
    },
    startAgain: async () => {
      server = await start();
    },
    close: async () => {
      await way.close();
      await server.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** What befalls it, and how that ends. Each as it is met in the field. */
export type Ailment = {
  readonly begin: (server: AuditServer) => Promise<unknown>;
  readonly end: (server: AuditServer) => Promise<unknown>;
};

export const AILMENTS: Readonly<Record<string, Ailment>> = {
  'killed, and started again': { begin: (server) => server.kill(), end: (server) => server.startAgain() },
  'out of reach': { begin: async ({ way }) => way.away(), end: async ({ way }) => way.resume() },
  'silent, with its connections open': {
    begin: async ({ way }) => way.stall(),
    end: async ({ way }) => way.resume(),
  },
  'without room on its disk': {
    begin: ({ query }) =>
      query(`
        CREATE FUNCTION public.full() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT ON audit.entry FOR EACH ROW EXECUTE FUNCTION public.full();
        ALTER TABLE audit.entry ENABLE ALWAYS TRIGGER full_disk`),
    end: ({ query }) => query('DROP TRIGGER full_disk ON audit.entry; DROP FUNCTION public.full()'),
  },
  'read-only': {
    begin: ({ query }) => query(`ALTER ROLE ${WRITER} SET default_transaction_read_only = on; ${BREAK}`),
    end: ({ query }) => query(`ALTER ROLE ${WRITER} RESET default_transaction_read_only; ${BREAK}`),
  },
  'without a right to append': {
    begin: ({ query }) => query(`REVOKE USAGE ON SCHEMA audit FROM ${WRITER}`),
    end: ({ query }) => query(`GRANT USAGE ON SCHEMA audit TO ${WRITER}`),
  },
  'without a free connection': {
    begin: ({ query }) => query(`ALTER ROLE ${WRITER} CONNECTION LIMIT 0; ${BREAK}`),
    end: ({ query }) => query(`ALTER ROLE ${WRITER} CONNECTION LIMIT -1`),
  },
};

const BREAK = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${WRITER}'`;
