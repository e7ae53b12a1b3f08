import { type Content, columnsOf, type Row, SCHEMA_VERSION } from '../chain/canonical.ts';
import { type BatchFacts, batchBytes, rowHash } from '../chain/chain.ts';
import type { EntryRow } from './row.ts';

/** Where a stream ends: its last row's number and hash. */
export type Head = { readonly seq: bigint; readonly hash: Buffer };

/** What signs batches: a stream's own key. */
export type BatchSigner = { readonly kid: string; readonly sign: (bytes: Uint8Array) => Buffer };

export type SignedBatch = {
  readonly facts: BatchFacts;
  readonly kid: string;
  readonly signature: Buffer;
  readonly rows: readonly EntryRow[];
  /** One for each row. */
  readonly hashes: readonly Buffer[];
};

/** Chains rows to a stream's head and signs them as one batch. The rows must be numbered from the head on. */
export function signBatch(
  head: Head,
  stream: string,
  rows: readonly EntryRow[],
  signer: BatchSigner,
): SignedBatch {
  const hashes: Buffer[] = [];
  let previous = head.hash;
  for (const { row } of rows) {
    previous = rowHash(previous, row);
    hashes.push(previous);
  }
  const facts: BatchFacts = {
    stream,
    fromSeq: head.seq + 1n,
    toSeq: head.seq + BigInt(rows.length),
    prevHash: head.hash,
    hash: previous,
  };
  return { facts, kid: signer.kid, signature: signer.sign(batchBytes(facts)), rows, hashes };
}

/** A call of `append` for a batch: text and values of a parameterised query. `schema` is quoted by the caller. */
export function appendCall(
  schema: string,
  batch: SignedBatch,
): { text: string; values: (string | Buffer | null)[] } {
  const { facts, rows } = batch;
  const values: (string | Buffer | null)[] = [
    facts.stream,
    String(facts.fromSeq),
    facts.prevHash,
    batch.kid,
    batch.signature,
    arrayOf(batch.hashes),
    String(SCHEMA_VERSION),
  ];
  for (const name of ROW_COLUMNS) values.push(columnArray(rows, (entry) => entry.row[name]));
  for (const name of CONTENT_COLUMNS)
    values.push(columnArray(rows, (entry) => entry.content?.[name] ?? null));
  return { text: appendText(schema), values };
}

/** A call that returns a stream's head (no row where there is no such stream) and locks it. */
export function headCall(schema: string, stream: string): { text: string; values: string[] } {
  return { text: `SELECT head_seq, head_hash FROM ${schema}.append($1)`, values: [stream] };
}

/** Parameters of `append` after the first seven, in its order: the hashed columns that differ from row to row. */
export const ROW_COLUMNS: readonly (keyof Row)[] = (columnsOf(SCHEMA_VERSION) ?? [])
  .map((column) => column.name)
  .filter((name) => name !== 'version' && name !== 'stream' && name !== 'seq');
export const CONTENT_COLUMNS: readonly (keyof Content)[] = ['salt', 'sql', 'sql_sha256', 'parameters'];
const PARAMETERS = 7 + ROW_COLUMNS.length + CONTENT_COLUMNS.length;

/** The text of a call of `append`. */
export function appendText(schema: string): string {
  const places = Array.from({ length: PARAMETERS }, (_, i) => `$${i + 1}`).join(', ');
  return `SELECT head_seq, head_hash FROM ${schema}.append(${places})`;
}

type Value = string | bigint | boolean | Buffer | readonly (string | null)[] | null;

/** Null where every row has null, which spares the server the work. */
function columnArray(rows: readonly EntryRow[], pick: (entry: EntryRow) => Value): string | null {
  let text = '{';
  let any = false;
  for (const entry of rows) {
    const value = pick(entry);
    if (text.length > 1) text += ',';
    if (value === null) text += 'NULL';
    else {
      any = true;
      text += element(value);
    }
  }
  return any ? `${text}}` : null;
}

/** A list in Postgres' array notation. */
export function arrayOf(values: readonly Value[]): string {
  return `{${values.map((value) => (value === null ? 'NULL' : element(value))).join(',')}}`;
}

/** An element in Postgres' array notation; a list becomes the text of an array. */
function element(value: Exclude<Value, null>): string {
  if (typeof value === 'string') return quoted(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'boolean') return value ? 't' : 'f';
  if (Buffer.isBuffer(value)) return `"\\\\x${value.toString('hex')}"`;
  return quoted(arrayOf(value as readonly (string | null)[]));
}

function quoted(text: string): string {
  return SPECIAL.test(text) ? `"${text.replace(/["\\]/g, '\\$&')}"` : `"${text}"`;
}
const SPECIAL = /["\\]/;
