/**
 * The log as lines of JSON, from which every hash can be computed again: integers and times (µs since 1970 UTC) as
 * decimal text, bytes as hex, lists as arrays; what is null is left out.
 */
import { type Column, type Content, columnsOf, type Row, SCHEMA_VERSION } from '../chain/canonical.ts';
import type { RegisteredKey } from '../verify/registered-keys.ts';
import type { StoredBatch, StoredRow, StoredStream } from '../verify/verify.ts';

type Json = Record<string, unknown>;

export type BatchLine = StoredBatch & {
  /** Its place in the tree that checkpoints sign; null: in none yet. */
  readonly leaf: bigint | null;
};
export type StreamLine = {
  readonly stored: StoredStream;
  readonly jwk: Readonly<Json>;
  /** Microseconds since 1970 UTC. */
  readonly startedUs: bigint;
};
export type LeafLine = {
  readonly index: bigint;
  /** The batch that it is of. */
  readonly stream: string;
  readonly fromSeq: bigint;
  readonly hash: Buffer;
};
export type CheckpointLine = { readonly size: bigint; readonly root: Buffer; readonly note: string };

/** A line is not what it should be; the message says in what. */
export class BadLine extends Error {
  override readonly name = 'BadLine';
}

export const ENTRY_COLUMNS: readonly Column[] = columnsOf(SCHEMA_VERSION) ?? [];
export const CONTENT_COLUMNS = ['salt', 'sql', 'sql_sha256', 'parameters'] as const;

/** A row of one of the log's queries, as the driver hands it over. */
export function rowLine(names: readonly string[], values: readonly unknown[]): string {
  const shown = names.flatMap((name, i) => {
    const value = values[i];
    if (value === null || value === undefined) return [];
    if (Buffer.isBuffer(value)) return [[name, value.toString('hex')]];
    return [[name, typeof value === 'number' ? String(value) : value]];
  });
  return `${JSON.stringify(Object.fromEntries(shown))}\n`;
}

/** Attacker-controlled. Throws `BadLine`. */
export function parseEntry(text: string): StoredRow {
  const json = parse(text);
  const row: Json = {};
  for (const { name, type } of ENTRY_COLUMNS) row[name] = fieldOf(json, name, type);
  const content = {
    salt: fieldOf(json, 'salt', 'bytes'),
    sql: fieldOf(json, 'sql', 'text'),
    sql_sha256: fieldOf(json, 'sql_sha256', 'bytes'),
    parameters: fieldOf(json, 'parameters', 'texts'),
  };
  const none = Object.values(content).every((value) => value === null);
  for (const name of ['version', 'stream', 'seq', 'at', 'kind'])
    if (row[name] === null) throw new BadLine(`${name} is missing`);
  return {
    row: row as Row,
    content: none ? null : ({ ...content, salt: content.salt ?? Buffer.alloc(0) } as Content),
    prevHash: bytes(json, 'prev_hash'),
    hash: bytes(json, 'hash'),
  };
}

/** Attacker-controlled. Throws `BadLine`. */
export function parseBatch(text: string): BatchLine {
  const json = parse(text);
  return {
    stream: string(json, 'stream'),
    fromSeq: integer(json, 'from_seq'),
    toSeq: integer(json, 'to_seq'),
    prevHash: bytes(json, 'prev_hash'),
    hash: bytes(json, 'hash'),
    kid: string(json, 'kid'),
    signature: bytes(json, 'signature'),
    leaf: fieldOf(json, 'leaf', 'integer') as bigint | null,
  };
}

/** Attacker-controlled. Throws `BadLine`. */
export function parseStream(text: string): StreamLine {
  const json = parse(text);
  const jwk = object(json, 'public_jwk');
  const startedUs = integer(json, 'started_at');
  return {
    stored: {
      stream: string(json, 'stream'),
      kid: string(json, 'kid'),
      endorsedBy: string(json, 'endorsed_by'),
      endorsement: bytes(json, 'endorsement'),
      headSeq: integer(json, 'head_seq'),
      headHash: bytes(json, 'head_hash'),
      registered: { publicJwk: jwk, facts: object(json, 'facts'), startedAt: startedUs },
    },
    jwk,
    startedUs,
  };
}

/** Attacker-controlled. Throws `BadLine`. */
export function parseLeaf(text: string): LeafLine {
  const json = parse(text);
  return {
    index: integer(json, 'index'),
    stream: string(json, 'stream'),
    fromSeq: integer(json, 'from_seq'),
    hash: bytes(json, 'hash'),
  };
}

/** A key of the register of keys. Attacker-controlled. Throws `BadLine`. */
export function parseSigningKey(text: string): RegisteredKey {
  const json = parse(text);
  return {
    kid: string(json, 'kid'),
    publicJwk: object(json, 'public_jwk'),
    purpose: string(json, 'purpose'),
    validFrom: integer(json, 'valid_from'),
    validTo: fieldOf(json, 'valid_to', 'integer') as bigint | null,
  };
}

/** Attacker-controlled. Throws `BadLine`. */
export function parseCheckpointLine(text: string): CheckpointLine {
  const json = parse(text);
  return { size: integer(json, 'size'), root: bytes(json, 'root'), note: string(json, 'note') };
}

function parse(text: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new BadLine('it is no JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new BadLine('it is no JSON object');
  return value as Json;
}

function fieldOf(
  json: Json,
  name: string,
  type: Column['type'],
): bigint | boolean | string | Buffer | unknown[] | null {
  const value = Object.hasOwn(json, name) ? json[name] : null;
  if (value === null) return null;
  if ((type === 'integer' || type === 'time') && typeof value === 'string' && INTEGER.test(value)) {
    const number = BigInt(value);
    if (BigInt.asIntN(64, number) === number) return number;
  }
  if (type === 'boolean' && typeof value === 'boolean') return value;
  if (type === 'text' && typeof value === 'string') return value;
  if (type === 'bytes' && typeof value === 'string' && HEX.test(value)) return Buffer.from(value, 'hex');
  const isTexts = Array.isArray(value) && value.every((one) => one === null || typeof one === 'string');
  if (type === 'texts' && isTexts) return value;
  throw new BadLine(`${name} is not of the type ${type}`);
}

function object(json: Json, name: string): Readonly<Json> {
  const value = Object.hasOwn(json, name) ? json[name] : null;
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new BadLine(`${name} is no object`);
  return value as Json;
}

function string(json: Json, name: string): string {
  const value = fieldOf(json, name, 'text');
  if (typeof value !== 'string') throw new BadLine(`${name} is missing`);
  return value;
}

function integer(json: Json, name: string): bigint {
  const value = fieldOf(json, name, 'integer');
  if (typeof value !== 'bigint') throw new BadLine(`${name} is missing`);
  return value;
}

function bytes(json: Json, name: string): Buffer {
  const value = fieldOf(json, name, 'bytes');
  if (!Buffer.isBuffer(value)) throw new BadLine(`${name} is missing`);
  return value;
}

const INTEGER = /^(?:0|-?[1-9]\d{0,18})$/;
const HEX = /^(?:[0-9a-f]{2})*$/;
