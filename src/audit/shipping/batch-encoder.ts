import { ByteReader, ByteWriter } from '../chain/bytes.ts';
import { type Content, columnsOf, type Row, SCHEMA_VERSION } from '../chain/canonical.ts';
import { type BatchFacts, batchBytes, rowHash } from '../chain/chain.ts';
import { sha256 } from '../chain/sha256.ts';
import { SALT_BYTES, saltsOf } from '../journal/block.ts';
import { type RawRecord, RECORD_HEAD_BYTES } from '../journal/journal-reader.ts';
import type { OpenStatement } from '../journal/open-statements.ts';
import { KIND_NUMBERS, readRecord } from '../journal/record.ts';
import { RecordWalk } from '../journal/record-walk.ts';
import { ArrayColumn, ELEMENT_OIDS } from './array-column.ts';
import { arrayOf, type BatchSigner, CONTENT_COLUMNS, type Head, ROW_COLUMNS } from './batch.ts';
import { entryRow, STATUS_DETAIL } from './row.ts';
import { EncodedSessions } from './session-fields.ts';

/** A signed batch as parameters of `append`. */
export type EncodedBatch = {
  readonly facts: BatchFacts;
  readonly values: readonly (string | Buffer | null)[];
  /** Statements that its rows begin (`intent`) or end, in order. */
  readonly statements: readonly { readonly intent: boolean; readonly statement: OpenStatement }[];
  /** Of the journal: bytes of these records, and where the last one stands. */
  readonly bytes: number;
  readonly segment: number;
};

/**
 * Turns journal records into a batch. A record's fields have the form in which they are hashed and sent, so that those
 * of intents and outcomes, nearly all there is, are copied and not decoded. Everything else takes the plain way over
 * `entryRow`, which says what a row is: a test holds the two together.
 */
export class BatchEncoder {
  readonly #stream: string;
  readonly #saltSecret: Buffer;
  readonly #signer: BatchSigner;
  readonly #sessions = new EncodedSessions();
  readonly #columns = newColumns();
  readonly #hashes = new ArrayColumn(ELEMENT_OIDS.bytes);
  readonly #canonical = new ByteWriter();
  readonly #content = new ByteWriter();
  /** Version and stream, as every row has them. */
  readonly #prefix: Buffer;
  readonly #lists = new Map<string, string>();
  #previous: Buffer = Buffer.alloc(0);
  #statements: { intent: boolean; statement: OpenStatement }[] = [];

  constructor(options: { readonly stream: string; readonly saltSecret: Buffer; readonly key: BatchSigner }) {
    this.#stream = options.stream;
    this.#saltSecret = options.saltSecret;
    this.#signer = options.key;
    const prefix = new ByteWriter(256);
    prefix.integerField(SCHEMA_VERSION);
    prefix.textField(options.stream);
    this.#prefix = Buffer.from(prefix.written());
  }

