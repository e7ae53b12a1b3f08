import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { EmbeddedPostgresUnavailable, nativeDirectory } from './binaries.ts';

export type EmbeddedPostgres = {
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly superuser: 'postgres';
  readonly password: string;
  /** Directory of the Unix socket; null on Windows. */
  readonly socketDirectory: string | null;
  /** Process id of the postmaster. */
  readonly pid: number;
  /** Resolves when the server process ends, whatever the reason. */
  readonly exited: Promise<void>;
  /** Fast shutdown (SIGINT); resolves when the server process is gone. */
  readonly stop: () => Promise<void>;
};

export type EmbeddedOptions = {
  /** Cluster, binaries and log are kept below it; made if missing. Must be reachable by the server's user. */
  readonly directory: string;
  /** Superuser's password, used by initdb of a new cluster; a cluster that exists keeps its own. */
  readonly password: string;
  /** Lines for postgresql.conf's command line, e.g. `{ fsync: 'off' }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Another major's binaries (a directory with bin, lib, share); default: the package for this platform. */
  readonly native?: string;
  /** Hears what the server logs, as it comes; default: nobody. */
  readonly heard?: (text: string) => void;
};

/** Who runs the server: Postgres refuses root, so as root another account is used. */
type ServerUser = { readonly uid: number; readonly gid: number } | null;

/** How long a start may take on a slow machine, milliseconds. */
const START_MS = 60_000;

/**
 * Starts a real Postgres on a free loopback port, with SCRAM for every connection. A new cluster is made (initdb)
 * where the directory has none. Throws `EmbeddedPostgresUnavailable` with the server's own words when it cannot.
 */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const user = serverUser();
  const root = resolve(options.directory);
  mkdirSync(root, { recursive: true, mode: 0o755 });
  const native = usableBinaries(options.native ?? nativeDirectory(), root, user);
  const data = join(root, 'pgdata');
  if (!existsSync(join(data, 'PG_VERSION'))) initialise(native, data, options.password, user);
  removeStalePidFile(data);

  const port = await freePort();
  const socketDirectory = process.platform === 'win32' ? null : shortSocketDirectory(root, user);
  const settings: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: socketDirectory ?? '',
    ...options.settings,
  };
  const args = [
    '-D',
    data,
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ];
  const child = spawn(join(native, 'bin', 'postgres'), args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    cwd: root,
    env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
    // Its own process group: a Ctrl-C in the terminal reaches us, and we stop the server in order.
    detached: process.platform !== 'win32',
    ...(user ?? {}),
  });
  const { heard } = options;
  if (heard !== undefined) child.stderr?.on('data', (chunk: Buffer) => heard(chunk.toString()));
  const exited = new Promise<void>((done) => child.once('exit', () => done()));
  await ready(child, exited);
  return {
    host: '127.0.0.1',
    port,
    superuser: 'postgres',
    password: options.password,
    socketDirectory,
    pid: child.pid ?? 0,
    exited,
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGINT');
      await exited;
      if (socketDirectory !== null) rmSync(socketDirectory, { recursive: true, force: true });
    },
  };
}

/** True where the server's user can enter every directory of the path (as root it is another account). */
export function reachableByServer(path: string): boolean {
  if (serverUser() === null) return true;
  for (let at = resolve(path); ; at = dirname(at)) {
    if (existsSync(at) && (statSync(at).mode & 0o001) === 0) return false;
    if (dirname(at) === at) return true;
  }
}

function serverUser(): ServerUser {
  if (process.getuid?.() !== 0) return null;
  const accounts = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  const found =
    accounts.find(([name]) => name === 'postgres') ?? accounts.find(([name]) => name === 'nobody');
  return { uid: Number(found?.[2] ?? 65534), gid: Number(found?.[3] ?? 65534) };
}

