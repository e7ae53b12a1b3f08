import type { ByteReader, ByteWriter } from '../chain/bytes.ts';
import type {
  Entry,
  EventEntry,
  IntentEntry,
  Outcome,
  OutcomeEntry,
  RestRefusal,
  SessionFacts,
} from '../entry.ts';

/** An entry with its number, as the journal keeps it. */
export type NumberedEntry = { readonly seq: bigint; readonly entry: Entry };

/**
 * Appends an entry as a journal record: int32 length of what follows, kind (one byte), seq and time (int64), then the
 * kind's own fields. Read back on this machine only, perhaps by a later version: kinds and fields are only added.
 */
export function writeRecord(writer: ByteWriter, seq: bigint, entry: Entry): void {
  const start = writer.length;
  writer.int32(0);
  writer.uint8(KIND_NUMBERS[entry.kind]);
  writer.int64(seq);
  writer.int64(entry.at);
  if (entry.kind === 'intent') writeIntent(writer, entry);
  else if (entry.kind === 'outcome') writeOutcome(writer, entry);
  else writeEvent(writer, entry);
  writer.int32At(start, writer.length - start - 4);
}

/** Reads one record. Throws `RangeError` when it is not one. */
export function readRecord(reader: ByteReader): NumberedEntry {
  const length = reader.int32();
  const end = reader.position + length;
  const kind = KINDS[reader.uint8()];
  if (kind === undefined) throw new RangeError('a record of an unknown kind');
  const seq = reader.int64();
  const at = reader.int64();
  const entry = readBody(reader, kind, at, end);
  if (reader.position !== end) throw new RangeError(`record ${seq} does not end where it says`);
  return { seq, entry };
}

function readBody(reader: ByteReader, kind: Entry['kind'], at: bigint, end: number): Entry {
  if (kind === 'intent') return readIntent(reader, at, end);
  if (kind === 'outcome') return readOutcome(reader, at, end);
  return readEvent(reader, kind, at);
}

function writeIntent(writer: ByteWriter, entry: IntentEntry): void {
  writer.bytesField(sessionBytes(entry.session));
  writer.int64(BigInt(entry.statementNo));
  writer.textField(entry.sql);
  writer.bytesField(entry.sqlSha256);
  writer.textsField(entry.parameters);
  writer.textField(entry.class);
  writer.textField(entry.decision);
  writer.textField(entry.rule);
  writer.textsField(entry.reasons);
  writer.textsField(entry.relations);
  writer.textField(entry.requestId);
  writer.textField(entry.policyDigest);
  // Left out where they are not there, from the end on.
  const { observed, facts, fingerprint } = entry;
  if (observed === undefined && facts === undefined && fingerprint === undefined) return;
  writer.textsField(observed === undefined ? null : [observed.rule, observed.decision]);
  if (facts === undefined && fingerprint === undefined) return;
  writer.textField(facts ?? null);
  if (fingerprint !== undefined) writer.textField(fingerprint);
}

function readIntent(reader: ByteReader, at: bigint, end: number): IntentEntry {
  return {
    kind: 'intent',
    at,
    session: readSession(reader),
    statementNo: Number(reader.int64()),
    sql: text(reader),
    // A copy: the block's buffer is used again.
    sqlSha256: Buffer.from(reader.bytesField() ?? ''),
    parameters: reader.textsField(),
    class: text(reader),
    decision: text(reader) as IntentEntry['decision'],
    rule: text(reader),
    reasons: texts(reader),
    relations: texts(reader),
    requestId: reader.textField(),
    policyDigest: text(reader),
    ...(reader.position < end ? readObserved(reader) : {}),
    ...(reader.position < end ? optional('facts', reader.textField()) : {}),
    ...(reader.position < end ? optional('fingerprint', reader.textField()) : {}),
  };
}

function optional<Name extends 'facts' | 'fingerprint'>(
  name: Name,
  value: string | null,
): { readonly [K in Name]?: string } {
  return value === null ? {} : ({ [name]: value } as { readonly [K in Name]?: string });
}

function readObserved(reader: ByteReader): Pick<IntentEntry, 'observed'> {
  const fields = reader.textsField();
  if (fields === null) return {};
  const [rule, decision] = fields;
  return { observed: { rule: rule ?? '', decision: decision as IntentEntry['decision'] } };
}

function writeOutcome(writer: ByteWriter, entry: OutcomeEntry): void {
  writer.bytesField(sessionBytes(entry.session));
  writer.int64(BigInt(entry.statementNo));
  writer.textField(entry.requestId);
  writer.textField(entry.outcome);
  writer.textField(entry.tag);
  writer.int64(entry.rows);
  writer.int64(entry.bytes);
  writer.int64(entry.durationUs);
  writer.textField(entry.sqlstate);
  writer.textsField(entry.approvers);
  // Left out where it is not there.
  const { rest, transactionStatus } = entry;
  if (rest === undefined && transactionStatus === undefined) return;
  writer.textsField(rest === undefined ? null : [rest.class, rest.rule, rest.refusedBy, ...rest.reasons]);
  if (transactionStatus !== undefined) writer.textField(transactionStatus);
}

