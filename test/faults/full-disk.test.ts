/** The disk of the journal is full: what cannot be written down does not run, and nobody sees its result. */
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { verifyLog } from '../../src/audit/verify/verify-database.ts';
import { connectPg, failure } from '../proxy/support.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { printCounts } from './counts.ts';

type Files = typeof import('../../src/audit/journal/segment-files.ts');

const disk = vi.hoisted(() => ({ full: false, refused: 0 }));
vi.mock('../../src/audit/journal/segment-files.ts', async (original) => {
  const files = await original<Files>();
  return {
    ...files,
    writeAll: (fd: number, bytes: Buffer, position: number) => {
      if (!disk.full) return files.writeAll(fd, bytes, position);
      // A part of it still fits.
      disk.refused += 1;
      files.writeAll(fd, bytes.subarray(0, bytes.length >> 1), position);
      throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    },
  } satisfies Files;
});

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ sample: 'CREATE TABLE marks (mark text)' });
}, 240_000);
afterAll(() => stack.close(), 60_000);
afterEach(() => {
  disk.full = false;
});

const marks = async (mark: string) =>
  (await stack.shop.query('SELECT count(*)::int AS n FROM marks WHERE mark = $1', [mark])).rows[0]?.n;

it.each([
  ['write', (mark: string) => `INSERT INTO marks VALUES ('${mark}')`],
  ['read', (mark: string) => `SELECT '${mark}' AS mark FROM marks`],
  ['held', (mark: string) => `CREATE TABLE ${mark} (n integer)`],
])(
  'a %s gets no result, a write does not run, and all goes on when there is room',
  async (kind, sql) => {
    const mark = `full_${kind}`;
    const client = await connectPg({ connectionString: stack.agentUrl });
    client.on('error', () => {});
    await client.query("INSERT INTO marks VALUES ('before')");
    disk.full = true;
    const refusedBefore = disk.refused;
    const ending = await client.query(sql(mark)).then(
      () => 'done',
      ({ code }: { readonly code?: string }) => code ?? 'broken',
    );
    expect(ending).not.toBe('done');
    expect(disk.refused).toBeGreaterThan(refusedBefore);
    expect(await marks(mark)).toBe(0);
    expect((await stack.shop.query('SELECT to_regclass($1) AS made', [mark])).rows).toEqual([{ made: null }]);
    disk.full = false;
    await client.end().catch(() => {});
    const again = await connectPg({ connectionString: stack.agentUrl });
    await again.query(`INSERT INTO marks VALUES ('${mark} later')`);
    await again.end();
    expect(await marks(`${mark} later`)).toBe(1);
    await expect
      .poll(
        () =>
          stack.audited('SELECT outcome FROM audit.statements WHERE sql LIKE $1', [`INSERT%${mark} later%`]),
        { timeout: 30_000 },
      )
      .toEqual([{ outcome: 'executed' }]);
  },
  120_000,
);

it('who comes then is told that nothing begins, and is let in when there is room', async () => {
  disk.full = true;
  expect(await failure(connectPg({ connectionString: stack.agentUrl }))).toMatchObject({ code: '57P03' });
  disk.full = false;
  await (await connectPg({ connectionString: stack.agentUrl })).end();
}, 60_000);

it('and the log is whole', async () => {
  printCounts(`the journal's disk was full for ${disk.refused} writes`);
  const answer = await fetch(`${stack.httpUrl}/.well-known/jwks.json`);
  const keys = (await answer.json()) as { keys: Record<string, unknown>[] };
  const verified = await verifyLog({ url: stack.auditorUrl, schema: 'audit', keys });
  expect(verified).toMatchObject({ findings: [], whole: true });
}, 60_000);
