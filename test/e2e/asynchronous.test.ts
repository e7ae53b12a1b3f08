import { serialize } from 'pg-protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeErrorFields, decodeParameterStatus } from '../../src/protocol/backend.ts';
import { RawClient } from '../support/raw-client.ts';
import { type Stack, startStack } from '../support/stack.ts';

/**
 * What the server says without being asked: notifications, notices, changed settings. (A setting that changes while a
 * statement is held is in the tests of a malicious server: here it would change for every test on this server.)
 */
let stack: Stack;
beforeAll(async () => {
  stack = await startStack({
    sample: `
      CREATE TABLE old (id int);
      CREATE FUNCTION tell(i int) RETURNS int LANGUAGE plpgsql AS $$
        BEGIN RAISE NOTICE 'row %', i; RETURN i; END $$`,
  });
});
afterAll(() => stack.close());

const Q = serialize.query;
/** What a frame says, in a word. */
function said(frame: Buffer): string {
  const type = String.fromCharCode(frame[0] ?? 0);
  if (type === 'A') return `A ${frame.toString('utf8', 9).split('\0').slice(0, 2).join(' ')}`;
  if (type === 'N' || type === 'E') return `${type} ${decodeErrorFields(frame)['M']}`;
  if (type === 'S') return `S ${decodeParameterStatus(frame).name}=${decodeParameterStatus(frame).value}`;
  return type;
}

/** A client that listens and is held: what it was told of the hold is taken. */
async function heldListener(channel: string, name: string) {
  const client = await RawClient.connect(stack.agentUrl);
  client.send(Q(`LISTEN ${channel}`));
  await client.ready();
  client.send(Q(`DROP TABLE old -- ${name}`));
  const request = await stack.api.waitFor(`-- ${name}`);
  expect((await client.until((frames) => frames.length > 0)).map(said)).toEqual([
    `N countersign: held, request ${request.id}`,
  ]);
  return { client, request };
}

describe('while a statement is held', () => {
  it('notifications come at once and in order, and the hold goes on', async () => {
    const { client, request } = await heldListener('news', 'held one');
    for (let i = 0; i < 20; i++) await stack.shop.query(`NOTIFY news, '${i}'`);
    const got = (await client.until((frames) => frames.length >= 20)).map(said);
    expect(got).toEqual(Array.from({ length: 20 }, (_, i) => `A news ${i}`));
    expect((await stack.api.open()).map(({ id }) => id)).toContain(request.id);
    await stack.api.verdict(request.id, 'deny');
    expect((await client.ready()).map((frame) => said(frame)[0])).toEqual(['E', 'Z']);
    // And afterwards it is in step.
    client.send(Q("NOTIFY news, 'own'"), Q('SELECT 1'));
    expect((await client.ready(2)).map(said)).toEqual(['C', 'A news own', 'Z', 'T', 'D', 'C', 'Z']);
    client.close();
  });

  it('in a transaction, notifications wait for its end, as on the server', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    client.send(Q('LISTEN later'), Q('BEGIN'));
    await client.ready(2);
    client.send(Q('DROP TABLE old -- in transaction'));
    const request = await stack.api.waitFor('-- in transaction');
    await stack.shop.query("NOTIFY later, 'first'");
    await stack.api.verdict(request.id, 'deny');
    const types = (await client.ready()).map((frame) => said(frame)[0]);
    expect(types.filter((type) => type !== 'N')).toEqual(['E', 'Z']);
    client.send(Q('ROLLBACK'));
    const after = (await client.ready()).map(said);
    const late = after.includes('A later first')
      ? after
      : [...after, ...(await client.until((frames) => frames.length > 0)).map(said)];
    expect(late).toContain('A later first');
    client.close();
  });
});

describe('in the middle of a result', () => {
  it('notices stand between the rows where the server put them', async () => {
    const steps = [Q('SELECT tell(i) FROM generate_series(1, 5) i')];
    const direct = await RawClient.connect(stack.directUrl);
    direct.send(...steps);
    const expected = (await direct.ready()).map(said);
    direct.close();
    const client = await RawClient.connect(stack.agentUrl);
    client.send(...steps);
    // A function that nobody has proved or listed is held: once approved, it is as on the server.
    const request = await stack.api.waitFor('tell(i)').catch(() => null);
    if (request !== null) await stack.api.verdict(request.id, 'approve');
    const got = (await client.ready()).map(said).filter((one) => !one.startsWith('N countersign:'));
    expect(expected.filter((one) => one.startsWith('N row'))).toHaveLength(5);
    expect(got).toEqual(expected);
    client.close();
  });

  it('notifications and settings come where the server puts them', async () => {
    const sql = "SELECT set_config('DateStyle', 'German', false); SELECT 1";
    const play = async (url: string) => {
      const client = await RawClient.connect(url);
      client.send(Q('LISTEN mine'));
      await client.ready();
      client.send(Q("NOTIFY mine, 'a'"), Q("SET TimeZone = 'UTC'"), Q(sql), Q("NOTIFY mine, 'b'"));
      const frames = (await client.ready(4)).map(said);
      client.close();
      return frames;
    };
    const direct = await play(stack.directUrl);
    expect(direct).toContain('A mine a');
    expect(direct.some((one) => one.startsWith('S DateStyle=German'))).toBe(true);
    expect(await play(stack.agentUrl)).toEqual(direct);
  });
});
