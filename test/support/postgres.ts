import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';

/** The superuser's connection settings for a database of the shared test server. */
export function superuser(
  database = 'postgres',
): pg.ClientConfig & { host: string; port: number; user: string; password: string; database: string } {
  const { port, password } = inject('postgres');
  return { host: '127.0.0.1', port, user: 'postgres', password, database };
}

export function superuserUrl(database = 'postgres'): string {
  const { port, password } = inject('postgres');
  return `postgres://postgres:${password}@127.0.0.1:${port}/${database}`;
}

export type TestDatabase = {
  readonly name: string;
  readonly url: string;
  /** Runs SQL as the superuser in this database, on a connection of its own. */
  readonly query: (sql: string, values?: unknown[]) => Promise<pg.QueryResult>;
  readonly drop: () => Promise<void>;
};

/** A new database with a name that no other test has; `prefix` in lower case. Empty, or a copy of `template`. */
export async function createDatabase(prefix: string, template = 'template1'): Promise<TestDatabase> {
  const name = `${prefix}_${randomBytes(5).toString('hex')}`;
  await withClient(superuser(), (client) => client.query(`CREATE DATABASE ${name} TEMPLATE ${template}`));
  return {
    name,
    url: superuserUrl(name),
    query: (sql, values) => withClient(superuser(name), (client) => client.query(sql, values)),
    drop: async () => {
      await withClient(superuser(), (client) => client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));
    },
  };
}

export async function withClient<T>(
  config: pg.ClientConfig,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client(config);
  // Where the server is killed, the query under way rejects; that the connection is gone need not end the test's process.
  client.on('error', () => {});
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
