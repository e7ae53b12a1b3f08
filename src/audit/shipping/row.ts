import { type Content, type Row, SCHEMA_VERSION } from '../chain/canonical.ts';
import { contentHash } from '../chain/chain.ts';
import type { Entry, EventEntry, IntentEntry, OutcomeEntry, RestFacts, SessionFacts } from '../entry.ts';

/** A row before its hash: what is hashed, and what the commitment `content` stands for. */
export type EntryRow = { readonly row: Row; readonly content: Content | null };

/**
 * The row that an entry becomes. `salt` (16 bytes, of this entry alone) hides text and parameters once they are erased.
 * Characters that Postgres' text cannot hold are replaced, so that no statement can stop the log.
 */
export function entryRow(entry: Entry, stream: string, seq: bigint, salt: Buffer): EntryRow {
  switch (entry.kind) {
    case 'intent':
      return intentRow(entry, stream, seq, salt);
    case 'outcome':
      return { row: outcomeRow(entry, stream, seq), content: null };
    default:
      return { row: eventRow(entry, stream, seq), content: null };
  }
}

function intentRow(entry: IntentEntry, stream: string, seq: bigint, salt: Buffer): EntryRow {
  const content: Content = {
    salt,
    sql: storable(entry.sql),
    sql_sha256: entry.sqlSha256,
    parameters: entry.parameters === null ? null : entry.parameters.map(storableOrNull),
  };
  const row: Row = {
    ...EMPTY,
    stream,
    seq,
    at: entry.at,
    kind: entry.kind,
    ...sessionColumns(entry.session),
    statement_no: BigInt(entry.statementNo),
    content: contentHash(content),
    class: entry.class,
    decision: entry.decision,
    rule: storable(entry.rule),
    reasons: entry.reasons.map(storable),
    relations: entry.relations.map(storable),
    request_id: storableOrNull(entry.requestId),
    policy_digest: storable(entry.policyDigest),
    detail: intentDetail(entry),
  };
  return { row, content };
}

/** Where nothing was observed, `BatchEncoder` makes the same of the record's bytes. */
function intentDetail({ observed, facts, fingerprint }: IntentEntry): string[] | null {
  if (observed === undefined && facts === undefined && fingerprint === undefined) return null;
  const detail: string[] = [];
  if (observed !== undefined)
    detail.push('observed_rule', storable(observed.rule), 'observed_decision', observed.decision);
  if (facts !== undefined) detail.push('facts', storable(facts));
  if (fingerprint !== undefined) detail.push('fingerprint', storable(fingerprint));
  return detail;
}

/** Who and where stand in the intent; the outcome names it by session and number. */
function outcomeRow(entry: OutcomeEntry, stream: string, seq: bigint): Row {
  return {
    ...EMPTY,
    stream,
    seq,
    at: entry.at,
    kind: entry.kind,
    session_id: storable(entry.session.sessionId),
    statement_no: BigInt(entry.statementNo),
    request_id: storableOrNull(entry.requestId),
    outcome: entry.outcome,
    tag: storableOrNull(entry.tag),
    rows: entry.rows,
    bytes: entry.bytes,
    duration_us: entry.durationUs,
    sqlstate: storableOrNull(entry.sqlstate),
    people: entry.approvers.map(storable),
    detail: outcomeDetail(entry),
  };
}

/** Where the status alone is there, `BatchEncoder` makes the same of the record's bytes. */
function outcomeDetail({ rest, transactionStatus }: OutcomeEntry): string[] | null {
  if (rest === undefined && transactionStatus === undefined) return null;
  return [
    ...(rest === undefined ? [] : restDetail(rest)),
    ...(transactionStatus === undefined ? [] : [STATUS_DETAIL, transactionStatus]),
  ];
}

/** Its name in `detail`. */
export const STATUS_DETAIL = 'transaction_status';

function restDetail({ class: rank, rule, reasons, refusedBy }: RestFacts): string[] {
  return [
    'rest_class',
    rank,
    'rest_rule',
    storable(rule),
    'rest_reasons',
    JSON.stringify(reasons.map(storable)),
    ...(refusedBy === null ? [] : ['rest_refused_by', refusedBy]),
  ];
}

function eventRow(entry: EventEntry, stream: string, seq: bigint): Row {
  return {
    ...EMPTY,
    stream,
    seq,
    at: entry.at,
    kind: entry.kind,
    ...(entry.session === null ? {} : sessionColumns(entry.session)),
    request_id: storableOrNull(entry.requestId),
    people: entry.people.map(storable),
    receipt: storableOrNull(entry.receipt),
    detail: Object.entries(entry.detail).flatMap(([name, value]) => [storable(name), storable(value)]),
  };
}

/** A session's columns, in the order of the canonical form. */
export function sessionColumns(session: SessionFacts) {
  return {
    session_id: storable(session.sessionId),
    agent: storable(session.agent),
    owner: storableOrNull(session.owner),
    on_behalf_of: storableOrNull(session.onBehalfOf),
    run: storableOrNull(session.run),
    run_verified: session.runVerified,
    database: storable(session.database),
    role: storable(session.role),
    application_name: storableOrNull(session.applicationName),
    client_address: storableOrNull(session.clientAddress),
    tls: session.tls,
  };
}

function storableOrNull(text: string | null): string | null {
  return text === null ? null : storable(text);
}

/** Attacker-controlled text: NUL becomes its picture U+2400. (A lone surrogate is U+FFFD in UTF-8, here and there.) */
function storable(text: string): string {
  return text.includes('\0') ? text.replaceAll('\0', '\u2400') : text;
}

const EMPTY: Row = {
  version: SCHEMA_VERSION,
  stream: '',
  seq: 0n,
  at: 0n,
  kind: '',
  session_id: null,
  agent: null,
  owner: null,
  on_behalf_of: null,
  run: null,
  run_verified: null,
  database: null,
  role: null,
  application_name: null,
  client_address: null,
  tls: null,
  statement_no: null,
  content: null,
  class: null,
  decision: null,
  rule: null,
  reasons: null,
  relations: null,
  request_id: null,
  policy_digest: null,
  outcome: null,
  tag: null,
  rows: null,
  bytes: null,
  duration_us: null,
  sqlstate: null,
  people: null,
  receipt: null,
  detail: null,
};
