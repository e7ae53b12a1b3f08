/** A cursor of which more was fetched than may pass: each further FETCH is a question of its own. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Stack } from '../support/stack.ts';
import {
  asked,
  connected,
  errorIn,
  eventually,
  Q,
  rowsIn,
  SMALL,
  startMidway,
  stateOf,
  types,
} from './midway-support.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startMidway();
});
afterAll(() => stack.close());

const FETCH = 'FETCH 900 FROM pages';

it('an approved FETCH gives what it asks for, and leaves nothing for the next one', async () => {
  const client = await connected(stack);
  client.send(Q('BEGIN'), Q("DECLARE pages CURSOR FOR SELECT id, body FROM items WHERE kind = 'small'"));
  await client.ready(2);
  client.send(Q(FETCH));
  expect(rowsIn(await client.ready())).toBe(900);

  const second = await asked(stack, client, FETCH);
  expect(rowsIn(second.came)).toBe(100);
  const shown = await fetch(`${stack.httpUrl}/api/requests/${second.request.id}`, {
    headers: { authorization: `Bearer ${stack.approverToken}` },
  });
  expect(((await shown.json()) as { reasons: string[] }).reasons[0]).toMatch(
    /1000 rows of \d+ bytes were sent already from its cursor, of which each further FETCH is asked about$/,
  );
  await stack.api.verdict(second.request.id, 'approve');
  const rest = await client.ready(1, 30_000);
  expect([rowsIn(rest), errorIn(rest)]).toEqual([800, null]);
  await eventually(async () => expect(await stateOf(stack, second.request.id)).toBe('executed'));

  const third = await asked(stack, client, FETCH);
  expect(rowsIn(third.came)).toBe(0);
  expect(third.request.id).not.toBe(second.request.id);
  await stack.api.verdict(third.request.id, 'deny');
  const refused = await client.ready(1, 30_000);
  expect([types(refused), errorIn(refused)?.['C']]).toEqual(['EZ', '42501']);
  client.close();
});

it('all of it can be asked for at once', async () => {
  const client = await connected(stack);
  client.send(Q('BEGIN'), Q("DECLARE whole CURSOR FOR SELECT id, body FROM items WHERE kind = 'small'"));
  await client.ready(2);
  const { came, request } = await asked(stack, client, 'FETCH ALL FROM whole');
  await stack.api.verdict(request.id, 'approve');
  const rest = await client.ready(1, 30_000);
  expect([rowsIn(came) + rowsIn(rest), errorIn(rest)]).toEqual([SMALL, null]);
  client.close();
});
