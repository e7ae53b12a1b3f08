import pg from 'pg';
import { batchBytes, type CheckSignature } from '../chain/chain.ts';
import { leafHash } from '../chain/tree.ts';
import type { SignedCheckpoint } from '../checkpoints/checkpoint.ts';
import { quoteName } from '../quote-name.ts';
import { COPIED_SQL, CopiedRows } from './copied-rows.ts';
import { copyOut } from './copy-out.ts';
import { emptyColumns, NOTHING_ELSE_CHECKED } from './empty-columns.ts';
import type { Finding } from './finding.ts';
import { type Gone, isDroppedEnd, type UpkeepRow } from './gone.ts';
import { goneIn } from './gone-rows.ts';
import type { BroughtKey } from './key-check.ts';
import { checkRegisteredKeys, MICROSECONDS } from './registered-keys.ts';
import { checkDigests, type RequestDigest } from './request-digests.ts';
import { requestFindings } from './request-states.ts';
import { type Jwk, type Jwks, noteKeys, trustIn } from './trusted-keys.ts';
import { type NamedEnd, type StoredBatch, type StoredStream, StreamVerifier } from './verify.ts';
import { TreeVerifier } from './verify-tree.ts';

export type VerifyOptions = {
  /** The audit database, as a role that may read the views (the auditor's). */
  readonly url: string;
  readonly schema: string;
  /** The installation's public keys. Left out: those in the log, which whoever owns the database may have put there. */
  readonly keys?: Jwks | undefined;
  /** A checkpoint of the log that was kept elsewhere; everything that it covers must still be there. */
  readonly checkpoint?: SignedCheckpoint | undefined;
};

export type VerifyResult = {
  /** What was found, and a summary for each stream. */
  readonly findings: readonly Finding[];
  /** Every check was made and nothing was found. */
  readonly whole: boolean;
  /** Something was altered. */
  readonly altered: boolean;
  readonly keysFromLog: boolean;
  readonly rows: number;
  readonly streams: number;
};

/**
 * Recomputes every hash and checks every signature, with public keys only, over one snapshot of the database. Memory
 * stays flat: rows are read a page at a time. Rejects when the database cannot be read.
 */
