import { serialize } from 'pg-protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RawClient } from '../support/raw-client.ts';
import { type Stack, startStack } from '../support/stack.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
});
afterAll(() => stack.close());

const Q = serialize.query;
const P = (text: string, name = '') => serialize.parse({ name, text, types: [] });
const Bd = (values: (string | null)[] = [], statement = '', portal = '') =>
  serialize.bind({ statement, portal, values });
const D = (name = '') => serialize.describe({ type: 'P', name });
const E = (rows = 0, portal = '') => serialize.execute({ portal, rows });
const S = serialize.sync();

/** Each script: frames sent at once, and how many ReadyForQuery answer them. */
const SCRIPTS: Record<string, readonly (readonly [number, readonly Buffer[]])[]> = {
  'a simple read': [[1, [Q('SELECT id, name FROM customers WHERE id = 17')]]],
  'several statements in one string': [[1, [Q('SELECT 1; SELECT 2; SELECT 3')]]],
  'an empty query': [[1, [Q('')]]],
  'comments only': [[1, [Q('-- nothing\n/* at all */')]]],
  'an error': [[1, [Q('SELECT 1/0')]]],
  'a syntax error': [[1, [Q('SELEC 1')]]],
  'an unknown table': [[1, [Q('SELECT * FROM no_such_table')]]],
  'an unknown column': [[1, [Q('SELECT no_such_column FROM customers LIMIT 1')]]],
  'a write, read back': [
    [1, [Q("UPDATE customers SET name = 'x' WHERE id = 5")]],
    [1, [Q('SELECT name FROM customers WHERE id = 5')]],
  ],
  'a transaction that is rolled back': [
    [1, [Q('BEGIN')]],
    [1, [Q("UPDATE customers SET name = 'y' WHERE id = 6")]],
    [1, [Q('ROLLBACK')]],
    [1, [Q('SELECT name FROM customers WHERE id = 6')]],
  ],
  'a failed transaction': [
    [1, [Q('BEGIN')]],
    [1, [Q('SELECT 1/0')]],
    [1, [Q('SELECT 1')]],
    [1, [Q('COMMIT')]],
  ],
  savepoints: [
    [1, [Q('BEGIN; SAVEPOINT a')]],
    [1, [Q('SELECT 1/0')]],
    [1, [Q('ROLLBACK TO a')]],
    [1, [Q('SELECT 1')]],
    [1, [Q('COMMIT')]],
  ],
  'the extended protocol': [[1, [P('SELECT $1::int + 1'), Bd(['41']), D(), E(), S]]],
  'a named statement, used twice': [
    [1, [P('SELECT name FROM customers WHERE id = $1', 'byid'), S]],
    [1, [Bd(['7'], 'byid'), D(), E(), S]],
    [1, [Bd(['8'], 'byid'), D(), E(), S]],
    [1, [serialize.close({ type: 'S', name: 'byid' }), S]],
    [1, [Bd(['9'], 'byid'), E(), S]],
  ],
  'an error in the middle of a pipeline, which skips to Sync': [
    [
      2,
      [
        P('SELECT 1'),
        Bd(),
        E(),
        P('SELECT 1/0'),
        Bd(),
        E(),
        P('SELECT 2'),
        Bd(),
        E(),
        S,
        P('SELECT 3'),
        Bd(),
        E(),
        S,
      ],
    ],
  ],
  'fifty statements in one pipeline': [
    [1, [...Array.from({ length: 50 }, (_, i) => [P(`SELECT ${i}`), Bd(), E()]).flat(), S]],
  ],
  'a portal that is read in steps': [
    [1, [Q('BEGIN')]],
    [
      2,
      [
        P('SELECT id FROM customers WHERE id < 10 ORDER BY id LIMIT 10'),
        Bd([], '', 'p'),
        E(4, 'p'),
        S,
        E(4, 'p'),
        E(4, 'p'),
        S,
      ],
    ],
    [1, [Q('COMMIT')]],
  ],
  'SQL PREPARE, used by the protocol': [
    [1, [Q('PREPARE q AS SELECT id FROM customers WHERE id = 3')]],
    [1, [Bd([], 'q'), D(), E(), S]],
    [1, [Q('EXECUTE q')]],
    [1, [Q('DEALLOCATE q')]],
  ],
  'a cursor': [
    [1, [Q('BEGIN; DECLARE c CURSOR FOR SELECT id FROM customers WHERE id < 30 ORDER BY id LIMIT 20')]],
    [1, [Q('FETCH 5 FROM c')]],
    [1, [Q('MOVE 5 FROM c')]],
    [1, [E(3, 'c'), S]],
    [1, [Q('CLOSE c; COMMIT')]],
  ],
  'COPY FROM STDIN': [
    [
      1,
      [Q('COPY notes FROM STDIN'), serialize.copyData(Buffer.from('1\tone\n2\ttwo\n')), serialize.copyDone()],
    ],
    [1, [Q('SELECT * FROM notes ORDER BY id LIMIT 5')]],
  ],
  'COPY FROM STDIN that fails': [
    [1, [Q('COPY notes FROM STDIN'), serialize.copyData(Buffer.from('x\tbad\n')), serialize.copyDone()]],
    [1, [Q('SELECT 1')]],
  ],
  'a malformed Bind': [
    [1, [P('SELECT 1'), Buffer.from([0x42, 0, 0, 0, 6, 0, 0]), E(), S]],
    [1, [Q('SELECT 1')]],
  ],
  'Bind of a statement that does not exist': [[1, [Bd([], 'ghost'), E(), S]]],
  'Execute of a portal that does not exist': [[1, [E(0, 'ghost'), S]]],
  'settings and notices': [
    [1, [Q("SET application_name = 'x'; SHOW application_name")]],
    [1, [Q('SET client_min_messages = notice')]],
    [1, [Q('COMMIT')]],
    [1, [Q('RESET ALL')]],
  ],
  'LISTEN and NOTIFY': [
    [1, [Q('LISTEN news')]],
    [1, [Q('UNLISTEN news')]],
  ],
  'a Query in the middle of a group': [[1, [P('SELECT 1'), Q('SELECT 2')]]],
  'Flush before Sync': [[1, [P('SELECT 1'), Bd(), E(), serialize.flush(), S]]],
};

