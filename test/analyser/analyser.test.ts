import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Analyser, loadAnalyser } from '../../src/analyser/analyser.ts';
import { commentDepthAtMost, isHeavy } from '../../src/analyser/scan.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { analyse } from '../../src/statement/analyse.ts';
import type { ParseResult } from '../../src/statement/parse-result.ts';

let analyser: Analyser;
beforeEach(async () => {
  analyser = await loadAnalyser({ ...DEFAULT_LIMITS, parseMs: 20_000 });
});
afterEach(() => analyser.close());

function parse(sql: string | Buffer): Promise<ParseResult> {
  const bytes = Buffer.from(sql);
  return analyser.needsWorker(bytes) ? analyser.parseLater(bytes) : Promise.resolve(analyser.parse(bytes));
}

async function classOf(sql: string): Promise<string> {
  const scope = { searchPath: ['public'], tempPossible: false };
  return analyse(await parse(sql), null, scope, DEFAULT_LIMITS).class;
}

/** The stack of a thread does not suffice for it. */
const DESTROYS = `SELECT ${Array(1_000_000).fill('1').join('+')}`;

/** Both ways of parsing must still be right after whatever came before. */
async function stillWorks(): Promise<void> {
  expect((await analyser.parseLater(Buffer.from('SELECT 1; DROP TABLE t'))).kind).toBe('tree');
  expect(await classOf('SELECT 1; DROP TABLE t')).toBe('ddl');
}

describe('parse', () => {
  it('gives each statement its bytes, without the semicolon', async () => {
    const sql = "SELECT 'é'; /* ü */ SELECT 2;DELETE FROM t ";
    const result = await parse(sql);
    if (result.kind !== 'tree') throw new Error(result.message);
    const texts = result.statements.map(({ start, end }) => Buffer.from(sql).toString('utf8', start, end));
    expect(texts).toEqual(["SELECT 'é'", 'SELECT 2', 'DELETE FROM t ']);
  });

  it('takes the empty text for no statement', async () => {
    expect(await parse('')).toMatchObject({ kind: 'tree', statements: [] });
    expect(await parse(' -- nothing')).toMatchObject({ kind: 'tree', statements: [] });
  });

  it('counts the position of an error in characters, from 1', async () => {
    expect(await parse("SELECT 'éü' SELEC 1")).toMatchObject({
      kind: 'error',
      cause: 'syntax',
      position: 19,
    });
  });

  it.each([
    ['a NUL', Buffer.from('SELECT 1\0; DROP TABLE t'), 'nul'],
    ['a lone continuation byte', Buffer.from([0x53, 0x80]), 'encoding'],
    ['a surrogate in UTF-8', Buffer.from([0x27, 0xed, 0xa0, 0x80, 0x27]), 'encoding'],
    ['deep comments', Buffer.from(`${'/*'.repeat(300)}${'*/'.repeat(300)} SELECT 1`), 'comment_depth'],
  ])('refuses %s before the parser sees it', async (_name, sql, cause) => {
    expect(await parse(sql)).toMatchObject({ kind: 'error', cause });
    await stillWorks();
  });

  it('refuses a text above the limit', async () => {
    const small = await loadAnalyser({ ...DEFAULT_LIMITS, statementBytes: 100 });
    expect(await small.parseLater(Buffer.from(`SELECT '${'x'.repeat(200)}'`))).toMatchObject({
      cause: 'size',
    });
    await small.close();
  });
});