export async function verifyLog(options: VerifyOptions): Promise<VerifyResult> {
  const client = new pg.Client({ connectionString: options.url, application_name: 'countersign verify' });
  await client.connect();
  try {
    await client.query('BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const result = await verifySnapshot(client, options.schema, options.keys, options.checkpoint);
    return result.streams === 0 ? { ...result, findings: [...result.findings, EMPTY], whole: false } : result;
  } finally {
    await client.end();
  }
}

/** The same in the transaction that the caller has open, whose settings it pins. */
export async function verifySnapshot(
  client: pg.ClientBase,
  schemaName: string,
  given: Jwks | undefined,
  kept?: SignedCheckpoint | undefined,
): Promise<VerifyResult> {
  await client.query(SETTINGS);
  const schema = quoteName(schemaName);
  const keysFromLog = given === undefined;
  const empty = await emptyColumns(client, schema);
  if (empty.length > 0) {
    const found = [...empty, NOTHING_ELSE_CHECKED];
    return { findings: found, whole: false, altered: true, keysFromLog, rows: 0, streams: 0 };
  }
  const findings: Finding[] = [];
  const streams = await readStreams(client, schema);
  const { keys, known, findings: untrusted } = trustIn(given ?? (await keysInLog(client, schema)), streams);
  findings.push(...untrusted);
  const gone = await goneIn(client, schema);
  const named: NamedEnd[] = [];
  const upkeep: UpkeepRow[] = [];
  const digests: RequestDigest[] = [];
  const brought: BroughtKey[] = [];
  let rows = 0;
  for (const { stored } of streams) {
    const verifier = new StreamVerifier(stored, keys, gone.of(stored.stream));
    rows += await feed(client, schema, stored.stream, verifier);
    verifier.end();
    findings.push(...verifier.findings);
    named.push(...verifier.namedEnds);
    upkeep.push(...verifier.upkeep);
    for (const digest of verifier.digests) digests.push(digest);
    brought.push(...verifier.broughtKeys);
  }
  findings.push(...(await gone.findings(upkeep)), ...checkDigests(digests));
  findings.push(...(await checkNamedEnds(client, schema, named, gone.of)), ...(await strays(client, schema)));
  findings.push(...(await checkRegisteredKeys(client, schema, brought)));
  findings.push(...(await requestFindings(client, schema)));
  findings.push(...(await checkTree(client, schema, kept ?? null, { jwks: known, trusted: keys.trusted })));
  return {
    findings,
    whole: findings.every(({ ok }) => ok === true),
    altered: findings.some(({ ok }) => ok === false),
    keysFromLog,
    rows,
    streams: streams.length,
  };
}

/**
 * Hands a stream's batches and rows to the verifier; returns the number of rows. A page of batches, then the rows up to
 * the last of them; the last page's batches are followed by all rows that are left.
 */
async function feed(
  client: pg.ClientBase,
  schema: string,
  stream: string,
  verifier: StreamVerifier,
): Promise<number> {
  let batchesAfter = String(MIN_BIGINT);
  let count = 0;
  // Also what should not be there: rows before the first.
  for (let after = MIN_BIGINT, last = false; !last; ) {
    const { rows: batches } = await client.query<BatchRow>({
      name: 'batches',
      text: `SELECT stream, from_seq, to_seq, prev_hash, hash, kid, signature FROM ${schema}.batches
              WHERE stream = $1 AND from_seq > $2 ORDER BY from_seq LIMIT ${PAGE_BATCHES}`,
      values: [stream, batchesAfter],
    });
    for (const batch of batches) verifier.batch(batchFrom(batch));
    batchesAfter = batches.at(-1)?.from_seq ?? batchesAfter;
    last = batches.length < PAGE_BATCHES;
    const until = last ? MAX_BIGINT : BigInt(batches.at(-1)?.to_seq ?? MAX_BIGINT);
    if (until <= after) continue;
    const rows = new CopiedRows(verifier);
    await copyOut(
      client,
      `COPY (SELECT ${COPIED_SQL} FROM ${schema}.entries
              WHERE stream = ${client.escapeLiteral(stream)} AND seq > ${after} AND seq <= ${until}
              ORDER BY seq, at) TO STDOUT (FORMAT binary)`,
      (chunk) => rows.take(chunk),
    );
    rows.end();
    count += rows.count;
    after = until;
  }
  return count;
}

/** The ends that streams name for the streams before them. */
async function checkNamedEnds(
  client: pg.ClientBase,
  schema: string,
  named: readonly NamedEnd[],
  gone: (stream: string) => Gone,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { by, stream, seq, hash } of named) {
    const { rows } = await client.query<{ hash: Buffer }>(
      `SELECT hash FROM ${schema}.entries WHERE stream = $1 AND seq = $2`,
      [stream, String(seq)],
    );
    const found = rows[0]?.hash.toString('hex');
    if (found === hash || (found === undefined && isDroppedEnd(gone(stream), seq, hash))) continue;
    const detail =
      found === undefined
        ? `the row is missing: stream ${by} names it as the end of the one before`
        : `not the row that stream ${by} names as the end of the one before`;
    findings.push({ stream, seq, check: 'head', ok: false, detail });
  }
  return findings;
}

async function strays(client: pg.ClientBase, schema: string): Promise<Finding[]> {
  const { rows } = await client.query<{ stream: string; seq: string }>(
    `SELECT e.stream, min(e.seq) AS seq FROM ${schema}.entries e
      WHERE NOT EXISTS (SELECT FROM ${schema}.streams s WHERE s.stream = e.stream) GROUP BY e.stream`,
  );
  const detail = 'rows of a stream that is not registered';
  return rows.map(({ stream, seq }) => ({ stream, seq: BigInt(seq), check: 'head', ok: false, detail }));
}

