import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { claimDataDirectory } from '../../src/embedded/claim.ts';
import { chooseDataDirectory, DataDirectoryError } from '../../src/embedded/data-directory.ts';
import { startEmbeddedPostgres } from '../../src/embedded/launcher.ts';
import { demoSecrets } from '../../src/embedded/secrets.ts';

const made: string[] = [];
const fresh = () => {
  const directory = mkdtempSync(join(tmpdir(), 'cs-data-'));
  chmodSync(directory, 0o755);
  made.push(directory);
  return directory;
};
afterAll(() => {
  for (const directory of made) rmSync(directory, { recursive: true, force: true });
});
const root = process.getuid?.() === 0;

describe('the data directory', () => {
  it('is .countersign below the working directory', () => {
    const cwd = fresh();
    expect(chooseDataDirectory(undefined, cwd)).toBe(join(cwd, '.countersign'));
    expect(existsSync(join(cwd, '.countersign'))).toBe(true);
  });

  it('is another one, always the same, where the server could not reach that or we could not write', () => {
    const cwd = join(fresh(), 'closed');
    // As root the server is another account, for whom 0700 is closed; otherwise we lack the right to write.
    mkdirSync(cwd, { mode: root ? 0o700 : 0o500 });
    const chosen = chooseDataDirectory(undefined, cwd);
    made.push(chosen);
    expect(chosen.startsWith(join(tmpdir(), `countersign-${process.getuid?.() ?? 0}-`))).toBe(true);
    expect(chooseDataDirectory(undefined, cwd)).toBe(chosen);
  });

  it('is the one that was asked for, or an error', () => {
    const cwd = fresh();
    expect(chooseDataDirectory('a/b', cwd)).toBe(join(cwd, 'a', 'b'));
    writeFileSync(join(cwd, 'file'), '');
    expect(() => chooseDataDirectory('file', cwd)).toThrow(DataDirectoryError);
    symlinkSync(tmpdir(), join(cwd, 'link'));
    expect(() => chooseDataDirectory('link', cwd)).toThrow(/not a directory/);
    if (root) {
      mkdirSync(join(cwd, 'private'), { mode: 0o700 });
      expect(() => chooseDataDirectory('private/data', cwd)).toThrow(/cannot be reached by the account/);
    }
  });
});

describe('its passwords', () => {
  it('are random, kept, and an error when damaged, because the cluster has them', () => {
    const one = fresh();
    const secrets = demoSecrets(one);
    expect(new Set(Object.values(secrets)).size).toBe(Object.keys(secrets).length);
    expect(demoSecrets(one)).toEqual(secrets);
    expect(demoSecrets(fresh())).not.toEqual(secrets);
    writeFileSync(join(one, 'secrets.json'), readFileSync(join(one, 'secrets.json'), 'utf8').slice(0, 50));
    expect(() => demoSecrets(one)).toThrow(/damaged/);
  });
});

describe('a claim on it', () => {
  it('is given back', async () => {
    const directory = fresh();
    const release = await claimDataDirectory(directory);
    expect(readFileSync(join(directory, 'demo.pid'), 'utf8')).toBe(`${process.pid}\n`);
    release();
    expect(existsSync(join(directory, 'demo.pid'))).toBe(false);
  });

  it('is refused while another process has it, and not after that has died', async () => {
    const directory = fresh();
    const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    writeFileSync(join(directory, 'demo.pid'), `${other.pid}\n`);
    await expect(claimDataDirectory(directory)).rejects.toThrow(`in use by process ${other.pid}`);
    const ended = new Promise((done) => other.once('exit', done));
    other.kill('SIGKILL');
    await ended;
    (await claimDataDirectory(directory))();
  });

  it('stops a server that was left behind', async () => {
    const directory = fresh();
    const server = await startEmbeddedPostgres({ directory, password: 'x', settings: { fsync: 'off' } });
    // As after a kill -9 of the process that started it.
    writeFileSync(join(directory, 'demo.pid'), '999999999\n');
    const release = await claimDataDirectory(directory);
    await server.exited;
    release();
    const again = await startEmbeddedPostgres({ directory, password: 'x', settings: { fsync: 'off' } });
    await again.stop();
  });
});