describe('hostile texts', () => {
  it.each([
    ['100,000 parentheses', `SELECT ${'('.repeat(100_000)}1${')'.repeat(100_000)}`],
    ['10,000 UNIONs', Array(10_000).fill('SELECT 1').join(' UNION ')],
    ['10,000 additions', `SELECT ${Array(10_000).fill('1').join('+')}`],
    ['100,000 nested comments', `${'/*'.repeat(100_000)}${'*/'.repeat(100_000)}SELECT 1`],
    ['2,000 sub-queries', `${'SELECT * FROM ('.repeat(2_000)}SELECT 1${') x'.repeat(2_000)}`],
    ['5,000 NOTs', `SELECT ${'NOT '.repeat(5_000)}true`],
    ['5,000 casts', `SELECT 1${'::int'.repeat(5_000)}`],
  ])('%s end in bounded time as unparsed', async (_name, sql) => {
    expect(await classOf(sql)).toBe('unparsed');
    await stillWorks();
  });

  it('a hundred times 10,000 additions leave a parser that works', async () => {
    const sql = `SELECT ${Array(10_000).fill('1').join('+')}`;
    for (let i = 0; i < 100; i++) expect(await parse(sql)).toMatchObject({ cause: 'nodes' });
    await stillWorks();
  }, 120_000);

  it('what destroys a parser leaves another one that works', async () => {
    for (let i = 0; i < 3; i++) expect(await parse(DESTROYS)).toMatchObject({ cause: 'fault' });
    await stillWorks();
  }, 120_000);

  it('a tree above the limit is not looked at, however many of its constants there may be', async () => {
    const many = (one: string) => `SELECT ${Array(4_000).fill(one).join(',')} FROM t`;
    expect(await parse(many('a + 1'))).toMatchObject({ kind: 'error', cause: 'nodes' });
    expect((await parse(`SELECT ARRAY[${Array(4_000).fill('1').join(',')}]`)).kind).toBe('tree');
    expect(await parse(`SELECT ARRAY[${Array(200_000).fill('1').join(',')}]`)).toMatchObject({
      cause: 'nodes',
    });
    expect((await parse(Array(2_000).fill('INSERT INTO t VALUES (1)').join(';'))).kind).toBe('tree');
    expect(await parse(Array(20_000).fill('INSERT INTO t VALUES (1)').join(';'))).toMatchObject({
      cause: 'nodes',
    });
  }, 60_000);

  it('a long list keeps its length, and one of each form of its constants', async () => {
    const row = (i: number) => (i % 3 === 0 ? "(1, 'a')" : i % 3 === 1 ? "(NULL, 'b'::text)" : '(f(2), $1)');
    const values = Array.from({ length: 999 }, (_, i) => row(i)).join(',');
    const result = await parse(`SELECT * FROM (VALUES ${values}) v`);
    if (result.kind !== 'tree') throw new Error(result.message);
    const text = JSON.stringify(result.statements[0]?.node);
    expect(text.match(/"funcname"/g)).toHaveLength(333);
    expect(text.match(/"typeName"/g)).toHaveLength(333);
    expect(text.match(/"List"/g)).toHaveLength(999);
  });

  it('a literal of 10 MB and an INSERT of 100,000 rows are read', async () => {
    expect(await classOf(`SELECT '${'x'.repeat(10 * 1024 * 1024 - 100)}'`)).toBe('read');
    expect(await classOf(`INSERT INTO t VALUES ${Array(100_000).fill("(1, 'abc')").join(',')}`)).toBe(
      'write',
    );
    expect(await classOf(`SELECT * FROM t WHERE id IN (${Array(100_000).fill('7').join(',')})`)).toBe('read');
  }, 60_000);

  it('a row that calls a function is seen among 50,000 constant ones', async () => {
    const rows = Array(50_000).fill("(1, 'abc')");
    rows[40_000] = "(1, pg_read_file('/etc/passwd'))";
    expect(await classOf(`INSERT INTO t VALUES ${rows.join(',')}`)).toBe('admin');
  }, 60_000);

  it('a text that takes too long costs the thread its life, and the next one is parsed', async () => {
    const hasty = await loadAnalyser({ ...DEFAULT_LIMITS, parseMs: 60 });
    const slow = Buffer.from(`INSERT INTO t VALUES ${Array(200_000).fill("(1, 'abc')").join(',')}`);
    const [first, next] = await Promise.all([
      hasty.parseLater(slow),
      hasty.parseLater(Buffer.from('SELECT 1; SELECT 2')),
    ]);
    expect(first).toMatchObject({ kind: 'error', cause: 'timeout' });
    expect(next.kind === 'tree' && next.statements.length).toBe(2);
    await hasty.close();
    expect(await hasty.parseLater(slow)).toMatchObject({ cause: 'fault' });
  });

  it('texts that wait behind a broken one are parsed', async () => {
    const bad = Buffer.from(DESTROYS);
    const answers = await Promise.all(
      [bad, Buffer.from('SELECT 1'), bad, Buffer.from('SELEC')].map((sql) => analyser.parseLater(sql)),
    );
    expect(answers.map((a) => (a.kind === 'tree' ? 'tree' : a.cause))).toEqual([
      'fault',
      'tree',
      'fault',
      'syntax',
    ]);
  });
});

describe('what goes to the other thread', () => {
  it('is long, or may cost stack', () => {
    const heavy = (sql: string) => isHeavy(Buffer.from(sql), DEFAULT_LIMITS.inlineParseBytes);
    expect(heavy('SELECT abalance FROM pgbench_accounts WHERE aid = 1')).toBe(false);
    expect(heavy(`SELECT '${'x'.repeat(7_000)}'`)).toBe(false);
    expect(heavy(`SELECT '${'x'.repeat(9_000)}'`)).toBe(true);
    expect(heavy(`SELECT ${Array(1_000).fill('1').join('+')}`)).toBe(true);
    expect(heavy(Array(300).fill('SELECT 1').join(' UNION '))).toBe(true);
    expect(() => analyser.parse(Buffer.from(`SELECT '${'x'.repeat(9_000)}'`))).toThrow(TypeError);
  });

  it('never counts less than the true depth of comments', () => {
    expect(commentDepthAtMost(Buffer.from('/* a /* b */ c */ SELECT 1'))).toBe(2);
    expect(commentDepthAtMost(Buffer.from("SELECT '*/*/' /* /* */ */"))).toBeGreaterThanOrEqual(2);
    expect(commentDepthAtMost(Buffer.from('/*/*/**/*/*/'))).toBeGreaterThanOrEqual(3);
    expect(commentDepthAtMost(Buffer.from('SELECT 1 */ 2'))).toBe(0);
  });
});