/** The tree of batches against the checkpoints, in pages. */
async function checkTree(
  client: pg.ClientBase,
  schema: string,
  kept: SignedCheckpoint | null,
  { jwks, trusted }: { readonly jwks: readonly Jwk[]; readonly trusted: CheckSignature },
): Promise<readonly Finding[]> {
  const { rows: stored } = await client.query<{ size: string; root: Buffer; note: string }>(
    `SELECT size, root, note FROM ${schema}.checkpoints ORDER BY size`,
  );
  const keys = noteKeys(jwks);
  const checkpoints = stored.map((row) => ({ ...row, size: BigInt(row.size) }));
  const verifier = new TreeVerifier(checkpoints, kept, keys, trusted);
  for (let after = '-1'; ; ) {
    const { rows } = await client.query<BatchRow & LeafRow>({
      name: 'leaves',
      text: `SELECT l.index, l.stream AS leaf_stream, l.from_seq AS leaf_from, l.hash AS leaf_hash,
                    b.stream, b.from_seq, b.to_seq, b.prev_hash, b.hash, b.kid, b.signature
               FROM ${schema}.leaves l
               LEFT JOIN ${schema}.batches b ON b.stream = l.stream AND b.from_seq = l.from_seq
              WHERE l.index > $1 ORDER BY l.index LIMIT ${PAGE_ROWS}`,
      values: [after],
    });
    for (const row of rows)
      verifier.leaf({
        index: BigInt(row.index),
        stream: row.leaf_stream,
        fromSeq: BigInt(row.leaf_from),
        hash: row.leaf_hash,
        computed: row.hash === null ? null : leafHash(batchBytes(batchFrom(row))),
      });
    const last = rows.at(-1);
    if (last === undefined) break;
    after = last.index;
  }
  verifier.end();
  return verifier.findings;
}

/** Of a database in which nobody has written, or from which somebody took everything. */
const EMPTY: Finding = {
  stream: null,
  seq: null,
  check: 'head',
  ok: null,
  detail: 'there is no stream in this log: is it the right database?',
};

type LeafRow = {
  readonly index: string;
  readonly leaf_stream: string;
  readonly leaf_from: string;
  readonly leaf_hash: Buffer;
};

async function readStreams(
  client: pg.ClientBase,
  schema: string,
): Promise<{ stored: StoredStream; jwk: Jwk; startedUs: bigint }[]> {
  const { rows } = await client.query<{
    stream: string;
    kid: string;
    public_jwk: Jwk;
    endorsed_by: string;
    endorsement: Buffer;
    started_us: string;
    facts: unknown;
    head_seq: string;
    head_hash: Buffer;
  }>(
    `SELECT stream, kid, public_jwk, endorsed_by, endorsement, facts,
            ${MICROSECONDS('started_at')} AS started_us, head_seq, head_hash FROM ${schema}.streams ORDER BY stream`,
  );
  return rows.map((row) => ({
    jwk: row.public_jwk,
    startedUs: BigInt(row.started_us),
    stored: {
      stream: row.stream,
      kid: row.kid,
      endorsedBy: row.endorsed_by,
      endorsement: row.endorsement,
      headSeq: BigInt(row.head_seq),
      headHash: row.head_hash,
      registered: { publicJwk: row.public_jwk, facts: row.facts, startedAt: BigInt(row.started_us) },
    },
  }));
}

export async function keysInLog(client: pg.ClientBase, schema: string): Promise<Jwks> {
  // By name, where there is one: a log of before revocations is read, too.
  const { rows } = await client.query<{ public_jwk: Jwk; revoked: string | null }>(
    `SELECT public_jwk, to_jsonb(k) ->> 'revoked_at' AS revoked FROM ${schema}.signing_keys k`,
  );
  return {
    keys: rows.filter(({ revoked }) => revoked === null).map((row) => row.public_jwk),
    revoked: rows
      .filter(({ revoked }) => revoked !== null)
      .map((row) => ({
        ...row.public_jwk,
        revoked: { revoked_at: Math.floor(Date.parse(row.revoked ?? '') / 1000) },
      })),
  };
}

type BatchRow = {
  readonly stream: string;
  readonly from_seq: string;
  readonly to_seq: string;
  readonly prev_hash: Buffer;
  readonly hash: Buffer;
  readonly kid: string;
  readonly signature: Buffer;
};

function batchFrom(row: BatchRow): StoredBatch {
  return {
    stream: row.stream,
    fromSeq: BigInt(row.from_seq),
    toSeq: BigInt(row.to_seq),
    prevHash: row.prev_hash,
    hash: row.hash,
    kid: row.kid,
    signature: row.signature,
  };
}

/** What a role or a database may have set, and must have no say. A policy that would hide rows is an error. */
const SETTINGS = `SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL row_security = off;
  SET LOCAL standard_conforming_strings = on; SET LOCAL bytea_output = 'hex'; SET LOCAL "TimeZone" = 'UTC';
  SET LOCAL "DateStyle" = 'ISO, MDY'; SET LOCAL "IntervalStyle" = 'postgres'; SET LOCAL extra_float_digits = 1`;
const PAGE_ROWS = 5_000;
const PAGE_BATCHES = 500;
const MAX_BIGINT = 2n ** 63n - 1n;
const MIN_BIGINT = -(2n ** 63n);
