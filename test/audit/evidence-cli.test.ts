import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { cli } from '../cli/in-process.ts';
import { makeStream } from './stream-maker.ts';
import { type AuditDatabase, createAuditDatabase, event, intent, makeSigner, outcome } from './support.ts';

// Many files, each on disk before it counts.
vi.setConfig({ testTimeout: 120_000 });

let database: AuditDatabase;
const root = mkdtempSync(join(tmpdir(), 'cs-evidence-cli-'));
const signer = makeSigner();
const keyFile = join(root, 'jwks.json');
const otherKeys = join(root, 'other.json');
const folder = join(root, 'folder');
const stream = makeStream(signer);

beforeAll(async () => {
  writeFileSync(keyFile, JSON.stringify({ keys: [signer.publicJwk] }));
  writeFileSync(otherKeys, JSON.stringify({ keys: [makeSigner().publicJwk] }));
  database = await createAuditDatabase();
  const writer = new pg.Client(database.writerUrl);
  await writer.connect();
  await writer.query(appendCall('audit', stream.start()));
  await writer.query(appendCall('audit', stream.batch([intent(1), outcome(1)])));
  await writer.end();
});
afterAll(async () => {
  await database.dropAll();
  rmSync(root, { recursive: true, force: true });
});

const evidence = (...more: string[]) =>
  cli(['evidence', '--from', '2026-01-01', '--url', database.auditorUrl, ...more]);
const verify = (directory: string, ...more: string[]) =>
  cli(['verify', '--evidence', directory, '--keys', keyFile, ...more]);
const copy = (name: string): string => {
  const directory = join(root, name);
  cpSync(folder, directory, { recursive: true });
  return directory;
};
const nothingLeft = () => readdirSync(root).filter((name) => name.startsWith('.'));

describe('countersign evidence', () => {
  it('0: makes the folder and says that it is whole', async () => {
    const { code, stdout, stderr } = await evidence('--out', folder, '--keys', keyFile);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^executed_without_approval: empty, as it must be$/m);
    expect(stdout).toMatch(/^the log: whole: 4 rows in 1 streams, 0 findings$/m);
    expect(stdout).toMatch(/^sha256 of SHA256SUMS, to be written down elsewhere: [0-9a-f]{64}$/m);
    expect(stdout).toMatch(
      /^whole: evidence from 2026-01-01T00:00:00\.000Z to \S+Z: 4 rows in 1 streams, 0 findings$/m,
    );
  });

  it('0, with a warning, where the keys are those of the log', async () => {
    const { code, stdout } = await evidence('--out', join(root, 'own-keys'));
    expect(code).toBe(0);
    expect(stdout).toContain('warning: the public keys came from the evidence itself');
    expect(readFileSync(join(root, 'own-keys/README.md'), 'utf8')).toContain(
      'The public keys came from the log itself',
    );
  });

  it('1: made, and the log is not that of these keys', async () => {
    const out = join(root, 'wrong-keys');
    const { code, stdout } = await evidence('--out', out, '--keys', otherKeys);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^the log: ALTERED/m);
    expect(existsSync(join(out, 'SHA256SUMS'))).toBe(true);
    // With the right ones the folder still says what was found when it was made.
    const again = await verify(out);
    expect(again.code).toBe(1);
    expect(again.stdout).toContain(
      'ALTERED: manifest.json: log: the log was found altered when this folder was made',
    );
  });

  it.each([
    [
      'a folder that is there',
      () => ['--out', folder],
      'folder exists: evidence is never written over something',
    ],
    [
      'a link in its place',
      () => {
        symlinkSync('/nowhere', join(root, 'link'));
        return ['--out', join(root, 'link')];
      },
      'link exists: evidence is never written over something',
    ],
    ['a place that is not there', () => ['--out', join(root, 'no/where')], 'could not be written: ENOENT'],
    [
      'a schema that is not there',
      () => ['--out', join(root, 'x'), '--schema', 'nothing'],
      'does not exist: is this the audit schema',
    ],
    [
      'a role without rights',
      () => ['--out', join(root, 'x'), '--url', database.writerUrl],
      'permission denied for view statements: --url must be of a role',
    ],
    [
      'a database that is away',
      () => ['--out', join(root, 'x'), '--url', 'postgres://a@127.0.0.1:1/a'],
      'ECONNREFUSED',
    ],
    [
      'a period that ends before it begins',
      () => ['--out', join(root, 'x'), '--to', '2025-01-01'],
      '--from must be before --to',
    ],
    [
      'a period that is not over',
      () => ['--out', join(root, 'x'), '--to', '2999-01-01'],
      '--to is in the future',
    ],
    [
      'a period in the future',
      () => ['--out', join(root, 'x'), '--from', '2999-01-01'],
      '--from must be before --to',
    ],
    [
      'a time that is none',
      () => ['--out', join(root, 'x'), '--to', 'yesterday'],
      '--to: expected a time like',
    ],
    ['keys that are none', () => ['--out', join(root, 'x'), '--keys', folder], '--keys: '],
    [
      'a checkpoint that is none',
      () => ['--out', join(root, 'x'), '--checkpoint', keyFile],
      'is no signed checkpoint',
    ],
  ])('2: not made: %s', async (_name, more, problem) => {
    const { code, stdout, stderr } = await evidence(...more());
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(problem);
    expect(existsSync(join(root, 'x'))).toBe(false);
    expect(nothingLeft()).toEqual([]);
  });
});

