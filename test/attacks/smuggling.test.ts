/**
 * Sequences by which a statement that nobody approved might reach Postgres: each swaps what a name means, or what the
 * proxy believes that it means, after it was judged. Nobody answers any request here, so the victim must live.
 */
import { serialize } from 'pg-protocol';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { RawClient } from '../support/raw-client.ts';
import { type Stack, startStack } from '../support/stack.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ limits: { holdTimeoutMs: 700, holdTimeoutInTransactionMs: 700 } });
  const role = stack.config.agents[0]?.upstream.user;
  await stack.shop.query(`
    CREATE TABLE victim (id int);
    CREATE TABLE box (id int);
    CREATE TABLE tiny (id int); INSERT INTO tiny VALUES (1);
    CREATE SCHEMA evil;
    CREATE FUNCTION evil.tool() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.victim; RETURN 1; END $$;
    CREATE FUNCTION public.tool() RETURNS int LANGUAGE sql STABLE AS $$ SELECT 1 $$;
    CREATE TABLE evil.box (id int);
    CREATE FUNCTION evil.wipe() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.victim; RETURN NULL; END $$;
    CREATE TRIGGER wipe BEFORE INSERT ON evil.box FOR EACH STATEMENT EXECUTE FUNCTION evil.wipe();
    ALTER TABLE victim OWNER TO ${role}; ALTER TABLE box OWNER TO ${role}; ALTER TABLE tiny OWNER TO ${role};
    ALTER SCHEMA evil OWNER TO ${role}; ALTER TABLE evil.box OWNER TO ${role};
    ALTER FUNCTION evil.tool() OWNER TO ${role}; ALTER FUNCTION public.tool() OWNER TO ${role};
  `);
  const first = await RawClient.connect(stack.agentUrl);
  first.close();
  // The change check of the catalog sees the new objects.
  await new Promise((done) => setTimeout(done, 2_500));
});
afterAll(() => stack.close());
beforeEach(() => stack.shop.query('TRUNCATE victim; INSERT INTO victim SELECT generate_series(1, 5)'));

const Q = serialize.query;
const P = (name: string, text: string) => serialize.parse({ name, text, types: [] });
const B = (statement = '', portal = '', values: string[] = []) =>
  serialize.bind({ statement, portal, values });
const E = (portal = '') => serialize.execute({ portal, rows: 0 });
const C = (name: string) => serialize.close({ type: 'S', name });
const S = serialize.sync();
const H = serialize.flush();
const done = serialize.copyDone();
/** A Flush with a body: the server answers 08P01 and skips to Sync. */
const BAD_FLUSH = Buffer.from([0x48, 0, 0, 0, 5, 0]);
const WIPE = 'DELETE FROM victim';

/** Frames sent at once, then a pause. */
type Step = readonly Buffer[];

const ATTACKS: Record<string, readonly Step[]> = {
  'the plain statement': [[Q(WIPE)]],
  'the plain call': [[Q('SET search_path = evil')], [Q('SELECT tool()')]],
  'a Sync believed to be eaten by COPY joins two groups': [
    [P('x', WIPE), S],
    [
      P('x', 'SELECT 2'),
      C('x'),
      P('x', 'SELECT 1'),
      P('c', 'COPY box FROM STDIN'),
      B('c', 'c'),
      E('c'),
      S,
      done,
      B('x', 'p'),
      E('p'),
      S,
    ],
  ],
  'a malformed Flush skips what the proxy takes for done': [
    [P('x', WIPE), S],
    [BAD_FLUSH],
    [Q('SELECT 1'), S],
    [P('x', 'SELECT 2'), C('x'), P('x', 'SELECT 1'), S],
    [P('y', 'SELECT 1'), C('zz'), P('y2', 'SELECT 1'), S],
    [B('x'), E(), S],
  ],
  'statement_timeout fires while nothing is asked': [
    [Q("SET statement_timeout = '100ms'")],
    [P('x', WIPE), S],
    [P('', 'SELECT 1'), H],
    [Q('SELECT 1'), S],
    [P('x', 'SELECT 2'), C('x'), P('x', 'SELECT 1'), S],
    [P('y', 'SELECT 1'), C('zz'), P('y2', 'SELECT 1'), S],
    [B('x'), E(), S],
  ],
  'SQL EXECUTE, bound while the name was harmless': [
    [P('x', 'SELECT 1'), S],
    [P('e', 'EXECUTE x'), B('e', 'p'), C('x'), P('x', WIPE), E('p'), S],
  ],
  'the same over two groups of a transaction': [
    [P('x', 'SELECT 1'), S],
    [Q('BEGIN')],
    [P('e', 'EXECUTE x'), B('e', 'p'), S],
    [C('x'), P('x', WIPE), S],
    [E('p'), S],
    [Q('COMMIT')],
  ],
  'SQL EXECUTE after the search_path has changed': [
    [Q('PREPARE x AS SELECT tool()')],
    [Q('SET search_path = evil')],
    [Q('EXECUTE x')],
  ],
  'the second PREPARE of a string is taken for the first': [
    [Q('PREPARE a AS SELECT 1; PREPARE x AS SELECT tool()')],
    [Q('SET search_path = evil')],
    [B('x'), E(), S],
  ],
  "the string's own SET hides the path of a later Bind": [
    [Q('SET search_path = public; PREPARE x AS SELECT tool()')],
    [Q('SET search_path = evil')],
    [B('x'), E(), S],
  ],
  'judged under the path of its string, used under the one before': [
    [Q('SET search_path = evil')],
    [Q('SET search_path = public; PREPARE x AS SELECT tool()')],
    [Q('SET search_path = evil')],
    [B('x'), E(), S],
  ],
  'PREPARE bound before, executed after a change of the path': [
    [
      P('1', 'PREPARE x AS SELECT tool()'),
      B('1', 'p1'),
      P('2', 'SET search_path = evil'),
      B('2', 'p2'),
      E('p2'),
      E('p1'),
      B('x'),
      E(),
      S,
    ],
  ],
  'SET bound in one group, executed in another': [
    [Q('BEGIN')],
    [P('1', 'SET search_path = evil'), B('1', 'p'), S],
    [E('p'), P('', 'SELECT tool()'), B(), E(), S],
    [Q('COMMIT')],
  ],
  'COPY, bound under one path and executed under another': [
    [
      P('1', 'COPY box FROM STDIN'),
      B('1', 'p1'),
      P('2', 'SET search_path = evil'),
      B('2', 'p2'),
      E('p2'),
      E('p1'),
      S,
    ],
    [serialize.copyData(Buffer.from('1\n')), done, S],
  ],
};

describe('a statement that nobody approved does not run', () => {
  it.each(Object.keys(ATTACKS))('%s', async (name) => {
    const client = await RawClient.connect(stack.agentUrl);
    for (const frames of ATTACKS[name] ?? []) {
      client.send(...frames);
      await new Promise((next) => setTimeout(next, 300));
    }
    await new Promise((next) => setTimeout(next, 900));
    client.close();
    const { rows } = await stack.shop.query('SELECT count(*)::int AS n FROM victim');
    expect(rows).toEqual([{ n: 5 }]);
  });
});
