import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import pg from 'pg';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { auditCommand } from '../../src/cli/audit.ts';
import { verifyCommand } from '../../src/cli/verify.ts';
import { makeStream } from './stream-maker.ts';
import { type AuditDatabase, createAuditDatabase, intent, makeSigner, outcome } from './support.ts';

let database: AuditDatabase;
const directory = mkdtempSync(join(tmpdir(), 'cs-verify-'));
const keyFile = join(directory, 'jwks.json');
const signer = makeSigner();
const made = makeStream(signer, { purpose: 'test', host: 'here', pid: '7' });

beforeAll(async () => {
  database = await createAuditDatabase();
  writeFileSync(keyFile, JSON.stringify({ keys: [signer.publicJwk] }));
  const writer = new pg.Client(database.writerUrl);
  await writer.connect();
  await writer.query(appendCall('audit', made.start()));
  await writer.query(appendCall('audit', made.batch([intent(1), outcome(1)])));
  await writer.end();
});
afterAll(async () => {
  await database.dropAll();
  rmSync(directory, { recursive: true, force: true });
});

/** Runs a command line and gives its output and exit code. */
async function run(...words: string[]): Promise<{ output: string; code: number }> {
  const program = new Command().exitOverride();
  verifyCommand(program);
  auditCommand(program);
  let output = '';
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    output += String(text);
    return true;
  });
  try {
    await program.parseAsync(['node', 'countersign', ...words]);
    return { output, code: Number(process.exitCode ?? 0) };
  } finally {
    write.mockRestore();
    process.exitCode = undefined;
  }
}

const verify = (...more: string[]) => run('verify', '--url', database.auditorUrl, ...more);

test('a whole log: 0, with a warning where the keys came from the log itself', async () => {
  expect(await verify('--keys', keyFile)).toEqual({
    output: 'whole: 4 rows in 1 streams, 0 findings\n',
    code: 0,
  });
  const { output, code } = await verify();
  expect(code).toBe(0);
  expect(output).toMatch(/^warning: the public keys came from the log itself/);
});

test('an altered one: 1, naming the row and the check; as JSON too', async () => {
  const off = 'ALTER TABLE audit.entry DISABLE TRIGGER append_only;';
  await database.query(`${off} UPDATE audit.entry SET agent = 'x' WHERE seq = 3`);
  const { output, code } = await verify('--keys', keyFile);
  expect(code).toBe(1);
  expect(output).toContain(`ALTERED: stream ${made.stream} row 3: row_hash: the row was changed`);
  const json = await verify('--keys', keyFile, '--json');
  const [first = ''] = json.output.split('\n');
  expect(JSON.parse(first)).toMatchObject({ stream: made.stream, seq: '3', check: 'row_hash', ok: false });
  await database.query(`UPDATE audit.entry SET agent = 'reporter' WHERE seq = 3`);
  expect((await verify('--keys', keyFile)).code).toBe(0);
});

test('nothing that a forger wrote is a command for the terminal, or a line of ours', async () => {
  const forged = await createAuditDatabase();
  const name = `x\u001b[2K\u001b[1A\u202e\nwhole: 4 rows in 1 streams, 0 findings`;
  await forged.query(`INSERT INTO audit.stream VALUES ($1, 'k', '{}', $1, '', $2, now(), 1, '')`, [
    name,
    { host: name, pid: name },
  ]);
  for (const words of [['verify'], ['verify', '--json'], ['audit', 'status']]) {
    const { output, code } = await run(...words, '--url', forged.auditorUrl);
    expect(code).toBe(1);
    expect(output).toContain('x');
    expect(output).not.toMatch(/[^\P{C}\n]/u);
    expect(output).not.toContain('\nwhole: 4 rows');
  }
  await forged.dropAll();
});

test('what cannot be checked is an error that says why', async () => {
  const wrong = run('verify', '--url', 'postgres://nobody:x@127.0.0.1:1/none');
  await expect(wrong).rejects.toEqual(expect.objectContaining({ code: 'could_not_check', exitCode: 2 }));
  const writer = run('verify', '--url', database.writerUrl);
  await expect(writer).rejects.toEqual(expect.objectContaining({ code: 'could_not_check' }));
  const keys = verify('--keys', join(directory, 'missing.json'));
  await expect(keys).rejects.toEqual(expect.objectContaining({ code: 'bad_jwks' }));
});

test('audit status shows each stream', async () => {
  const { output, code } = await run('audit', 'status', '--url', database.auditorUrl);
  expect({ output, code }).toEqual({
    output: `${made.stream}  open       4 entries, signed up to 4  here/7\n1 stream\n`,
    code: 0,
  });
});
