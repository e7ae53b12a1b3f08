import { ByteWriter } from '../chain/bytes.ts';
import { type Column, type Content, columnsOf, type Row, SCHEMA_VERSION } from '../chain/canonical.ts';
import { sha256 } from '../chain/sha256.ts';
import type { Linked, StoredRow } from './verify.ts';

/** The columns of a copied row, in the order of `COPIED_SQL`: the chain's two, the hashed ones, what is beside them. */
const HASHED: readonly Column[] = columnsOf(SCHEMA_VERSION) ?? [];
const BESIDE: readonly { readonly name: keyof Content; readonly type: Column['type'] }[] = [
  { name: 'salt', type: 'bytes' },
  { name: 'sql', type: 'text' },
  { name: 'sql_sha256', type: 'bytes' },
  { name: 'parameters', type: 'texts' },
];
const FIRST_HASHED = 2;
const FIRST_BESIDE = FIRST_HASHED + HASHED.length;
const FIELDS = FIRST_BESIDE + BESIDE.length;

/** What a COPY of rows selects. `version` is a smallint there, the other integers are 8 bytes already. */
export const COPIED_SQL: string = [
  'prev_hash',
  'hash',
  ...HASHED.map(({ name }) => (name === 'version' ? 'version::bigint' : name)),
  ...BESIDE.map(({ name }) => name),
].join(', ');

/** Where rows go. */
export type RowTaker = {
  /** A row of a statement that is what its hash says; see `StreamVerifier.sound`. */
  readonly sound: (row: Linked) => void;
  /** Any other row. */
  readonly row: (row: StoredRow) => void;
};

/**
 * Reads rows as `COPY … (FORMAT binary)` gives them. A field there is an int32 length and its bytes, which is the form
 * that is hashed, so that a row's hash is computed from ranges of those bytes. Rows of statements (intents and
 * outcomes, nearly all there is) that are found to be right that way are handed over as such; a row with anything
 * unusual in it is decoded and takes the plain way, which says what is wrong with it.
 */
export class CopiedRows {
  readonly #taker: RowTaker;
  readonly #canonical = new ByteWriter();
  readonly #content = new ByteWriter();
  /** Where each field of the row at hand begins, and where the last one ends. */
  readonly #at = new Array<number>(FIELDS + 1).fill(0);
  /** The beginning of a tuple whose end has not come yet. */
  #rest: Buffer = Buffer.alloc(0);
  #started = false;
  #ended = false;
  #count = 0;

  constructor(taker: RowTaker) {
    this.#taker = taker;
  }

  /** Rows so far. */
  get count(): number {
    return this.#count;
  }

  /** Takes the next bytes, which are not kept. Throws `RangeError` where they are no such copy. */
  take(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    if (!this.#started) {
      if (bytes.length < HEADER_BYTES) return this.#keep(bytes);
      if (!bytes.subarray(0, SIGNATURE.length).equals(SIGNATURE)) throw new RangeError('not a binary COPY');
      at = HEADER_BYTES + bytes.readInt32BE(HEADER_BYTES - 4);
      this.#started = true;
    }
    for (let next = this.#walk(bytes, at); next !== null; next = this.#walk(bytes, at)) {
      at = next;
      this.#row(bytes);
    }
    this.#keep(this.#ended ? Buffer.alloc(0) : bytes.subarray(at));
  }

  /** Throws `RangeError` where the copy did not come to its end. */
  end(): void {
    if (!this.#ended) throw new RangeError('the copy ends too early');
  }

  #keep(bytes: Buffer): void {
    this.#rest = bytes.length === 0 ? bytes : Buffer.from(bytes);
  }

