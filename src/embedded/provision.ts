import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import pg from 'pg';
import { makeScramVerifier } from '../config/scram-verifier.ts';
import type { EmbeddedPostgres } from './launcher.ts';
import type { DemoSecrets } from './secrets.ts';

/** Databases and roles of the demo. The audit log has a database of its own, which the agent's role cannot enter. */
export const DEMO = {
  shop: 'shop',
  audit: 'countersign',
  agentRole: 'shop_agent',
  admin: 'countersign_admin',
  writer: 'countersign_writer',
  auditor: 'countersign_auditor',
} as const;

/** Makes what is missing; a second call finds everything and changes nothing. Takes a few seconds the first time. */
export async function provisionDemo(server: EmbeddedPostgres, secrets: DemoSecrets): Promise<void> {
  await as(server, 'postgres', async (client) => {
    // No SUPERUSER anywhere. The agent's role may make roles, so that an approved CREATE ROLE can be seen to work.
    await role(client, DEMO.agentRole, 'LOGIN CREATEROLE', secrets.shopAgent);
    await role(client, DEMO.admin, 'LOGIN CREATEROLE', secrets.admin);
    // What the admin makes (the owner of the schemas) it may act as: from 16 on that has to be said.
    await client.query(`ALTER ROLE ${DEMO.admin} SET createrole_self_grant = 'set, inherit'`);
    await role(client, DEMO.writer, 'LOGIN', secrets.writer);
    await role(client, DEMO.auditor, 'LOGIN', secrets.auditor);
    // The admin gives its writer and auditor their rights, and cannot become either.
    await client.query(
      `GRANT ${DEMO.writer}, ${DEMO.auditor} TO ${DEMO.admin} WITH ADMIN OPTION, INHERIT FALSE, SET FALSE`,
    );
    await database(client, DEMO.shop, 'postgres');
    await database(client, DEMO.audit, DEMO.admin);
    await client.query(`REVOKE ALL ON DATABASE ${DEMO.shop}, ${DEMO.audit}, postgres, template1 FROM PUBLIC`);
    await client.query(`GRANT CONNECT, TEMPORARY ON DATABASE ${DEMO.shop} TO ${DEMO.agentRole}`);
    await client.query(`GRANT CONNECT ON DATABASE ${DEMO.audit} TO ${DEMO.writer}, ${DEMO.auditor}`);
  });
  await as(server, DEMO.shop, loadSample);
}

/** The shop's tables, owned by the agent's role; all of them or none. */
async function loadSample(client: pg.Client): Promise<void> {
  const marked = await client.query(
    "SELECT shobj_description(oid, 'pg_database') = $1 AS yes FROM pg_database WHERE datname = current_database()",
    [SAMPLE_MARK],
  );
  // The mark, not the tables: the demo invites people to drop those, and they stay dropped.
  if (marked.rows[0]?.yes) return;
  const sample = await readFile(new URL('./sample.sql', import.meta.url), 'utf8');
  await client.query('BEGIN');
  await client.query(`GRANT USAGE, CREATE ON SCHEMA public TO ${DEMO.agentRole}`);
  await client.query(`SET LOCAL ROLE ${DEMO.agentRole}`);
  await client.query(sample);
  await client.query('RESET ROLE');
  await client.query(`COMMENT ON DATABASE ${DEMO.shop} IS '${SAMPLE_MARK}'`);
  await client.query('COMMIT');
}

const SAMPLE_MARK = 'Countersign sample shop, version 1';

/** Names and attributes are constants of this file. The server gets a verifier and never sees the password. */
async function role(client: pg.Client, name: string, attributes: string, password: string): Promise<void> {
  const found = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [name]);
  if (found.rowCount !== 0) return;
  const verifier = client.escapeLiteral(makeScramVerifier(password, randomBytes(16)));
  await client.query(`CREATE ROLE ${name} ${attributes} PASSWORD ${verifier}`);
}

async function database(client: pg.Client, name: string, owner: string): Promise<void> {
  const found = await client.query('SELECT FROM pg_database WHERE datname = $1', [name]);
  if (found.rowCount === 0) await client.query(`CREATE DATABASE ${name} OWNER ${owner}`);
}

async function as(
  server: EmbeddedPostgres,
  name: string,
  work: (client: pg.Client) => Promise<void>,
): Promise<void> {
  const client = new pg.Client({
    host: server.socketDirectory ?? server.host,
    port: server.port,
    user: server.superuser,
    password: server.password,
    database: name,
  });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
