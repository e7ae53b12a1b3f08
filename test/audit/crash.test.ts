import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { readdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openAuditLog } from '../../src/audit/log/log.ts';
import { verifyLog } from '../../src/audit/verify/verify-database.ts';
import {
  type AuditDatabase,
  createAuditDatabase,
  intent,
  outcome,
  QUIET,
  signerFromPem,
  temporaryDirectory,
  until,
} from './support.ts';

let database: AuditDatabase;
const root = temporaryDirectory();
const pair = generateKeyPairSync('ed25519');
const jwk = { ...pair.publicKey.export({ format: 'jwk' }) };
const pem = String(pair.privateKey.export({ type: 'pkcs8', format: 'pem' }));
const signer = signerFromPem(pem, jwk);

beforeAll(async () => {
  database = await createAuditDatabase();
});
afterAll(async () => {
  await database.dropAll();
  rmSync(root, { recursive: true, force: true });
});

function open(directory: string, url = database.writerUrl) {
  const limits = { journalBytes: 64 * 1024 * 1024, journalSyncMs: 50 };
  return openAuditLog({ directory, url, schema: 'audit', limits, log: QUIET, signer });
}

const whole = () => verifyLog({ url: database.auditorUrl, schema: 'audit', keys: { keys: [jwk] } });

/**
 * Runs the child, at most so many bytes ahead of the database, until it has written so many entries, kills it, and says
 * which stream it wrote and up to which entry.
 */
async function killAfter(
  entries: number,
  url: string,
  aheadBytes: number,
): Promise<{ stream: string; written: number }> {
  const argument = JSON.stringify({ directory: root, url, pem, jwk, aheadBytes });
  const child: ChildProcess = spawn(
    process.execPath,
    ['--import', 'tsx', new URL('./crash-child.ts', import.meta.url).pathname, argument],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let output = '';
  const ended = new Promise((resolve) => child.once('close', resolve));
  child.stdout?.on('data', (data: Buffer) => {
    output += data.toString();
    if (Number(/written (\d+)\n$/.exec(output)?.[1] ?? 0) >= entries) child.kill('SIGKILL');
  });
  await ended;
  const written = [...output.matchAll(/written (\d+)\n/g)].map(([, n]) => Number(n));
  return { stream: /stream (\S+)/.exec(output)?.[1] ?? '', written: Math.max(...written) };
}

test.each([
  ['with the audit database there', 8_000, 1e6, () => database.writerUrl],
  ['with the audit database away', 4_000, 1e9, () => 'postgres://nobody:x@127.0.0.1:1/none'],
  ['before much was recorded', 10, 1e9, () => database.writerUrl],
])(
  'after kill -9 under load, %s, the next start ships what was written',
  async (_name, entries, ahead, url) => {
    const { stream, written } = await killAfter(entries, url(), ahead);
    expect(written).toBeGreaterThanOrEqual(entries);
    const log = await open(root);
    await log.recovered();
    const { rows } = await database.query(
      `SELECT max(seq)::int AS last, count(*)::int AS n, max(seq) FILTER (WHERE kind = 'log_recovered')::int AS recovered
       FROM audit.entry WHERE stream = $1`,
      [stream],
    );
    expect(rows[0].last).toBeGreaterThanOrEqual(written);
    expect(rows[0]).toMatchObject({ n: rows[0].last, recovered: rows[0].last });
    const outcomes = await database.query(
      `SELECT statement_no::int AS no, outcome FROM audit.statements WHERE stream = $1 AND outcome IS DISTINCT FROM 'executed' ORDER BY 1`,
      [stream],
    );
    // The long-running one, and at most the one that was written without its outcome.
    expect(outcomes.rows[0]).toEqual({ no: 1, outcome: 'unknown' });
    expect(outcomes.rows.length).toBeLessThanOrEqual(2);
    expect(outcomes.rows.every(({ outcome: is }) => is === 'unknown')).toBe(true);
    await log.close();
    expect(readdirSync(root).filter((name) => name.includes('-'))).toEqual([]);
    expect(await whole()).toMatchObject({ findings: [], whole: true });
  },
  60_000,
);

test('a stream that the database refuses stands in the way of none, and is recovered when they agree again', async () => {
  const refused = (await killAfter(200, database.writerUrl, 1e4)).stream;
  const setHead = (seq: string) =>
    database.query(
      `ALTER TABLE audit.stream DISABLE TRIGGER ALL;
       UPDATE audit.stream s SET head_seq = ${seq} WHERE stream = '${refused}';
       ALTER TABLE audit.stream ENABLE TRIGGER ALL`,
    );
  await setHead('s.head_seq + 1000');
  const fine = (await killAfter(200, database.writerUrl, 1e4)).stream;
  const ends = async () =>
    (
      await database.query(
        `SELECT DISTINCT stream FROM audit.entry WHERE kind = 'log_recovered' AND stream IN ('${refused}', '${fine}') ORDER BY stream`,
      )
    ).rows.map(({ stream }) => stream);
  const log = await open(root);
  await log.recovered();
  expect(await ends()).toEqual([fine]);
  expect(readdirSync(root)).toContain(refused);
  await setHead('s.head_seq - 1000');
  await log.recovered();
  expect(await ends()).toEqual([refused, fine].sort());
  await log.close();
  expect(readdirSync(root).filter((name) => name.includes('-'))).toEqual([]);
  expect(await whole()).toMatchObject({ findings: [], whole: true });
}, 120_000);

/** A TCP relay that can be cut and mended. */
async function relayTo(port: number) {
  const sockets = new Set<Socket>();
  let cut = false;
  const server: Server = createServer((client) => {
    if (cut) return void client.destroy();
    const upstream = connect(port, '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
    }
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    cut: () => {
      cut = true;
      for (const socket of sockets) socket.destroy();
    },
    mend: () => {
      cut = false;
    },
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

test('the audit database goes away in the middle and comes back: nothing is lost, nothing is there twice', async () => {
  const direct = new URL(database.writerUrl);
  const relay = await relayTo(Number(direct.port));
  const url = new URL(database.writerUrl);
  url.port = String(relay.port);
  const log = await open(root, url.toString());
  let no = 0;
  const load = () => {
    for (let i = 0; i < 100; i += 1) {
      log.append(intent(++no));
      log.append(outcome(no));
    }
    log.write();
  };
  for (let round = 0; round < 5; round += 1) {
    load();
    await new Promise((resolve) => setTimeout(resolve, 15));
    relay.cut();
    load();
    await until(() => log.stats().awayMs > 0);
    expect(log.stats().lagEntries).toBeGreaterThan(0);
    relay.mend();
    load();
    await log.committed(BigInt(no * 2 + 2));
    expect(log.healthy()).toBe(true);
  }
  relay.cut();
  const late = log.append(intent(++no));
  await until(() => log.stats().awayMs > 0);
  relay.mend();
  await log.committed(late);
  await log.close();
  await relay.close();
  const { rows } = await database.query(`SELECT count(*)::int AS n FROM audit.statements WHERE stream = $1`, [
    log.stream,
  ]);
  expect(rows).toEqual([{ n: no }]);
  expect(await whole()).toMatchObject({ findings: [], whole: true });
}, 60_000);
