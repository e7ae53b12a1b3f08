import pg from 'pg';
import { expect } from 'vitest';
import type { Jwks } from '../../src/audit/verify/trusted-keys.ts';
import type { Stack } from '../support/stack.ts';
import { alarmsIn } from './sound.ts';

/** Waits are for a machine that does other things as well. */
export const PATIENCE = { timeout: 60_000, interval: 100 };

export async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  return client;
}

/** The last command, or the SQLSTATE of the error. */
export async function sends(client: pg.Client, sql: string, values?: unknown[]): Promise<string> {
  return client.query(sql, values).then(
    // Of several statements, a list.
    (results: pg.QueryResult | pg.QueryResult[]) => [results].flat().at(-1)?.command ?? 'nothing',
    (error: pg.DatabaseError) => error.code ?? error.message,
  );
}

/** Sends on a connection of its own, and closes it. */
export async function agentSends(stack: Stack, sql: string, values?: unknown[]): Promise<string> {
  const client = await connect(stack.agentUrl);
  try {
    return await sends(client, sql, values);
  } finally {
    await client.end().catch(() => {});
  }
}

/** Held, and answered with that verdict; what the agent got. */
export async function answered(
  stack: Stack,
  sql: string,
  verdict: 'approve' | 'deny',
  token?: string,
): Promise<{ readonly id: string; readonly got: string }> {
  const running = agentSends(stack, sql);
  const { id } = await stack.api.waitFor(sql);
  expect((await stack.api.verdict(id, verdict, 'as agreed', token)).status).toBe(200);
  return { id, got: await running };
}

export async function published(stack: Stack): Promise<Jwks> {
  return (await (await fetch(`${stack.httpUrl}/.well-known/jwks.json`)).json()) as Jwks;
}

export async function stateOf(stack: Stack, id: string): Promise<string> {
  const { rows } = await stack.audit.query('SELECT state FROM countersign.request WHERE id = $1', [id]);
  return (rows[0] as { state: string } | undefined)?.state ?? 'none';
}

/** Until every statement has its outcome in the log. */
export async function settled(stack: Stack): Promise<void> {
  const schema = stack.config.audit.schema;
  await expect
    .poll(() => stack.audited(`SELECT sql FROM "${schema}".statements WHERE outcome IS NULL`), PATIENCE)
    .toEqual([]);
  await expect
    .poll(
      async () =>
        (await stack.audit.query("SELECT id FROM countersign.request WHERE state = 'consumed'")).rows,
      PATIENCE,
    )
    .toEqual([]);
}

/** No way of asking finds anything, and something was asked. */
export async function requireSound(stack: Stack, keys: Jwks, brief = false): Promise<void> {
  const { alarms, rows, checks } = await alarmsIn({
    ...{ url: stack.auditorUrl, schema: stack.config.audit.schema, keys, brief },
  });
  expect(alarms).toEqual([]);
  expect(rows).toBeGreaterThan(2);
  expect(checks).toBeGreaterThan(20);
}
