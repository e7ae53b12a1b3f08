/**
 * What the audit log costs: rows a second on the real way in (journal, shipping thread, `append`, signatures, with
 * checkpoints), and how long a log of that size takes to verify: `countersign verify` with every signature, SQL's
 * `verify()` with a sample of them, and with `full`. Figures are printed with the machine's load beside them; nothing is
 * asserted, machines differ.
 *
 *   npm run bench:audit [-- --rows 1000000 --rounds 1 --directory DIR]
 *
 * With `--directory` the cluster stays there, and its log is verified again without being filled again.
 */
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { pino } from 'pino';
import { startCheckpoints } from '../../src/audit/checkpoints/checkpointer.ts';
import { openAuditLog } from '../../src/audit/log/log.ts';
import { migrateAudit } from '../../src/audit/migrate.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded/launcher.ts';
import { intent, makeSigner, outcome } from '../audit/support.ts';

const { values: options } = parseArgs({
  options: {
    rows: { type: 'string', default: '1000000' },
    rounds: { type: 'string', default: '1' },
    directory: { type: 'string' },
  },
});
const DATABASE = 'large';
const PASSWORD = 'bench-password';
const OWNER = 'bench_owner';
const WRITER = 'bench_writer';
const AUDITOR = 'bench_auditor';
const LIMITS = { journalBytes: 1024 * 1024 * 1024, journalSyncMs: 200 };
/** Rows that wait in the journal before the next ones are made. */
const MOST_WAITING = 100_000;
const CHECKPOINT_MS = 5_000;
/** Problems are told; the rest is not for a benchmark. */
const LOG = pino({ level: 'warn' });

async function main(): Promise<void> {
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'cs-bench-audit-'));
  mkdirSync(directory, { recursive: true });
  chmodSync(directory, 0o755);
  const server = await startEmbeddedPostgres({
    directory,
    password: PASSWORD,
    settings: { shared_buffers: '256MB', max_wal_size: '4GB' },
  });
  try {
    await logOf(server, directory, Number(options.rows));
    for (let round = 0; round < Number(options.rounds); round += 1) {
      await verifyByProgram(server, directory);
      await verifyInSql(server, directory, false);
      await verifyInSql(server, directory, true);
    }
  } finally {
    await server.stop();
    if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
  }
}

/** A database with a log of so many rows, filled now where it is not there yet. */
async function logOf(server: EmbeddedPostgres, directory: string, rows: number): Promise<void> {
  const keys = keysFile(directory);
  if (existsSync(keys)) return;
  const admin = new pg.Client({ connectionString: urlOf(server, 'postgres', 'postgres') });
  await admin.connect();
  await admin.query(`CREATE DATABASE ${DATABASE}`);
  await admin.end();
  await migrateAudit({
    admin: urlOf(server, 'postgres', DATABASE),
    schema: 'audit',
    roles: {
      owner: OWNER,
      writer: { name: WRITER, password: PASSWORD },
      auditor: { name: AUDITOR, password: PASSWORD },
    },
  });
  const jwk = await fill(server, join(directory, 'journal'), rows);
  writeFileSync(keys, JSON.stringify({ keys: [jwk] }));
}

/** The real way in. Returns the public key that the log is verified with. */
async function fill(
  server: EmbeddedPostgres,
  journal: string,
  rows: number,
): Promise<Readonly<Record<string, unknown>>> {
  const signer = makeSigner();
  const target = { url: urlOf(server, WRITER, DATABASE), schema: 'audit' };
  const log = await openAuditLog({ ...target, directory: journal, limits: LIMITS, log: LOG, signer });
  const checkpoints = await startCheckpoints({
    ...target,
    origin: 'bench.example.com/countersign',
    signer: () => signer,
    publicKeys: () => [{ x: String(signer.publicJwk['x']) }],
    everyMs: CHECKPOINT_MS,
    anchors: [],
    log: LOG,
  });
  const cpu = process.cpuUsage();
  const start = performance.now();
  let last = 0n;
  for (let no = 1; no <= rows / 2; no += 1) {
    log.append(intent(no, { sql: `SELECT abalance FROM pgbench_accounts WHERE aid = ${no}` }));
    last = log.append(outcome(no));
    if (no % 6 === 0) log.write();
    if (no % 600 === 0) await roomIn(log);
  }
  log.write();
  while (log.stats().lagEntries > 0) await pause(20);
  await log.committed(last);
  const ms = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  const perRow = ((user + system) / rows).toFixed(1);
  report(`append, ${rows} rows`, ms, `${rate(rows, ms)} rows/s, ${perRow} µs CPU a row of ours`);
  await log.close();
  await checkpoints.close();
  const admin = new pg.Client({ connectionString: urlOf(server, 'postgres', DATABASE) });
  await admin.connect();
  const { rows: sizes } = await admin.query(
    'SELECT count(*) AS made, max(size) AS size FROM audit.checkpoints',
  );
  print(`  ${sizes[0].made} checkpoints, the last of ${sizes[0].size} batches`);
  await admin.query('VACUUM ANALYZE');
  await admin.end();
  return signer.publicJwk;
}

async function roomIn(log: { readonly stats: () => { readonly lagEntries: number } }): Promise<void> {
  await new Promise((done) => setImmediate(done));
  while (log.stats().lagEntries > MOST_WAITING) await pause(5);
}

async function verifyByProgram(server: EmbeddedPostgres, directory: string): Promise<void> {
  const main = new URL('../../dist/main.js', import.meta.url).pathname;
  const args = ['verify', '--url', urlOf(server, AUDITOR, DATABASE), '--keys', keysFile(directory)];
  const start = performance.now();
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += String(chunk);
  });
  await new Promise((done) => child.once('close', done));
  report('countersign verify, every signature', performance.now() - start, text.trim());
}

async function verifyInSql(server: EmbeddedPostgres, directory: string, full: boolean): Promise<void> {
  const client = new pg.Client({ connectionString: urlOf(server, AUDITOR, DATABASE) });
  await client.connect();
  const keys = readFileSync(keysFile(directory), 'utf8');
  const start = performance.now();
  const { rows } = await client.query<{ seq: string | null; check: string; ok: boolean; detail: string }>(
    'SELECT seq, "check", ok, detail FROM audit.verify(keys => $1, "full" => $2)',
    [keys, full],
  );
  const what = full ? 'audit.verify(full => true)' : 'audit.verify()';
  const ms = performance.now() - start;
  const bad = rows.filter(({ ok }) => !ok);
  report(what, ms, bad.length === 0 ? 'whole' : `NOT WHOLE: ${JSON.stringify(bad[0])}`);
  for (const { check, detail, seq } of rows) if (seq === null) print(`  ${check}: ${detail}`);
  await client.end();
}

function urlOf({ port }: EmbeddedPostgres, role: string, database: string): string {
  return `postgres://${role}:${PASSWORD}@127.0.0.1:${port}/${database}`;
}

function keysFile(directory: string): string {
  return join(directory, 'jwks.json');
}

function report(what: string, ms: number, result: string): void {
  const load = loadavg()[0]?.toFixed(1);
  print(`${what}: ${(ms / 1000).toFixed(1)} s; ${result} (load ${load})`);
}

function rate(rows: number, ms: number): number {
  return Math.round((rows / ms) * 1000);
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

await main();
