/**
 * Refusing like Postgres: the refused message is replaced by one that the server is certain to reject with our
 * marker, and that one ErrorResponse gets our fields. Order, skip-until-Sync, transaction abort and ReadyForQuery
 * are then the server's own.
 */
import { serialize } from 'pg-protocol';
import { decodeErrorFields, type ErrorFields, encodeError } from '../protocol/backend.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';

export type Refusal = {
  /** `cs:<session>:<n>`, at most 63 bytes: the name of a column that does not exist. */
  readonly marker: string;
  /** What the client is told: C, M, and D, H, P where there is something to say. */
  readonly fields: ErrorFields;
};

/** Leaves the client's unnamed statement alone, and cannot succeed even if the client made a statement of that name. */
const RESERVED_NAME = '\u0001cs';

/** Instead of a Query: nothing of the string runs, as with a syntax error anywhere in it. */
export function substituteQuery(refusal: Refusal): Buffer {
  return serialize.query(markerSql(refusal));
}

/** Instead of a Parse: the unnamed statement is destroyed and an existing named one survives, as in Postgres. */
export function substituteParse(name: string, refusal: Refusal): Buffer {
  // Names are kept as latin1 keys; the bytes must reach the server as the client sent them.
  const frame = serialize.parse({ name: '', text: markerSql(refusal), types: [] });
  if (name === '') return frame;
  const bytes = Buffer.from(name, 'latin1');
  const named = Buffer.allocUnsafe(frame.length + bytes.length);
  frame.copy(named, 0, 0, 5);
  bytes.copy(named, 5);
  frame.copy(named, 5 + bytes.length, 5);
  named.writeInt32BE(named.length - 1, 1);
  return named;
}

/** Instead of a Bind or an Execute. */
export function substituteInGroup(refusal: Refusal): Buffer {
  return substituteParse(RESERVED_NAME, refusal);
}

/**
 * Our error in place of the server's, iff this is the server's answer to the marker; null: the server refused for a
 * reason of its own (25P02, 57014, FATAL) and its answer goes on unchanged.
 */
export function rewriteError(frame: Buffer, refusal: Refusal): Buffer | null {
  const fields = decodeErrorFields(frame);
  if (fields['C'] !== SQLSTATE.undefinedColumn || !fields['M']?.includes(refusal.marker)) return null;
  return encodeError({ S: fields['S'] ?? 'ERROR', V: 'ERROR', ...refusal.fields });
}

function markerSql(refusal: Refusal): string {
  return `SELECT "${refusal.marker}"`;
}
