/**
 * What the proxy costs: `pgbench -S` through it and directly, in turn, on one machine. Prints transactions a second as
 * a ratio to direct, and the proxy's own CPU a transaction, which repeats far better than either. PgBouncer is measured
 * beside it where it is installed. Needs pgbench (Debian: postgresql-contrib, or postgresql-15).
 *
 *   npm run bench [-- --seconds 5 --rounds 3 --scale 10]
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { formatPostgresUrl } from '../../src/config/postgres-url.ts';
import { makeScramVerifier } from '../../src/config/scram-verifier.ts';
import { startEmbeddedPostgres } from '../../src/embedded/launcher.ts';

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    scale: { type: 'string', default: '10' },
  },
});
const CASES = [
  { name: '1 client, simple', args: ['-c', '1', '-M', 'simple'] },
  { name: '1 client, prepared', args: ['-c', '1', '-M', 'prepared'] },
  { name: '8 clients, simple', args: ['-c', '8', '-M', 'simple'] },
  { name: '8 clients, prepared', args: ['-c', '8', '-M', 'prepared'] },
] as const;
const PASSWORD = 'bench-password';

type Target = { readonly name: string; readonly port: number; readonly pid: number | null };

async function main(): Promise<void> {
  if (spawnSync('pgbench', ['--version']).status !== 0) {
    process.stdout.write('pgbench is not installed (Debian: postgresql-contrib); nothing was measured.\n');
    return;
  }
  const directory = mkdtempSync(join(tmpdir(), 'cs-bench-'));
  chmodSync(directory, 0o755);
  const server = await startEmbeddedPostgres({
    directory,
    password: PASSWORD,
    settings: { shared_buffers: '256MB', max_connections: '100' },
  });
  const children: ChildProcess[] = [];
  try {
    await prepare(server.port);
    pgbench(server.port, ['-i', '-q', '-s', options.scale]);
    const targets: Target[] = [{ name: 'direct', port: server.port, pid: null }];
    const bouncer = await startPgBouncer(directory, server.port);
    if (bouncer !== null) {
      children.push(bouncer.child);
      targets.push({ name: 'PgBouncer', port: bouncer.port, pid: bouncer.child.pid ?? null });
    }
    const proxy = await startProxy(directory, server.port, server.socketDirectory);
    children.push(proxy.child);
    targets.push({ name: 'countersign', port: proxy.port, pid: proxy.child.pid ?? null });
    // The first seconds of a process are spent compiling it.
    for (const { args } of CASES)
      for (const { port } of targets) pgbench(port, ['-S', '-n', '-T', '2', ...args]);
    for (const one of CASES) report(one.name, measure(one.args, targets));
  } finally {
    for (const child of children) await stop(child);
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function prepare(port: number): Promise<void> {
  const admin = { host: '127.0.0.1', port, user: 'postgres', password: PASSWORD };
  const client = new pg.Client({ ...admin, database: 'postgres' });
  await client.connect();
  for (const role of ['bench', 'bench_writer'])
    await client.query(`CREATE ROLE ${role} LOGIN PASSWORD '${PASSWORD}'`);
  await client.query('CREATE DATABASE bench OWNER bench');
  await client.query('CREATE DATABASE audit');
  await client.end();
}

function pgbench(port: number, args: readonly string[]): string {
  return execFileSync('pgbench', ['-h', '127.0.0.1', '-p', String(port), '-U', 'bench', ...args, 'bench'], {
    env: { ...process.env, PGPASSWORD: PASSWORD },
    stdio: ['ignore', 'pipe', 'pipe'],
  }).toString();
}

type Figures = { readonly tps: number[]; readonly micros: number[] };

/** In turn, so that the machine's drift hits all alike. */
function measure(args: readonly string[], targets: readonly Target[]): Map<string, Figures> {
  const figures = new Map(targets.map(({ name }) => [name, { tps: [], micros: [] } as Figures]));
  for (let round = 0; round < Number(options.rounds); round++)
    for (const { name, port, pid } of targets) {
      const before = cpuMicros(pid);
      const out = pgbench(port, ['-S', '-n', '-T', options.seconds, ...args]);
      const spent = cpuMicros(pid) - before;
      const tps = Number(/tps = ([\d.]+)/.exec(out)?.[1]);
      const transactions = Number(/actually processed: (\d+)/.exec(out)?.[1]);
      figures.get(name)?.tps.push(tps);
      figures.get(name)?.micros.push(spent / transactions);
    }
  return figures;
}

