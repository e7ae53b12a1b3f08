import type { ByteWriter } from './bytes.ts';

/**
 * A row of `audit.entry`, by the names of its columns. This file alone fixes which columns are hashed, in which order
 * and in which form; `schema/002-canonical.sql` says the same in SQL, and a test holds the two together.
 */
export type Row = {
  readonly version: bigint;
  readonly stream: string;
  readonly seq: bigint;
  /** Microseconds since 1970 UTC. */
  readonly at: bigint;
  readonly kind: string;
  readonly session_id: string | null;
  readonly agent: string | null;
  readonly owner: string | null;
  readonly on_behalf_of: string | null;
  readonly run: string | null;
  readonly run_verified: boolean | null;
  readonly database: string | null;
  readonly role: string | null;
  readonly application_name: string | null;
  readonly client_address: string | null;
  readonly tls: boolean | null;
  readonly statement_no: bigint | null;
  /** The commitment to sql, sql_sha256 and parameters: those three can be erased, this stays. */
  readonly content: Buffer | null;
  readonly class: string | null;
  readonly decision: string | null;
  readonly rule: string | null;
  readonly reasons: readonly (string | null)[] | null;
  readonly relations: readonly (string | null)[] | null;
  readonly request_id: string | null;
  readonly policy_digest: string | null;
  readonly outcome: string | null;
  readonly tag: string | null;
  readonly rows: bigint | null;
  readonly bytes: bigint | null;
  readonly duration_us: bigint | null;
  readonly sqlstate: string | null;
  readonly people: readonly (string | null)[] | null;
  readonly receipt: string | null;
  /** Name, value, name, value … */
  readonly detail: readonly (string | null)[] | null;
};

/** What the commitment `content` covers. */
export type Content = {
  readonly salt: Buffer;
  readonly sql: string | null;
  readonly sql_sha256: Buffer | null;
  readonly parameters: readonly (string | null)[] | null;
};

export type ColumnType = 'integer' | 'boolean' | 'time' | 'text' | 'bytes' | 'texts';
export type Column = { readonly name: keyof Row; readonly type: ColumnType };

export const SCHEMA_VERSION = 1n;

/** The hashed columns of schema version 1, in order. Never changed: a new form is a new version. */
const VERSION_1: readonly Column[] = [
  { name: 'version', type: 'integer' },
  { name: 'stream', type: 'text' },
  { name: 'seq', type: 'integer' },
  { name: 'at', type: 'time' },
  { name: 'kind', type: 'text' },
  { name: 'session_id', type: 'text' },
  { name: 'agent', type: 'text' },
  { name: 'owner', type: 'text' },
  { name: 'on_behalf_of', type: 'text' },
  { name: 'run', type: 'text' },
  { name: 'run_verified', type: 'boolean' },
  { name: 'database', type: 'text' },
  { name: 'role', type: 'text' },
  { name: 'application_name', type: 'text' },
  { name: 'client_address', type: 'text' },
  { name: 'tls', type: 'boolean' },
  { name: 'statement_no', type: 'integer' },
  { name: 'content', type: 'bytes' },
  { name: 'class', type: 'text' },
  { name: 'decision', type: 'text' },
  { name: 'rule', type: 'text' },
  { name: 'reasons', type: 'texts' },
  { name: 'relations', type: 'texts' },
  { name: 'request_id', type: 'text' },
  { name: 'policy_digest', type: 'text' },
  { name: 'outcome', type: 'text' },
  { name: 'tag', type: 'text' },
  { name: 'rows', type: 'integer' },
  { name: 'bytes', type: 'integer' },
  { name: 'duration_us', type: 'integer' },
  { name: 'sqlstate', type: 'text' },
  { name: 'people', type: 'texts' },
  { name: 'receipt', type: 'text' },
  { name: 'detail', type: 'texts' },
];

/** The hashed columns of a schema version; null: a version that this program does not know. */
export function columnsOf(version: bigint): readonly Column[] | null {
  return version === SCHEMA_VERSION ? VERSION_1 : null;
}

/** Appends a row's canonical form. Booleans are the integers 0 and 1. Throws `RangeError` for an unknown version. */
export function writeRow(writer: ByteWriter, row: Row): void {
  const columns = columnsOf(row.version);
  if (columns === null) throw new RangeError(`schema version ${row.version} is not known to this program`);
  for (const column of columns) writeField(writer, row[column.name]);
}

/** Appends the canonical form of what the commitment covers, salt first. */
export function writeContent(writer: ByteWriter, content: Content): void {
  writer.bytesField(content.salt);
  writer.textField(content.sql);
  writer.bytesField(content.sql_sha256);
  writer.textsField(content.parameters);
}

/** The type of the value decides the form; the columns' types are for SQL and for reading rows back. */
function writeField(writer: ByteWriter, value: Row[keyof Row]): void {
  if (value === null) writer.int32(-1);
  else if (typeof value === 'string') writer.textField(value);
  else if (typeof value === 'bigint') writer.integerField(value);
  else if (typeof value === 'boolean') writer.integerField(value ? 1n : 0n);
  else if (Buffer.isBuffer(value)) writer.bytesField(value);
  else writer.textsField(value as readonly (string | null)[]);
}
