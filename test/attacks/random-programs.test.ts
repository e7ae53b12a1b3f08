/**
 * Random conversations, sent to the server and through the proxy: what comes back must be the same. More of them with
 * COUNTERSIGN_PROGRAMS=5000, other ones with COUNTERSIGN_SEED.
 */
import fc from 'fast-check';
import pg from 'pg';
import { serialize } from 'pg-protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { superuser } from '../support/postgres.ts';
import { RawClient } from '../support/raw-client.ts';
import { type Stack, startStack } from '../support/stack.ts';

const PROGRAMS = Number(process.env['COUNTERSIGN_PROGRAMS'] ?? 60);
const SEED = Number(process.env['COUNTERSIGN_SEED'] ?? 77);

const NAMES = ['', 'a', 'b'] as const;
const TEXTS = [
  'SELECT 1',
  'SELECT 1/0',
  'SELECT id / (id - id) FROM tiny',
  'SELEC 1',
  '',
  '-- nothing',
  'SELECT id FROM tiny ORDER BY id LIMIT 3',
  'SELECT $1::int',
  'INSERT INTO box VALUES (1)',
  'INSERT INTO box VALUES (2) RETURNING id',
  'INSERT INTO child VALUES (99)',
  'SELECT count(*) FROM box',
  'BEGIN',
  'COMMIT',
  'ROLLBACK',
  'SAVEPOINT s',
  'ROLLBACK TO s',
  'RELEASE s',
  'DECLARE a CURSOR FOR SELECT id FROM tiny ORDER BY id LIMIT 3',
  'FETCH 1 FROM a',
  'CLOSE a',
  'PREPARE a AS SELECT 2',
  'EXECUTE a',
  'DEALLOCATE a',
  'DEALLOCATE ALL',
  'DISCARD ALL',
  'SET search_path = public',
  'SET LOCAL search_path = public, pg_temp',
  'SELECT 1; SELECT 2',
  'SELECT 1; SELECT 1/0; SELECT 2',
  'BEGIN; INSERT INTO box VALUES (3)',
  'INSERT INTO box VALUES (4); COMMIT; SELECT 1/0',
  'SELECT * FROM no_such_table',
] as const;
/** Held unless everything runs. */
const OBSERVED_TEXTS = [
  ...TEXTS,
  'COPY tiny TO STDOUT',
  'DO $$ BEGIN END $$',
  'SELECT 1; COPY tiny TO STDOUT',
];
const COPIES = [
  'COPY box FROM STDIN',
  'SELECT 1; COPY box FROM STDIN',
  'COPY box FROM STDIN; SELECT 1',
] as const;

/** What is sent, and whether the client then waits a moment. */
type Message = { readonly label: string; readonly frames: readonly Buffer[]; readonly pause: boolean };

const name = fc.constantFrom(...NAMES);
const data = (text: string) => serialize.copyData(Buffer.from(text));

function messages(texts: readonly string[]): fc.Arbitrary<Message> {
  const text = fc.constantFrom(...texts);
  const say = (label: string, ...frames: Buffer[]) => ({ label, frames });
  const copyBody = fc
    .array(fc.constantFrom('d', 'S', 'H'), { maxLength: 3 })
    // Whether a failing COPY has eaten a Sync between its data cannot be known: the proxy ends such a session.
    .chain((body) => fc.constantFrom('c', body.includes('S') ? 'c' : 'f').map((end) => [...body, end]));
  const copyFrames = (body: readonly string[]) =>
    body.map((one) => {
      if (one === 'd') return data('7\n');
      if (one === 'S') return serialize.sync();
      if (one === 'H') return serialize.flush();
      return one === 'c' ? serialize.copyDone() : serialize.copyFail('no');
    });
  return fc
    .oneof(
      {
        weight: 4,
        arbitrary: fc
          .tuple(name, text)
          .map(([n, t]) => say(`P:${n} ${t}`, serialize.parse({ name: n, text: t, types: [] }))),
      },
      {
        weight: 5,
        arbitrary: fc
          .tuple(name, name, fc.constantFrom(0, 0, 0, 1))
          .map(([statement, portal, count]) =>
            say(
              `B:${portal}<-${statement}/${count}`,
              serialize.bind({ statement, portal, values: Array(count).fill('5') }),
            ),
          ),
      },
      {
        weight: 5,
        arbitrary: fc
          .tuple(name, fc.constantFrom(0, 0, 1))
          .map(([portal, rows]) => say(`E:${portal}/${rows}`, serialize.execute({ portal, rows }))),
      },
      {
        weight: 2,
        arbitrary: fc
          .tuple(fc.constantFrom('S' as const, 'P' as const), name)
          .map(([type, n]) => say(`D${type}:${n}`, serialize.describe({ type, name: n }))),
      },
      {
        weight: 1,
        arbitrary: fc
          .tuple(fc.constantFrom('S' as const, 'P' as const), name)
          .map(([type, n]) => say(`C${type}:${n}`, serialize.close({ type, name: n }))),
      },
      { weight: 4, arbitrary: fc.constant(say('S', serialize.sync())) },
      { weight: 1, arbitrary: fc.constant(say('H', serialize.flush())) },
      { weight: 6, arbitrary: text.map((t) => say(`Q ${t}`, serialize.query(t))) },
      {
        weight: 2,
        arbitrary: fc
          .tuple(fc.constantFrom(...COPIES), copyBody)
          .map(([t, body]) => say(`Q ${t} ${body.join('')}`, serialize.query(t), ...copyFrames(body))),
      },
      {
        weight: 4,
        arbitrary: fc
          .tuple(text, name)
          .map(([t, n]) =>
            say(
              `PBE:${n} ${t}`,
              serialize.parse({ name: '', text: t, types: [] }),
              serialize.bind({ statement: '', portal: n, values: [] }),
              serialize.execute({ portal: n, rows: 0 }),
            ),
          ),
      },
    )
    .chain((message) => fc.boolean().map((pause) => ({ ...message, pause })));
}