/** User and system CPU of a process so far, microseconds (proc(5), /proc/pid/stat fields 14 and 15, 10 ms ticks). */
function cpuMicros(pid: number | null): number {
  const file = `/proc/${pid}/stat`;
  if (pid === null || !existsSync(file)) return 0;
  const fields = readFileSync(file, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

function report(name: string, figures: Map<string, Figures>): void {
  const direct = median(figures.get('direct')?.tps ?? []);
  process.stdout.write(`${name}\n`);
  for (const [target, { tps, micros }] of figures) {
    const ratio = median(tps) / direct;
    const cpu = target === 'direct' ? '' : `, ${median(micros).toFixed(1)} µs CPU a transaction`;
    process.stdout.write(
      `  ${target.padEnd(12)} ${median(tps).toFixed(0).padStart(7)} tps, ${ratio.toFixed(2)} of direct${cpu}\n`,
    );
  }
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

async function startProxy(
  directory: string,
  upstream: number,
  socket: string | null,
): Promise<{ child: ChildProcess; port: number }> {
  const port = await freePort();
  const url = (user: string, database: string) =>
    formatPostgresUrl({
      host: socket ?? '127.0.0.1',
      port: upstream,
      user,
      password: null,
      database,
      sslmode: 'disable',
      sslrootcert: null,
    });
  const secret = { env: 'BENCH_PASSWORD' };
  const config = {
    version: 1,
    listen: { address: `127.0.0.1:${port}` },
    http: { address: `127.0.0.1:${await freePort()}` },
    upstream: { url: url('bench', 'bench'), password: secret },
    audit: {
      url: url('bench_writer', 'audit'),
      password: secret,
      adminUrl: url('postgres', 'audit'),
      adminPassword: secret,
    },
    agents: [
      {
        name: 'bench',
        auth: { scram: makeScramVerifier(PASSWORD, randomBytes(16)) },
        owner: 'owner',
        upstream: { user: 'bench', password: secret },
      },
    ],
    people: [
      { id: 'owner', email: 'owner@example.com' },
      { id: 'approver', email: 'approver@example.com' },
    ],
    // Everything is counted, nothing is stopped.
    limits: { budgetRows: 1e12, budgetBytes: 1e15 },
    keys: { directory: join(directory, 'keys') },
    dataDirectory: join(directory, 'data'),
  };
  const file = join(directory, 'countersign.yaml');
  writeFileSync(file, JSON.stringify(config));
  const main = new URL('../../dist/main.js', import.meta.url).pathname;
  const flags = process.env['BENCH_NODE_FLAGS']?.split(' ') ?? [];
  const child = spawn(process.execPath, [...flags, main, 'serve', '--config', file], {
    env: { ...process.env, BENCH_PASSWORD: PASSWORD, COUNTERSIGN_LOG_LEVEL: 'warn' },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  await listening(port, child);
  return { child, port };
}

/** Session pooling, SCRAM, TCP upstream: the same work as far as it goes. */
async function startPgBouncer(
  directory: string,
  upstream: number,
): Promise<{ child: ChildProcess; port: number } | null> {
  if (spawnSync('pgbouncer', ['--version']).status !== 0) return null;
  const port = await freePort();
  const users = join(directory, 'users.txt');
  const file = join(directory, 'pgbouncer.ini');
  writeFileSync(users, `"bench" "${PASSWORD}"\n`, { mode: 0o644 });
  writeFileSync(
    file,
    `[databases]\nbench = host=127.0.0.1 port=${upstream}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = ${port}\nauth_type = scram-sha-256\nauth_file = ${users}\npool_mode = session\nunix_socket_dir =\n`,
    { mode: 0o644 },
  );
  const asRoot = process.getuid?.() === 0;
  const child = spawn('pgbouncer', ['-q', ...(asRoot ? ['-u', 'nobody'] : []), file], { stdio: 'ignore' });
  await listening(port, child);
  return { child, port };
}

async function listening(port: number, child: ChildProcess): Promise<void> {
  for (let i = 0; i < 200 && child.exitCode === null; i++) {
    if (
      spawnSync(
        'pgbench',
        ['-h', '127.0.0.1', '-p', String(port), '-U', 'bench', '-S', '-n', '-t', '1', 'bench'],
        { env: { ...process.env, PGPASSWORD: PASSWORD } },
      ).status === 0
    )
      return;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`nothing listens on port ${port}`);
}

function stop(child: ChildProcess): Promise<void> {
  return new Promise((done) => {
    if (child.exitCode !== null) return done();
    child.once('exit', () => done());
    child.kill('SIGTERM');
  });
}

function freePort(): Promise<number> {
  return new Promise((done, failed) => {
    const server = createServer().once('error', failed);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => done(address !== null && typeof address === 'object' ? address.port : 0));
    });
  });
}

await main();
