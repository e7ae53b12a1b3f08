import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
  ...Array.from({ length: 30 }, (_, at) => [`additions ${at}`, additions] as const),
];

describe('a text that costs the parser much', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({
      sample: 'CREATE TABLE products (id int)',
      limits: { holdTimeoutMs: 200, openRequestsPerAgent: 1_000 },
    });
  }, 120_000);
  afterAll(() => stack.close(), 120_000);

  it('ends with a clear error, while another session is answered', async () => {
    const hostile = new pg.Client({ connectionString: stack.agentUrl });
    const other = new pg.Client({ connectionString: stack.agentUrl });
    await Promise.all([hostile.connect(), other.connect()]);
    let over = false;
    let longest = 0;
    let answered = 0;
    const beating = (async () => {
      while (!over) {
        const began = performance.now();
        await other.query('SELECT 1');
        longest = Math.max(longest, performance.now() - began);
        answered++;
        await new Promise((done) => setTimeout(done, 5));
      }
    })();
    const codes: Record<string, string> = {};
    for (const [name, sql] of HOSTILE)
      codes[name] = await hostile.query(sql).then(
        () => 'ran',
        (error: { code?: string }) => error.code ?? String(error),
      );
    over = true;
    await beating;
    console.log(`${answered} answers meanwhile, the longest after ${Math.round(longest)} ms`);
    expect(
      Object.entries(codes).filter(([, code]) => !/^(57014|42501|54000|54001|53200|42601|42P01)$/.test(code)),
    ).toEqual([]);
    expect(answered).toBeGreaterThan(HOSTILE.length);
    // Generous: a machine that is busy with other things stops everybody now and then.
    expect(longest).toBeLessThan(5_000);
    expect((await hostile.query('SELECT count(*) FROM products')).rows).toHaveLength(1);
    await Promise.all([hostile.end(), other.end()]);
  }, 400_000);
});