const END = 'end of program';

async function play(url: string, program: readonly Message[]): Promise<string[]> {
  const client = await RawClient.connect(url);
  try {
    for (const { frames, pause } of program) {
      client.send(...frames);
      if (pause) await new Promise((next) => setTimeout(next, 4));
    }
    client.send(serialize.sync(), serialize.query('ROLLBACK'), serialize.query(`SELECT '${END}'`));
    let ended = false;
    const frames = await client.until((seen) => {
      ended ||= seen.some((frame) => frame[0] === 0x44 && frame.includes(END));
      return ended && seen.at(-1)?.[0] === 0x5a;
    }, 6_000);
    return frames.map(shown);
  } catch (error) {
    return [`hangs: ${(error as Error).message}`];
  } finally {
    client.close();
  }
}

/** Errors and notices without the server's source places. */
function shown(frame: Buffer): string {
  const type = String.fromCharCode(frame[0] ?? 0);
  if (type !== 'E' && type !== 'N') return `${type} ${frame.subarray(5).toString('latin1')}`;
  const fields = frame
    .toString('utf8', 5)
    .split('\0')
    .filter((field) => field !== '' && !'FLRWs'.includes(field[0] ?? ''));
  return `${type} ${fields.join('|')}`;
}

const code = (line: string) => /\|C([0-9A-Z]{5})/.exec(line)?.[1] ?? '';
/**
 * In a failed transaction the server says 25P02 to a substitute. For a missing name, a spent portal or a syntax error it would have
 * said that first: known, and nothing runs either way.
 */
const FIRST = new Set(['26000', '34000', '42601', '08P01', '55000']);

function same(direct: readonly string[], proxied: readonly string[]): boolean {
  return (
    direct.length === proxied.length &&
    direct.every((line, i) => {
      const other = proxied[i] ?? '';
      if (line === other) return true;
      if (!line.startsWith('E')) return false;
      // FETCH FROM a, bound to a portal that is itself named a: two errors for the same nonsense.
      if (code(line) === '55000' && code(other) === '34000') return true;
      return FIRST.has(code(line)) && code(other) === '25P02';
    })
  );
}

async function compare(stack: Stack, texts: readonly string[]): Promise<void> {
  const admin = new pg.Client(superuser(stack.shop.name));
  await admin.connect();
  const reset = () => admin.query('DELETE FROM box; DELETE FROM child');
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(messages(texts), { minLength: 3, maxLength: 12 }), async (program) => {
        await reset();
        const direct = await play(stack.directUrl, program);
        await reset();
        const proxied = await play(stack.agentUrl, program);
        if (!same(direct, proxied)) {
          const labels = program.map(({ label, pause }) => (pause ? `${label} ~` : label));
          expect({ labels, replies: proxied }).toEqual({ labels, replies: direct });
        }
      }),
      { numRuns: PROGRAMS, seed: SEED, endOnFailure: process.env['COUNTERSIGN_SHRINK'] === undefined },
    );
  } finally {
    await admin.end();
  }
}

async function prepared(mode: 'observe' | 'enforce'): Promise<Stack> {
  const stack = await startStack({ config: (config) => ({ ...config, mode }) });
  const role = stack.config.agents[0]?.upstream.user;
  await stack.shop.query(`
    CREATE TABLE tiny (id int); INSERT INTO tiny VALUES (1), (2), (3); ANALYZE tiny;
    CREATE TABLE box (id int);
    CREATE TABLE parent (id int PRIMARY KEY);
    CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
    ALTER TABLE tiny OWNER TO ${role}; ALTER TABLE box OWNER TO ${role};
    ALTER TABLE parent OWNER TO ${role}; ALTER TABLE child OWNER TO ${role};
  `);
  (await RawClient.connect(stack.agentUrl)).close();
  await new Promise((done) => setTimeout(done, 2_500));
  return stack;
}

describe.each(['observe', 'enforce'] as const)(`random programs in mode %s (seed ${SEED})`, (mode) => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await prepared(mode);
  });
  afterAll(() => stack.close());

  it('get what the server says, byte for byte', async () => {
    await compare(stack, mode === 'observe' ? OBSERVED_TEXTS : TEXTS);
    expect(await stack.api.open()).toEqual([]);
  }, 900_000);
});