describe('countersign verify --evidence', () => {
  it('0: whole; also through a link to the folder, and as JSON', async () => {
    const { code, stdout } = await verify(folder);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^whole: evidence from .*, 0 findings\n$/);
    symlinkSync(folder, join(root, 'to-folder'));
    expect((await verify(join(root, 'to-folder'))).code).toBe(0);
    const json = await verify(folder, '--json');
    expect(JSON.parse(json.stdout)).toMatchObject({
      whole: true,
      altered: false,
      rows: 4,
      gone: { dropped: 0 },
    });
  });

  it.each([
    ['a file less', 'less', (d: string) => rmSync(join(d, 'log/leaves.jsonl')), 'log/leaves.jsonl'],
    ['a view less', 'view', (d: string) => rmSync(join(d, 'views/denials.csv')), 'views/denials.csv'],
    ['a file more', 'more', (d: string) => writeFileSync(join(d, 'views/more.csv'), 'x'), 'views/more.csv'],
    ['a hidden file more', 'hidden', (d: string) => writeFileSync(join(d, '.more'), 'x'), '.more'],
    [
      'a file changed',
      'changed',
      (d: string) => appendFileSync(join(d, 'views/agents.csv'), 'x'),
      'views/agents.csv',
    ],
    [
      'a folder exchanged for a link',
      'linked',
      (d: string) => {
        cpSync(join(d, 'log'), join(root, 'elsewhere'), { recursive: true });
        rmSync(join(d, 'log'), { recursive: true });
        symlinkSync(join(root, 'elsewhere'), join(d, 'log'));
      },
      'log',
    ],
  ])('1: %s', async (_name, name, change, file) => {
    const directory = copy(name);
    change(directory);
    const { code, stdout } = await verify(directory);
    expect(code).toBe(1);
    expect(stdout).toContain(`ALTERED: ${file}: file:`);
    expect(stdout).toMatch(/^ALTERED: evidence from/m);
  });

  it('1: keys of another installation', async () => {
    const { code, stdout } = await verify(folder, '--keys', otherKeys);
    expect(code).toBe(1);
    expect(stdout).toContain('endorsement: the stream');
  });

  it.each([
    ['no folder', () => join(root, 'nowhere')],
    ['an empty folder', () => mkdirSync(join(root, 'empty'), { recursive: true }) ?? join(root, 'empty')],
    ['a file', () => keyFile],
    [
      'no sums',
      () => {
        const directory = copy('no-sums');
        rmSync(join(directory, 'SHA256SUMS'));
        return directory;
      },
    ],
    [
      'sums of files elsewhere',
      () => {
        const directory = copy('elsewhere-sums');
        appendFileSync(join(directory, 'SHA256SUMS'), `${'0'.repeat(64)}  ../../../etc/hostname\n`);
        return directory;
      },
    ],
    [
      'a manifest that is a link',
      () => {
        const directory = copy('linked-manifest');
        rmSync(join(directory, 'manifest.json'));
        symlinkSync(join(folder, 'manifest.json'), join(directory, 'manifest.json'));
        return directory;
      },
    ],
  ])('2: %s', async (_name, directory) => {
    const { code, stdout, stderr } = await verify(directory());
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^countersign: --evidence: .*(cannot be read|no list of sums)/);
  });
});

describe('a row that a view cannot read', () => {
  const out = join(root, 'unreadable');
  it('does not keep the rest from the auditor, and is said: 2, and 1 where the row was changed', async () => {
    const writer = new pg.Client(database.writerUrl);
    await writer.connect();
    const batch = stream.batch([event('login_refused', { detail: { user: 'x', code: '28P01' } })]);
    await writer.query(appendCall('audit', batch));
    await writer.end();
    await database.query(
      `ALTER TABLE audit.entry DISABLE TRIGGER append_only; UPDATE audit.entry SET detail = '{user}' WHERE kind = 'login_refused'`,
    );
    const { code, stdout } = await evidence('--out', out, '--keys', keyFile);
    expect(code).toBe(1);
    expect(stdout).toContain('ALTERED: log/entries.jsonl line 5');
    expect(stdout).toContain(
      'not checked: views/refused_logins.csv: view: the database could not read this view',
    );
    expect(existsSync(join(out, 'views/refused_logins.csv'))).toBe(false);
    expect(existsSync(join(out, 'views/statements.csv'))).toBe(true);
    expect(readFileSync(join(out, 'README.md'), 'utf8')).toContain(
      'views/refused_logins.csv | could not be read |',
    );
  });
});
