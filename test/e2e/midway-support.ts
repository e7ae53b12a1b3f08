/** For tests of results that wait in their middle for a person. */
import { serialize } from 'pg-protocol';
import { expect, vi } from 'vitest';
import type { Limits } from '../../src/config/limits.ts';
import { decodeErrorFields } from '../../src/protocol/backend.ts';
import { RawClient } from '../support/raw-client.ts';
import { type ApiRequest, type Stack, startStack } from '../support/stack.ts';

/** What came after ANALYZE the planner does not know of: it expects a row or so, and the statements flow. */
export const SMALL = 3_000;
export const LARGE = 40_000;
export const SAMPLE = `
  CREATE TABLE items (id integer, kind text, body text) WITH (autovacuum_enabled = off);
  INSERT INTO items SELECT i, 'old', 'x' FROM generate_series(1, 30000) i;
  CREATE TABLE notes (id integer);
  CREATE TABLE sink (id integer, body text);
  ANALYZE;
  INSERT INTO items SELECT i, 'small', 'x' FROM generate_series(1, ${SMALL}) i;
  INSERT INTO items SELECT i, 'large', repeat('x', 500) FROM generate_series(1, ${LARGE}) i;`;

/** Rows that pass before anybody is asked. */
export const LIMIT = 1_000;
/** `small` lies whole in socket buffers while people think; of `large` the server waits to send the rest. */
export type Size = 'small' | 'large';
export const SIZES = ['small', 'large'] as const;

export const Q = serialize.query;
export const P = (text: string) => serialize.parse({ text });
export const B = (binary = false) => serialize.bind({ binary });
export const D = serialize.describe({ type: 'P', name: '' });
export const E = serialize.execute({});
export const S = serialize.sync();

export async function startMidway(limits: Partial<Limits> = {}): Promise<Stack> {
  const stack = await startStack({ sample: SAMPLE, limits });
  await warmUp(stack);
  return stack;
}

/** The first statement of all may find the planner too slow, and is asked about before it runs: what that answers is known then. */
export async function warmUp(stack: Stack): Promise<void> {
  const client = await connected(stack);
  await asked(stack, client, read('small'));
  await client.cancel();
  await client.ready(1, 30_000);
  client.close();
}

export const types = (frames: readonly Buffer[]) =>
  frames
    .map((frame) => String.fromCharCode(frame[0] ?? 0))
    .join('')
    .replace(/D{2,}/g, 'D+');
export const rowsIn = (frames: readonly Buffer[]) => frames.filter((frame) => frame[0] === 0x44).length;
export const errorIn = (frames: readonly Buffer[]) => {
  const error = frames.find((frame) => frame[0] === 0x45);
  return error === undefined ? null : decodeErrorFields(error);
};
export const statusIn = (frames: readonly Buffer[]) => String.fromCharCode(frames.at(-1)?.[5] ?? 0);
export const eventually = (holds: () => Promise<void>) =>
  vi.waitFor(holds, { timeout: 25_000, interval: 100 });

let statements = 0;
/** Another text each time, so that no earlier answer counts for it. */
export const read = (size: Size) =>
  `SELECT id, body FROM items WHERE kind = '${size}' -- midway ${++statements}.`;

/** `begin`: in a transaction that has written. */
export async function connected(on: Stack, begin = false): Promise<RawClient> {
  const client = await RawClient.connect(on.agentUrl);
  if (begin) {
    client.send(Q('BEGIN'), Q('INSERT INTO notes VALUES (1)'));
    await client.ready(2);
  }
  return client;
}

export type Client = RawClient;
export type Asked = { readonly came: Buffer[]; readonly request: ApiRequest };

/** Sends, and takes what comes until a person is asked. */
export async function asked(
  on: Stack,
  client: RawClient,
  sql: string,
  frames: readonly Buffer[] = [Q(sql)],
): Promise<Asked> {
  client.send(...frames);
  const came = await client.until((all) => all.some((frame) => frame[0] === 0x4e), 20_000);
  const request = await on.api.waitFor(sql.slice(-12));
  return { came, request };
}

export async function recorded(on: Stack, sql: string) {
  const [row] = await on.audited(
    'SELECT outcome, rows::int, bytes::int, sqlstate, approvers FROM audit.statements WHERE sql = $1',
    [sql],
  );
  return row;
}

export async function stateOf(on: Stack, id: string): Promise<string> {
  const { rows } = await on.audit.query('SELECT state FROM countersign.request WHERE id = $1', [id]);
  return (rows[0] as { state: string } | undefined)?.state ?? 'none';
}

/** Client, server and transaction agree: it goes on being usable. */
export async function usable(client: RawClient, status: string): Promise<void> {
  if (status === 'E') {
    client.send(Q('SELECT 1'), Q('ROLLBACK'));
    const came = await client.ready(2);
    expect(types(came)).toBe('EZCZ');
    expect(errorIn(came)?.['C']).toBe('25P02');
  }
  client.send(Q('SELECT 1'), P('SELECT 2'), B(), E, S);
  expect(types(await client.ready(2))).toBe('TDCZ12DCZ');
  client.close();
}