  /** The records, numbered from `head` on, as its next batch. Throws `RangeError` when one of them is none. */
  encode(head: Head, records: readonly RawRecord[]): EncodedBatch {
    const salts = saltsOf(this.#saltSecret, head.seq + 1n, records.length);
    this.#previous = head.hash;
    this.#statements = [];
    // What a record that was none left behind.
    this.#hashes.clear();
    for (const name of PARAMETER_COLUMNS) this.#columns[name].clear();
    let bytes = 0;
    for (let row = 0; row < records.length; row += 1) {
      const raw = records[row] as RawRecord;
      const salt = salts.subarray(row * SALT_BYTES, (row + 1) * SALT_BYTES);
      const done =
        (raw.kind === KIND_NUMBERS.intent && this.#intent(row, raw.record, salt)) ||
        (raw.kind === KIND_NUMBERS.outcome && this.#outcome(row, raw.record));
      if (!done) this.#plain(row, raw, salt);
      this.#hashes.bytes(row, this.#previous);
      bytes += raw.record.length;
    }
    const facts: BatchFacts = {
      stream: this.#stream,
      fromSeq: head.seq + 1n,
      toSeq: head.seq + BigInt(records.length),
      prevHash: head.hash,
      hash: this.#previous,
    };
    const segment = records.at(-1)?.segment ?? 0;
    return {
      facts,
      values: this.#values(facts, records.length),
      statements: this.#statements,
      bytes,
      segment,
    };
  }

  #values(facts: BatchFacts, rows: number): (string | Buffer | null)[] {
    const signature = this.#signer.sign(batchBytes(facts));
    const { stream, fromSeq, prevHash } = facts;
    const hashes = this.#hashes.take(rows);
    return [
      ...[stream, String(fromSeq), prevHash, this.#signer.kid, signature, hashes, String(SCHEMA_VERSION)],
      ...PARAMETER_COLUMNS.map((name) => this.#columns[name].take(rows)),
    ];
  }

  /** False, and nothing done: a text in it cannot be stored as it is, or it has rarer fields. */
  #intent(row: number, record: Buffer, salt: Buffer): boolean {
    const walk = new RecordWalk(record, RECORD_HEAD_BYTES);
    const session = this.#sessions.get(walk.bytes());
    const no = walk.skip(8);
    const sql = walk.text();
    const digest = walk.field();
    const parameters = walk.texts();
    const rest = walk.at;
    const kind = walk.text();
    const decision = walk.text();
    const rule = walk.text();
    const reasons = walk.texts();
    const relations = walk.texts();
    const request = walk.text();
    const policy = walk.text();
    const end = walk.at;
    // Facts may follow; the few that have more are encoded field by field.
    if (!walk.atEnd && !walk.isNull()) return false;
    if (!walk.atEnd) walk.texts();
    // Each may be NULL or left out.
    const facts = walk.atEnd ? walk.at : walk.text();
    const print = walk.atEnd ? walk.at : walk.text();
    if (!walk.storable || !walk.atEnd) return false;

    this.#content.seek(0);
    this.#content.bytesField(salt);
    this.#content.copy(record, sql, rest);
    const content = sha256(this.#content.written());

    const c = this.#begin(record, KIND_FIELDS.intent);
    c.raw(session.canonical);
    c.int32(8);
    c.copy(record, no, no + 8);
    c.bytesField(content);
    c.copy(record, rest, end);
    c.raw(NULLS.subarray(0, 4 * 8));
    this.#detail(record, [FACTS, facts, print], [PRINT, print, walk.at]);
    this.#end();

    const columns = this.#columns;
    this.#head(row, record, 'intent', no);
    for (const [name, field] of session.fields) columns[name].copy(row, field, 0, field.length);
    if (session.runVerified !== null) columns.run_verified.boolean(row, session.runVerified);
    if (session.tls !== null) columns.tls.boolean(row, session.tls);
    columns.content.bytes(row, content);
    columns.class.copy(row, record, kind, decision);
    columns.decision.copy(row, record, decision, rule);
    columns.rule.copy(row, record, rule, reasons);
    this.#list(row, 'reasons', record, reasons, relations);
    this.#list(row, 'relations', record, relations, request);
    columns.request_id.copy(row, record, request, policy);
    columns.policy_digest.copy(row, record, policy, end);
    columns.salt.bytes(row, salt);
    columns.sql.copy(row, record, sql, digest);
    columns.sql_sha256.copy(row, record, digest, parameters);
    this.#list(row, 'parameters', record, parameters, rest);
    this.#told(row, record, facts, walk.at, [FACTS, facts, print], [PRINT, print, walk.at]);
    const requestId = new ByteReader(record, request).textField();
    const statementNo = Number(record.readBigInt64BE(no));
    this.#statements.push({ intent: true, statement: { session: session.facts, statementNo, requestId } });
    return true;
  }

  /** The same for an outcome. */
  #outcome(row: number, record: Buffer): boolean {
    const walk = new RecordWalk(record, RECORD_HEAD_BYTES);
    const session = this.#sessions.get(walk.bytes());
    const no = walk.skip(8);
    const request = walk.text();
    const outcome = walk.text();
    const tag = walk.text();
    const rows = walk.skip(24);
    const sqlstate = walk.text();
    const people = walk.texts();
    const end = walk.at;
    // What says more of its result's rest is rare.
    if (!walk.atEnd && !walk.isNull()) return false;
    if (!walk.atEnd) walk.texts();
    const status = walk.atEnd ? walk.at : walk.text();
    if (!walk.storable || !walk.atEnd) return false;

    const c = this.#begin(record, KIND_FIELDS.outcome);
    c.raw(session.id);
    c.raw(NULLS.subarray(0, 4 * 10));
    c.int32(8);
    c.copy(record, no, no + 8);
    c.raw(NULLS.subarray(0, 4 * 6));
    c.copy(record, request, outcome);
    c.int32(-1);
    c.copy(record, outcome, rows);
    for (let at = rows; at < sqlstate; at += 8) {
      c.int32(8);
      c.copy(record, at, at + 8);
    }
    c.copy(record, sqlstate, end);
    c.raw(NULLS.subarray(0, 4));
    this.#detail(record, [STATUS, status, walk.at]);
    this.#end();

    const columns = this.#columns;
    this.#head(row, record, 'outcome', no);
    columns.session_id.copy(row, session.id, 0, session.id.length);
    columns.request_id.copy(row, record, request, outcome);
    columns.outcome.copy(row, record, outcome, tag);
    columns.tag.copy(row, record, tag, rows);
    columns.rows.bytes(row, record.subarray(rows, rows + 8));
    columns.bytes.bytes(row, record.subarray(rows + 8, rows + 16));
    columns.duration_us.bytes(row, record.subarray(rows + 16, rows + 24));
    columns.sqlstate.copy(row, record, sqlstate, people);
    this.#list(row, 'people', record, people, end);
    this.#told(row, record, status, walk.at, [STATUS, status, walk.at]);
    const statementNo = Number(record.readBigInt64BE(no));
    const statement = { session: session.facts, statementNo, requestId: null };
    this.#statements.push({ intent: false, statement });
    return true;
  }

  #plain(row: number, raw: RawRecord, salt: Buffer): void {
    const { entry } = readRecord(new ByteReader(raw.record));
    const { row: values, content } = entryRow(entry, this.#stream, raw.seq, salt);
    this.#previous = rowHash(this.#previous, values);
    for (const name of ROW_COLUMNS) this.#value(row, name as Named, values[name]);
    for (const name of CONTENT_COLUMNS) this.#value(row, name, content?.[name] ?? null);
    if (entry.kind !== 'intent' && entry.kind !== 'outcome') return;
    const { session, statementNo, requestId } = entry;
    const statement = { session, statementNo, requestId };
    this.#statements.push({ intent: entry.kind === 'intent', statement });
  }

  #value(row: number, name: Named, value: Row[keyof Row] | Content[keyof Content]): void {
    const column = this.#columns[name];
    if (value === null) return;
    if (typeof value === 'string') column.text(row, value);
    else if (typeof value === 'bigint') column.integer(row, value);
    else if (typeof value === 'boolean') column.boolean(row, value);
    else if (Buffer.isBuffer(value)) column.bytes(row, value);
    else column.text(row, arrayOf(value as readonly (string | null)[]));
  }

  /** The canonical form up to `kind`; time and number are the record's own. */
  #begin(record: Buffer, kind: Buffer): ByteWriter {
    const c = this.#canonical;
    c.seek(0);
    c.raw(this.#previous);
    c.raw(this.#prefix);
    c.int32(8);
    c.copy(record, 5, 13);
    c.int32(8);
    c.copy(record, 13, 21);
    c.raw(kind);
    return c;
  }

  #end(): void {
    this.#previous = sha256(this.#canonical.written());
  }

  #head(row: number, record: Buffer, kind: 'intent' | 'outcome', no: number): void {
    this.#columns.at.bytes(row, record.subarray(13, 21));
    this.#columns.kind.text(row, kind);
    this.#columns.statement_no.bytes(row, record.subarray(no, no + 8));
  }

  #list(row: number, name: Named, record: Buffer, start: number, end: number): void {
    if (end - start === 4) return;
    const make = () => new ByteReader(record, start).textsField() ?? [];
    this.#columns[name].text(row, this.#listText('', record, start, end, make));
  }