/** What differs from one connection to another by nature: FATAL details and LISTEN's process ids. */
async function play(url: string, script: (typeof SCRIPTS)[string]): Promise<string[]> {
  const client = await RawClient.connect(url);
  const seen: string[] = [];
  try {
    for (const [ready, frames] of script) {
      client.send(...frames);
      for (const frame of await client.ready(ready))
        seen.push(`${String.fromCharCode(frame[0] ?? 0)} ${withoutSource(frame).toString('latin1')}`);
    }
  } finally {
    client.close();
  }
  return seen;
}

/** Errors name the server's source file; a refusal in its place does not. */
function withoutSource(frame: Buffer): Buffer {
  if (frame[0] !== 0x45) return frame;
  const fields = frame
    .toString('utf8', 5)
    .split('\0')
    .filter((field) => field !== '' && !'FLR'.includes(field[0] ?? ''));
  return Buffer.from(fields.join('|'));
}

describe('reads and ordinary writes', () => {
  beforeAll(async () => {
    await stack.shop.query(
      `CREATE TABLE notes (id int, body text); ALTER TABLE notes OWNER TO ${stack.config.agents[0]?.upstream.user}`,
    );
    const catalog = await RawClient.connect(stack.agentUrl);
    catalog.close();
    // The change check of the catalog sees the new table.
    await new Promise((done) => setTimeout(done, 2_500));
  });

  it.each(Object.keys(SCRIPTS))('are byte for byte what the server says: %s', async (name) => {
    const script = SCRIPTS[name] ?? [];
    await stack.shop.query("TRUNCATE notes; UPDATE customers SET name = 'same' WHERE id < 10");
    const direct = await play(stack.directUrl, script);
    await stack.shop.query("TRUNCATE notes; UPDATE customers SET name = 'same' WHERE id < 10");
    const proxied = await play(stack.agentUrl, script);
    expect(proxied).toEqual(direct);
    expect(await stack.api.open()).toEqual([]);
  });
});