  /** Finds the fields of the tuple at `start`; returns where it ends, null where there is none (yet). */
  #walk(bytes: Buffer, start: number): number | null {
    if (this.#ended || start + 2 > bytes.length) return null;
    const fields = bytes.readInt16BE(start);
    if (fields === -1) {
      this.#ended = true;
      return null;
    }
    if (fields !== FIELDS) throw new RangeError(`a row of ${fields} fields`);
    let at = start + 2;
    for (let i = 0; i < FIELDS; i += 1) {
      if (at + 4 > bytes.length) return null;
      this.#at[i] = at;
      const length = bytes.readInt32BE(at);
      at += length > 0 ? 4 + length : 4;
      if (at > bytes.length) return null;
    }
    this.#at[FIELDS] = at;
    return at;
  }

  #row(bytes: Buffer): void {
    this.#count += 1;
    const hash = this.#isPlain(bytes) && this.#contentFits(bytes) ? this.#rowHash(bytes) : null;
    if (hash === null || !this.#equals(bytes, 1, hash)) this.#taker.row(this.#decoded(bytes));
    else {
      const seq = bytes.readBigInt64BE(this.#start(SEQ) + 4);
      this.#taker.sound({ row: { seq }, prevHash: this.#bytes(bytes, 0), hash });
    }
  }

  /** Whether it is a statement's, of the version that this program knows, and says nothing else. */
  #isPlain(bytes: Buffer): boolean {
    const version = this.#start(VERSION);
    if (bytes.readInt32BE(version) !== 8 || bytes.readBigInt64BE(version + 4) !== SCHEMA_VERSION)
      return false;
    if (bytes.readInt32BE(this.#start(RECEIPT)) !== -1) return false;
    return this.#equals(bytes, KIND, INTENT) || this.#equals(bytes, KIND, OUTCOME);
  }

  /** Whether text, digest and parameters are what the row committed to, or there are none and it says so. */
  #contentFits(bytes: Buffer): boolean {
    const from = this.#start(FIRST_BESIDE);
    const end = this.#start(FIELDS);
    if (bytes.readInt32BE(from) === -1) {
      return end - from === 4 * BESIDE.length && bytes.readInt32BE(this.#start(CONTENT)) === -1;
    }
    const c = this.#content;
    c.seek(0);
    c.copy(bytes, from, this.#start(FIELDS - 1));
    return this.#list(c, bytes, FIELDS - 1) && this.#equals(bytes, CONTENT, sha256(c.written()));
  }

  /** Null: a column has no form that is hashed. */
  #rowHash(bytes: Buffer): Buffer | null {
    const c = this.#canonical;
    c.seek(0);
    c.copy(bytes, this.#start(0) + 4, this.#start(1));
    for (const { first, end, type } of RUNS) {
      if (type === 'same') c.copy(bytes, this.#start(first), this.#start(end));
      else if (type === 'time') c.integerField(timeAt(bytes, this.#start(first)));
      else if (type === 'boolean') c.integerField(booleanAt(bytes, this.#start(first)));
      else if (!this.#list(c, bytes, first)) return null;
    }
    return sha256(c.written());
  }

  /** Appends a list (array_send: dimensions, flags, element type, length, lower bound, elements). False: not flat. */
  #list(to: ByteWriter, bytes: Buffer, field: number): boolean {
    const at = this.#start(field);
    const length = bytes.readInt32BE(at);
    if (length === -1) to.int32(-1);
    else if (length === 12 && bytes.readInt32BE(at + 4) === 0) {
      to.int32(4);
      to.int32(0);
    } else {
      if (length < 20 || bytes.readInt32BE(at + 4) !== 1 || bytes.readInt32BE(at + 20) !== 1) return false;
      to.int32(length - 16);
      to.copy(bytes, at + 16, at + 20);
      to.copy(bytes, at + 24, at + 4 + length);
    }
    return true;
  }

  #decoded(bytes: Buffer): StoredRow {
    const row: Record<string, unknown> = {};
    HASHED.forEach(({ name, type }, i) => {
      row[name] = this.#value(bytes, FIRST_HASHED + i, type);
    });
    const content: Record<string, unknown> = {};
    BESIDE.forEach(({ name, type }, i) => {
      content[name] = this.#value(bytes, FIRST_BESIDE + i, type);
    });
    const none = BESIDE.every(({ name }) => content[name] === null);
    return {
      row: row as Row,
      content: none ? null : ({ ...content, salt: content['salt'] ?? Buffer.alloc(0) } as Content),
      prevHash: this.#bytes(bytes, 0),
      hash: this.#bytes(bytes, 1),
    };
  }

  #value(bytes: Buffer, field: number, type: Column['type']): Row[keyof Row] {
    const at = this.#start(field);
    if (bytes.readInt32BE(at) === -1) return null;
    if (type === 'integer') return bytes.readBigInt64BE(at + 4);
    if (type === 'time') return timeAt(bytes, at);
    if (type === 'boolean') return booleanAt(bytes, at) === 1n;
    if (type === 'bytes') return this.#bytes(bytes, field);
    if (type === 'texts') return textsAt(bytes, at);
    return bytes.toString('utf8', at + 4, this.#start(field + 1));
  }

  #start(field: number): number {
    return this.#at[field] ?? 0;
  }

  /** A copy of a field's bytes. */
  #bytes(bytes: Buffer, field: number): Buffer {
    return Buffer.from(bytes.subarray(this.#start(field) + 4, this.#start(field + 1)));
  }

  #equals(bytes: Buffer, field: number, value: Buffer): boolean {
    const start = this.#start(field) + 4;
    const end = this.#start(field + 1);
    return end - start === value.length && value.compare(bytes, start, end) === 0;
  }
}

/** Microseconds since 1970 UTC; null: no time. Postgres counts from 2000 on. */
function timeAt(bytes: Buffer, at: number): bigint | null {
  return bytes.readInt32BE(at) === -1 ? null : bytes.readBigInt64BE(at + 4) + YEAR_2000;
}
const YEAR_2000 = 946_684_800_000_000n;

function booleanAt(bytes: Buffer, at: number): bigint | null {
  return bytes.readInt32BE(at) === -1 ? null : BigInt(bytes[at + 4] ?? 0);
}

/** A list's elements. One of another shape than the writer makes has its shape before them: it hashes to something else. */
function textsAt(bytes: Buffer, at: number): (string | null)[] {
  const dimensions = bytes.readInt32BE(at + 4);
  const end = at + 4 + bytes.readInt32BE(at);
  const values: (string | null)[] = [];
  if (dimensions > 1 || (dimensions === 1 && bytes.readInt32BE(at + 20) !== 1)) values.push('another shape');
  for (let next = at + 16 + 8 * dimensions; next + 4 <= end; ) {
    const length = bytes.readInt32BE(next);
    values.push(length === -1 ? null : bytes.toString('utf8', next + 4, next + 4 + length));
    next += 4 + Math.max(0, length);
  }
  return values;
}

type Run = {
  readonly first: number;
  readonly end: number;
  readonly type: 'same' | 'time' | 'boolean' | 'texts';
};

/** Columns side by side that are hashed in the very form in which they are copied are one range. */
function runs(): readonly Run[] {
  const found: Run[] = [];
  HASHED.forEach((column, i) => {
    const first = FIRST_HASHED + i;
    const special = column.type === 'time' || column.type === 'boolean' || column.type === 'texts';
    const type = special ? (column.type as Run['type']) : 'same';
    const last = found.at(-1);
    if (type === 'same' && last?.type === 'same') found[found.length - 1] = { ...last, end: first + 1 };
    else found.push({ first, end: first + 1, type });
  });
  return found;
}

const RUNS = runs();
const fieldOf = (name: keyof Row): number =>
  FIRST_HASHED + HASHED.findIndex((column) => column.name === name);
const [VERSION, SEQ, KIND, CONTENT, RECEIPT] = (
  ['version', 'seq', 'kind', 'content', 'receipt'] as const
).map(fieldOf) as [number, number, number, number, number];
const INTENT = Buffer.from('intent');
const OUTCOME = Buffer.from('outcome');
/** https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format": signature, flags, length of an extension. */
const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1');
const HEADER_BYTES = SIGNATURE.length + 8;