  /** The column `detail` from fields of the record, all of them within `start` and `end`. */
  #told(row: number, record: Buffer, start: number, end: number, ...told: Told[]): void {
    if (!told.some((one) => isThere(record, one))) return;
    const make = () =>
      told
        .filter((one) => isThere(record, one))
        .flatMap(([{ name }, at]) => [name, new ByteReader(record, at).textField()]);
    this.#columns.detail.text(row, this.#listText(told[0]?.[0].name ?? '', record, start, end, make));
  }

  /** The same in the canonical form. */
  #detail(record: Buffer, ...told: Told[]): void {
    const c = this.#canonical;
    let [bytes, fields] = [4, 0];
    for (const one of told) {
      if (!isThere(record, one)) continue;
      bytes += one[0].field.length + one[2] - one[1];
      fields += 2;
    }
    if (fields === 0) return c.int32(-1);
    c.int32(bytes);
    c.int32(fields);
    for (const one of told) {
      if (!isThere(record, one)) continue;
      c.raw(one[0].field);
      c.copy(record, one[1], one[2]);
    }
  }

  /** A list's column is text in array notation; few lists are new. `kind`: what the bytes stand for. */
  #listText(
    kind: string,
    record: Buffer,
    start: number,
    end: number,
    make: () => readonly (string | null)[],
  ): string {
    const known = end - start <= LARGEST_KNOWN_LIST ? kind + record.toString('latin1', start, end) : null;
    let text = known === null ? undefined : this.#lists.get(known);
    if (text === undefined) {
      text = arrayOf(make());
      if (this.#lists.size >= KNOWN_LISTS) this.#lists.clear();
      if (known !== null) this.#lists.set(known, text);
    }
    return text;
  }
}

