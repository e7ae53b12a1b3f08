/** What an auditor would be alarmed by in an installation's log, asked in every way that there is. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { parseCheckpoint } from '../../src/audit/checkpoints/checkpoint.ts';
import { verifyEvidence } from '../../src/audit/evidence/verify-folder.ts';
import { evidenceViews } from '../../src/audit/evidence/views.ts';
import { writeEvidence } from '../../src/audit/evidence/write-folder.ts';
import { quoteName } from '../../src/audit/quote-name.ts';
import type { Jwks } from '../../src/audit/verify/trusted-keys.ts';
import { verifyLog } from '../../src/audit/verify/verify-database.ts';
import { cli } from '../cli/in-process.ts';

export type Audited = {
  /** The audit database, as the auditor. */
  readonly url: string;
  readonly schema?: string;
  /** What was published while the program ran. */
  readonly keys: Jwks;
  /** Asks in fewer ways: for a look in between. */
  readonly brief?: boolean;
};

export type Alarms = {
  /** What any of the ways found, in words; an honest log has none. */
  readonly alarms: readonly string[];
  /** Rows of the log, and checks that were made, so that nothing is no answer. */
  readonly rows: number;
  readonly checks: number;
  /** Kinds of gaps that are to be expected: processes that run, times without one, days that were dropped. */
  readonly gaps: readonly string[];
};

/** Gaps that say what is so, and accuse nobody. */
const PLAIN_GAPS = ['no_end', 'no_log', 'dropped'];

export async function alarmsIn({ url, schema = 'audit', keys, brief = false }: Audited): Promise<Alarms> {
  const alarms: string[] = [];
  const client = new pg.Client(url);
  await client.connect();
  const directory = mkdtempSync(join(tmpdir(), 'cs-honest-'));
  try {
    const log = quoteName(schema);
    const { rows: kept } = await client.query<{ note: string }>(
      `(SELECT note FROM ${log}.checkpoints ORDER BY size LIMIT 1)
       UNION (SELECT note FROM ${log}.checkpoints ORDER BY size DESC LIMIT 1)`,
    );
    const all = [undefined, ...kept.map(({ note }) => note)];
    const notes = brief ? all.slice(-1) : all;
    const sql = await bySql(client, log, keys, notes, brief);
    const views = await byViews(client, schema);
    const programs = await byPrograms({ url, schema, keys, brief }, notes, directory);
    alarms.push(...sql.alarms, ...views.alarms, ...programs.alarms);
    return { alarms, rows: programs.rows, checks: sql.checks, gaps: views.gaps };
  } finally {
    await client.end();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function bySql(
  client: pg.Client,
  log: string,
  keys: Jwks,
  notes: readonly (string | undefined)[],
  brief: boolean,
) {
  const alarms: string[] = [];
  let checks = 0;
  const { rows: edges } = await client.query<{ middle: string }>(
    `SELECT (min(at) + (max(at) - min(at)) / 2)::text AS middle FROM ${log}.entries`,
  );
  const middle = edges[0]?.middle ?? null;
  const ask = async (name: string, values: readonly unknown[]) => {
    const { rows } = await client.query(
      `SELECT stream, seq, "check", ok, detail
         FROM ${log}.verify($1, $2, checkpoint => $3, keys => $4, "full" => $5)`,
      [...values],
    );
    checks += rows.length;
    for (const row of rows.filter(({ ok }) => ok !== true))
      alarms.push(`verify (${name}): ${row.check} ${row.stream} ${row.seq}: ${row.detail}`);
  };
  // Every signature once, with all that an outsider has; the rest as it is asked day by day.
  for (const [i, note] of notes.entries())
    for (const given of [null, JSON.stringify(keys)])
      await ask(`checkpoint ${i}, keys ${given !== null}`, [null, null, note, given, false]);
  if (!brief) await ask('full', [null, null, notes.at(-1), JSON.stringify(keys), true]);
  await ask('the first half', [null, middle, null, JSON.stringify(keys), false]);
  await ask('the second half', [middle, null, null, null, false]);
  return { alarms, checks };
}

async function byViews(client: pg.Client, schema: string) {
  const alarms: string[] = [];
  const log = quoteName(schema);
  const { rows: empty } = await client.query<{ name: string }>(
    `SELECT c.relname AS name FROM pg_class c
      WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'v'
        AND obj_description(c.oid, 'pg_class') ~* 'must be empty' ORDER BY 1`,
    [log],
  );
  for (const { name } of empty) {
    const { rows } = await client.query(`SELECT * FROM ${log}.${quoteName(name)}`);
    for (const row of rows) alarms.push(`${name}: ${JSON.stringify(row)}`);
  }
  const { rows: gaps } = await client.query(`SELECT gap, stream, detail FROM ${log}.gaps`);
  for (const { gap, stream, detail } of gaps)
    if (!PLAIN_GAPS.includes(gap)) alarms.push(`gaps: ${gap} ${stream}: ${detail}`);
  const { rows: streams } = await client.query(
    `SELECT stream FROM ${log}.integrity WHERE complete IS NOT TRUE`,
  );
  for (const { stream } of streams) alarms.push(`integrity: ${stream} is not complete`);
  const { rows: approvals } = await client.query(
    `SELECT request_id, signature FROM ${log}.signed_approvals WHERE signature <> 'valid'`,
  );
  for (const { request_id, signature } of approvals)
    alarms.push(`signed_approvals: ${request_id}: ${signature}`);
  // Each can be read whole, whatever it says.
  const period = { from: new Date(0), to: new Date('2100-01-01T00:00:00Z') };
  for (const view of evidenceViews(schema, period)) await client.query(view.sql);
  return { alarms, gaps: [...new Set(gaps.map(({ gap }) => String(gap)))].sort(), views: empty.length };
}

async function byPrograms(
  { url, schema, keys, brief }: Required<Audited>,
  notes: readonly (string | undefined)[],
  directory: string,
) {
  const alarms: string[] = [];
  let rows = 0;
  for (const [i, note] of notes.entries())
    for (const given of [undefined, keys]) {
      const checkpoint = note === undefined ? undefined : (parseCheckpoint(note) ?? undefined);
      const result = await verifyLog({ url, schema, keys: given, checkpoint });
      rows = result.rows;
      for (const one of result.findings.filter(({ ok }) => ok !== true))
        alarms.push(
          `countersign verify (checkpoint ${i}): ${one.check} ${one.stream} ${one.seq}: ${one.detail}`,
        );
    }
  if (brief) return { alarms, rows };
  const file = join(directory, 'jwks.json');
  writeFileSync(file, JSON.stringify(keys));
  const { code, stdout } = await cli(['verify', '--url', url, '--schema', schema, '--keys', file]);
  if (code !== 0 || !/^whole: /m.test(stdout))
    alarms.push(`countersign verify ended with ${code}: ${stdout}`);
  const out = join(directory, 'evidence');
  const period = { from: new Date(0), to: new Date('2100-01-01T00:00:00Z') };
  await writeEvidence({ url, schema, period, out, keys, version: '1' });
  for (const given of [undefined, keys]) {
    const { whole, findings } = await verifyEvidence({ directory: out, keys: given });
    if (!whole) alarms.push(`verify --evidence: ${JSON.stringify(findings, bigints)}`);
  }
  return { alarms, rows };
}

function bigints(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