/** The package's own directory where it can be used as it is; otherwise a copy below `root`, once per version. */
function usableBinaries(native: string, root: string, user: ServerUser): string {
  const links: { source: string; target: string }[] = JSON.parse(
    readFileSync(join(native, 'pg-symlinks.json'), 'utf8'),
  );
  const inPlace = (path: string) => join(native, '..', path);
  if (reachableByServer(native) && links.every(({ target }) => existsSync(inPlace(target)))) return native;

  const version = JSON.parse(readFileSync(join(native, '..', 'package.json'), 'utf8')).version as string;
  const copy = join(root, `postgres-${version}`, 'native');
  if (existsSync(join(copy, '.complete'))) return copy;
  rmSync(dirname(copy), { recursive: true, force: true });
  cpSync(native, copy, { recursive: true, verbatimSymlinks: true });
  for (const { source, target } of links) {
    const link = join(copy, '..', target);
    rmSync(link, { force: true });
    symlinkSync(basename(source), link);
  }
  for (const program of readdirSync(join(copy, 'bin'))) chmodSync(join(copy, 'bin', program), 0o755);
  writeFileSync(join(copy, '.complete'), '');
  if (user !== null) execFileSync('chmod', ['-R', 'a+rX', dirname(copy)]);
  return copy;
}

function initialise(native: string, data: string, password: string, user: ServerUser): void {
  mkdirSync(data, { recursive: true, mode: 0o700 });
  const passwordFile = join(dirname(data), `.pw-${process.pid}`);
  try {
    writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
    if (user !== null) {
      chownSync(data, user.uid, user.gid);
      chownSync(passwordFile, user.uid, user.gid);
    }
    execFileSync(
      join(native, 'bin', 'initdb'),
      [
        '-D',
        data,
        '-U',
        'postgres',
        '--auth=scram-sha-256',
        `--pwfile=${passwordFile}`,
        '-E',
        'UTF8',
        '--locale=C',
      ],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
        cwd: dirname(data),
        env: { ...process.env, LC_ALL: 'C' },
        ...(user ?? {}),
      },
    );
  } catch (error) {
    rmSync(data, { recursive: true, force: true });
    const said = (error as { stderr?: Buffer }).stderr?.toString().trim();
    throw new EmbeddedPostgresUnavailable(`initdb failed: ${said || (error as Error).message}`);
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

/** A pid file left by a machine that died would name a process that is now another one. */
function removeStalePidFile(data: string): void {
  const file = join(data, 'postmaster.pid');
  if (!existsSync(file)) return;
  const pid = Number(readFileSync(file, 'utf8').split('\n')[0]);
  try {
    process.kill(pid, 0);
  } catch {
    rmSync(file, { force: true });
  }
}

/** Unix socket paths are limited to about 100 bytes, so not below a deep checkout. */
function shortSocketDirectory(root: string, user: ServerUser): string {
  const inRoot = join(root, 'socket');
  const directory =
    inRoot.length < 80 ? inRoot : join(tmpdir(), `countersign-${process.pid}-${Date.now().toString(36)}`);
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  if (user !== null) chownSync(directory, user.uid, user.gid);
  return directory;
}

function freePort(): Promise<number> {
  return new Promise((done, failed) => {
    const server = createServer().once('error', failed);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        address !== null && typeof address === 'object' ? done(address.port) : failed(new Error('no port')),
      );
    });
  });
}

async function ready(child: ChildProcess, exited: Promise<void>): Promise<void> {
  let said = '';
  const timeout = setTimeout(() => child.kill('SIGKILL'), START_MS);
  const up = new Promise<true>((done) => {
    child.stderr?.on('data', (chunk: Buffer) => {
      if (said.length < 10_000) said += chunk.toString();
      if (said.includes('ready to accept connections')) done(true);
    });
  });
  const failed = new Promise<Error>((done) => child.once('error', done));
  const result = await Promise.race([up, failed, exited.then(() => null)]);
  clearTimeout(timeout);
  if (result !== true)
    throw new EmbeddedPostgresUnavailable(
      `postgres did not start: ${result?.message ?? said.trim().slice(-2000)}`,
    );
}
