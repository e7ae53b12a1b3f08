import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { type Stack, startStack } from '../support/stack.ts';

const MB = 1024 * 1024;
const additions = `SELECT ${Array(10_000).fill('1').join('+')}`;

/** Each must end; what else runs in the process must not wait for it. Refused or held is the same to a client here. */
const HOSTILE: readonly (readonly [string, string])[] = [
  ['100,000 parentheses', `SELECT ${'('.repeat(100_000)}1${')'.repeat(100_000)}`],
  ['10,000 UNIONs', Array(10_000).fill('SELECT 1').join(' UNION ')],
  ['100,000 nested comments', `${'/*'.repeat(100_000)}${'*/'.repeat(100_000)}SELECT 1`],
  ['a text beyond the limit', `SELECT '${'x'.repeat(10 * MB)}'`],
  [
    'deep CASE',
    `SELECT ${'CASE WHEN true THEN '.repeat(3_000)}1${' END'.repeat(3_000)} FROM products; DROP TABLE products`,
  ],
  ['deep arrays', `SELECT ${'ARRAY['.repeat(3_000)}1${']'.repeat(3_000)}; DROP TABLE products`],
  ['very many nodes', `SELECT ${Array(60_000).fill('id + 1').join(', ')} FROM products; DROP TABLE products`],
  ['an INSERT of megabytes', `INSERT INTO nothing VALUES ${Array(300_000).fill("(1, 'abc')").join(', ')}`],
  [
    'a million elements in a list',
    `DELETE FROM nothing WHERE id IN (${Array(1_000_000).fill('7').join(', ')})`,
  ],
  ['very many statements', Array(20_000).fill('INSERT INTO nothing VALUES (1)').join(';')],
  ['very many tables', `SELECT 1 FROM ${Array.from({ length: 4_500 }, (_, at) => `t${at}`).join(', ')}`],
  ['a NUL', 'SELECT 1; \0 DROP TABLE products'],
  ...Array.from({ length: 100 }, (_, at) => [`additions ${at}`, additions] as const),
];
/** The parser's thread dies of it. */
const DEADLY = `SELECT ${Array(1_000_000).fill('1').join('+')} FROM products`;
/** It takes the parser seconds. */
const SLOW = `INSERT INTO products VALUES ${Array(900_000).fill('(1, 2)').join(', ')}`;
/** Goes to the other thread, and runs. */
const LONG = `SELECT '${'x'.repeat(9_000)}' AS x`;

/** What another session has to wait for its answers. */
function beat(client: pg.Client): () => Promise<{ answered: number; longest: number }> {
  let over = false;
  let longest = 0;
  let answered = 0;
  const beating = (async () => {
    while (!over) {
      const began = performance.now();
      await client.query('SELECT 1');
      longest = Math.max(longest, performance.now() - began);
      answered++;
      await new Promise((done) => setTimeout(done, 5));
    }
  })();
  return async () => {
    over = true;
    await beating;
    return { answered, longest };
  };
}

async function codeOf(client: pg.Client, sql: string): Promise<string> {
  return client.query(sql).then(
    () => 'ran',
    (error: { code?: string }) => error.code ?? String(error),
  );
}

async function connected(stack: Stack): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: stack.agentUrl });
  await client.connect();
  return client;
}

async function withStack(parseMs: number, work: (stack: Stack) => Promise<void>): Promise<void> {
  const stack = await startStack({
    sample: 'CREATE TABLE products (id int)',
    limits: { holdTimeoutMs: 200, openRequestsPerAgent: 1_000, parseMs },
  });
  try {
    await work(stack);
  } finally {
    await stack.close();
  }
}

describe('a text that costs the parser much', () => {
  it('ends with a clear error, while another session is answered', async () => {
    await withStack(DEFAULT_LIMITS.parseMs, async (stack) => {
      const [hostile, other] = await Promise.all([connected(stack), connected(stack)]);
      const beaten = beat(other);
      const codes: Record<string, string> = {};
      for (const [name, sql] of HOSTILE) codes[name] = await codeOf(hostile, sql);
      const { answered, longest } = await beaten();
      console.log(`${answered} answers meanwhile, the longest after ${Math.round(longest)} ms`);
      expect(
        Object.entries(codes).filter(
          ([, code]) => !/^(57014|42501|54000|54001|53200|42601|42P01|08P01)$/.test(code),
        ),
      ).toEqual([]);
      expect(answered).toBeGreaterThan(HOSTILE.length);
      // Generous: a machine that is busy with other things stops everybody now and then.
      expect(longest).toBeLessThan(5_000);
      expect((await hostile.query('SELECT count(*) FROM products')).rows).toHaveLength(1);
      await Promise.all([hostile.end(), other.end()]);
    });
  }, 400_000);

  it.each([
    ['dies', DEADLY, 60_000, 'the parser failed on this text'],
    ['takes too long', SLOW, 1_000, 'the text took too long to parse'],
  ])(
    'a thread that %s costs its own statement only',
    async (_, sql, parseMs, why) => {
      await withStack(parseMs, async (stack) => {
        const clients = await Promise.all([connected(stack), connected(stack), connected(stack)]);
        const [hostile, other, third] = clients;
        const told: string[] = [];
        hostile.on('notice', ({ detail }) => told.push(detail ?? ''));
        const beaten = beat(other);
        const ended = codeOf(hostile, sql);
        // Waits behind it, for the thread that takes the place of the other.
        expect((await third.query<{ x: string }>(LONG)).rows[0]?.x).toHaveLength(9_000);
        expect(await ended).toBe('57014');
        expect((await hostile.query<{ x: string }>(LONG)).rows[0]?.x).toHaveLength(9_000);
        expect((await beaten()).answered).toBeGreaterThan(5);
        await Promise.all(clients.map((client) => client.end()));
        expect(told[0]).toMatch(`unparsed: ${why}`);
        const left = await stack.shop.query('SELECT count(*)::int AS n FROM products');
        expect(left.rows).toEqual([{ n: 0 }]);
      });
    },
    180_000,
  );
});