function readOutcome(reader: ByteReader, at: bigint, end: number): OutcomeEntry {
  return {
    kind: 'outcome',
    at,
    session: readSession(reader),
    statementNo: Number(reader.int64()),
    requestId: reader.textField(),
    outcome: text(reader) as Outcome,
    tag: reader.textField(),
    rows: reader.int64(),
    bytes: reader.int64(),
    durationUs: reader.int64(),
    sqlstate: reader.textField(),
    approvers: texts(reader),
    ...(reader.position < end ? readRest(reader) : {}),
    ...(reader.position < end ? readStatus(reader) : {}),
  };
}

function readRest(reader: ByteReader): Pick<OutcomeEntry, 'rest'> {
  const fields = reader.textsField();
  if (fields === null) return {};
  const [rank, rule, refusedBy, ...reasons] = fields;
  return {
    rest: {
      class: rank ?? '',
      rule: rule ?? '',
      reasons: reasons.map((reason) => reason ?? ''),
      refusedBy: (refusedBy ?? null) as RestRefusal | null,
    },
  };
}

function readStatus(reader: ByteReader): Pick<OutcomeEntry, 'transactionStatus'> {
  return { transactionStatus: text(reader) as NonNullable<OutcomeEntry['transactionStatus']> };
}

function writeEvent(writer: ByteWriter, entry: EventEntry): void {
  writer.bytesField(entry.session === null ? null : sessionBytes(entry.session));
  writer.textField(entry.requestId);
  writer.textsField(entry.people);
  writer.textField(entry.receipt);
  writer.textsField(Object.entries(entry.detail).flat());
}

function readEvent(reader: ByteReader, kind: EventEntry['kind'], at: bigint): EventEntry {
  const session = reader.bytesField();
  const requestId = reader.textField();
  const people = texts(reader);
  const receipt = reader.textField();
  const pairs = texts(reader);
  const detail: Record<string, string> = {};
  for (let i = 0; i + 1 < pairs.length; i += 2) detail[pairs[i] ?? ''] = pairs[i + 1] ?? '';
  return {
    kind,
    at,
    session: session === null ? null : sessionFrom(session),
    requestId,
    people,
    receipt,
    detail,
  };
}

/** A session's facts are the same object on all its entries: encoded once, kept as long as the object is. */
const encodedSessions = new WeakMap<SessionFacts, Buffer>();

function sessionBytes(session: SessionFacts): Buffer {
  const known = encodedSessions.get(session);
  if (known !== undefined) return known;
  const encoded = Buffer.from(
    JSON.stringify([
      session.sessionId,
      session.agent,
      session.owner,
      session.onBehalfOf,
      session.run,
      session.runVerified,
      session.database,
      session.role,
      session.applicationName,
      session.clientAddress,
      session.tls,
    ]),
  );
  encodedSessions.set(session, encoded);
  return encoded;
}

/** Sessions decoded lately, by their bytes; bounded, because their number is the agents' choice. */
const decodedSessions = new Map<string, SessionFacts>();
const DECODED_SESSIONS = 4_096;

function readSession(reader: ByteReader): SessionFacts {
  const bytes = reader.bytesField();
  if (bytes === null) throw new RangeError('a record without its session');
  return sessionFrom(bytes);
}

/** A session's facts from their bytes in a record. Throws when they are none. */
export function sessionFrom(bytes: Buffer): SessionFacts {
  const key = bytes.toString('latin1');
  const known = decodedSessions.get(key);
  if (known !== undefined) return known;
  const fields: unknown = JSON.parse(bytes.toString('utf8'));
  if (!Array.isArray(fields)) throw new RangeError('a record whose session is not one');
  const string = (i: number) => String(fields[i]);
  const nullable = (i: number) => (typeof fields[i] === 'string' ? fields[i] : null);
  const session: SessionFacts = {
    sessionId: string(0),
    agent: string(1),
    owner: nullable(2),
    onBehalfOf: nullable(3),
    run: nullable(4),
    runVerified: fields[5] === true,
    database: string(6),
    role: string(7),
    applicationName: nullable(8),
    clientAddress: nullable(9),
    tls: fields[10] === true,
  };
  if (decodedSessions.size >= DECODED_SESSIONS) decodedSessions.clear();
  decodedSessions.set(key, session);
  return session;
}

function text(reader: ByteReader): string {
  return reader.textField() ?? '';
}

function texts(reader: ByteReader): string[] {
  return (reader.textsField() ?? []).map((value) => value ?? '');
}

/** The numbers are written to disk: never changed, only added to. */
export const KIND_NUMBERS: Readonly<Record<Entry['kind'], number>> = {
  intent: 1,
  outcome: 2,
  log_start: 3,
  log_stop: 4,
  log_recovered: 5,
  session_start: 6,
  session_end: 7,
  login_refused: 8,
  protocol_violation: 9,
  policy: 10,
  configuration: 11,
  key: 12,
  request_opened: 13,
  verdict: 14,
  verdict_refused: 15,
  request_approved: 16,
  request_denied: 17,
  request_expired: 18,
  request_withdrawn: 19,
  released: 20,
  request_ended: 21,
  audit_read: 26,
  retention: 28,
  redaction: 29,
  legal_hold: 30,
};

const KINDS: readonly (Entry['kind'] | undefined)[] = (() => {
  const kinds: (Entry['kind'] | undefined)[] = [];
  for (const [kind, number] of Object.entries(KIND_NUMBERS)) kinds[number] = kind as Entry['kind'];
  return kinds;
})();