type Named = Exclude<keyof Row, 'version' | 'stream' | 'seq'> | keyof Content;

/** Parameters of `append` from the eighth on. */
const PARAMETER_COLUMNS: readonly Named[] = [...(ROW_COLUMNS as readonly Named[]), ...CONTENT_COLUMNS];

function newColumns(): Readonly<Record<Named, ArrayColumn>> {
  const types = new Map<string, string>(columnsOf(SCHEMA_VERSION)?.map(({ name, type }) => [name, type]));
  const oid = (name: string): number => {
    if (name === 'salt' || name === 'sql_sha256') return ELEMENT_OIDS.bytes;
    const type = types.get(name) ?? 'text';
    if (type === 'time') return ELEMENT_OIDS.integer;
    return type === 'integer' || type === 'boolean' || type === 'bytes'
      ? ELEMENT_OIDS[type]
      : ELEMENT_OIDS.text;
  };
  const columns = PARAMETER_COLUMNS.map((name) => [name, new ArrayColumn(oid(name))]);
  return Object.fromEntries(columns) as Record<Named, ArrayColumn>;
}

/** A name in `detail`, and where in the record its value begins and ends: in the same place where it is left out. */
type Told = readonly [name: DetailName, start: number, end: number];
type DetailName = { readonly name: string; readonly field: Buffer };
const detailName = (name: string): DetailName => ({ name, field: textField(name) });
const FACTS = detailName('facts');
const PRINT = detailName('fingerprint');
const STATUS = detailName(STATUS_DETAIL);

function isThere(record: Buffer, [, start, end]: Told): boolean {
  return start < end && record.readInt32BE(start) !== -1;
}

const KIND_FIELDS = { intent: textField('intent'), outcome: textField('outcome') } as const;

function textField(text: string): Buffer {
  const writer = new ByteWriter(64);
  writer.textField(text);
  return Buffer.from(writer.written());
}

/** Fields that are NULL. */
const NULLS = Buffer.alloc(4 * 10, 0xff);
/** Lists kept in array notation, and bytes of the longest such. */
const KNOWN_LISTS = 1_024;
const LARGEST_KNOWN_LIST = 256;
