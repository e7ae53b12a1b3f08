/** An installation for wire tests: small tables, as they were before each conversation. */
import pg from 'pg';
import { superuser } from '../support/postgres.ts';
import { type Stack, startStack } from '../support/stack.ts';

export type WireStack = Stack & {
  /** SQL as the superuser, on one connection for all; on another one after the server has restarted. */
  readonly admin: (sql: string) => Promise<pg.QueryResult>;
  /** The tables as they were in the beginning. */
  readonly reset: () => Promise<void>;
};

/** `tiny` is only read, the others are written; `warn` says something while it runs. */
const SAMPLE = `
  CREATE TABLE tiny (id int); INSERT INTO tiny VALUES (1), (2), (3); ANALYZE tiny;
  CREATE TABLE box (id int);
  CREATE TABLE notes (id int, body text);
  CREATE TABLE parent (id int PRIMARY KEY);
  CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
  CREATE FUNCTION warn(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'said %', $1; RETURN $1; END $$;
`;

export async function startWireStack(mode: 'observe' | 'enforce'): Promise<WireStack> {
  const stack = await startStack({ sample: SAMPLE, config: (config) => ({ ...config, mode }) });
  let client: pg.Client | null = null;
  const connected = async (): Promise<pg.Client> => {
    if (client !== null) return client;
    const opened = new pg.Client(superuser(stack.shop.name));
    opened.on('error', () => {
      if (client === opened) client = null;
    });
    await opened.connect();
    client = opened;
    return opened;
  };
  const admin = async (sql: string) => (await connected()).query(sql);
  return {
    ...stack,
    admin,
    reset: async () => {
      await admin('DELETE FROM child; DELETE FROM parent; DELETE FROM box; DELETE FROM notes');
    },
    close: async () => {
      await client?.end();
      await stack.close();
    },
  };
}
