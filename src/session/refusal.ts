/**
 * Refusing like Postgres: the refused message is replaced by one that the server is certain to reject with our
 * marker, and that one ErrorResponse gets our fields. Order, skip-until-Sync, transaction abort and ReadyForQuery
 * are then the server's own.
 */
import { serialize } from 'pg-protocol';
import { decodeErrorFields, type ErrorFields, encodeError, encodeFrame } from '../protocol/backend.ts';
import { FRONTEND } from '../protocol/frontend.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';

export type Refusal = {
  /** `cs:<session>:<n>`, at most 63 bytes: the name of a column that does not exist. */
  readonly marker: string;
  /** What the client is told: C, M, and D, H, P where there is something to say. */
  readonly fields: ErrorFields;
  /**
   * The server looks for this mistake before it looks whether the transaction has failed (a syntax error, a name that is
   * not there, a malformed message): the client gets `fields` in a failed transaction too.
   */
  readonly first: boolean;
  readonly position: 'query' | 'malformedQuery' | 'functionCall' | 'parse' | 'bind' | 'inGroup';
};

/** Leaves the client's unnamed statement alone, and cannot succeed even if the client made a statement of that name. */
export const RESERVED_NAME = '\u0001cs';

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

/** Instead of a Query that is malformed, which destroys nothing either: one without a text. */
export function substituteMalformedQuery(): Buffer {
  return encodeFrame(FRONTEND.query, Buffer.alloc(0));
}

/**
 * Instead of a FunctionCall, which, unlike a Query, leaves the unnamed statement alone: there is no function with that
 * number, and none can be made.
 */
export function substituteFunctionCall(): Buffer {
  return encodeFrame(FRONTEND.functionCall, Buffer.alloc(10));
}

/**
 * Instead of a Bind: a statement of ours, bound to the same portal with the marker for a number. Like a Bind that fails by
 * itself, that first asks whether the transaction has failed and the portal's name is free, and destroys the unnamed one.
 */
export function substituteBind(portal: string, refusal: Refusal): readonly [Buffer, Buffer, Buffer] {
  const marker = Buffer.from(refusal.marker);
  const length = Buffer.alloc(4);
  length.writeInt32BE(marker.length);
  const names = Buffer.from(`${portal}\0${RESERVED_NAME}\0`, 'latin1');
  const sql = 'SELECT $1::pg_catalog.int4';
  return [
    closeOwn(),
    serialize.parse({ name: RESERVED_NAME, text: sql, types: [] }),
    encodeFrame(FRONTEND.bind, Buffer.concat([names, ONE_TEXT, length, marker, ANY_RESULT])),
  ];
}

/** Takes away the statement of ours that a refused Bind has left. */
export function closeOwn(): Buffer {
  return serialize.close({ type: 'S', name: RESERVED_NAME });
}

/** Bind: no formats, one parameter; at its end, no result formats. */
const ONE_TEXT = Buffer.from([0, 0, 0, 1]);
const ANY_RESULT = Buffer.from([0, 0]);

/** Instead of an Execute, or of what is wrong before anything else is looked at. */
export function substituteInGroup(refusal: Refusal): Buffer {
  return substituteParse(RESERVED_NAME, refusal);
}

/**
 * Our error in place of the server's, iff this is the server's answer to the marker; null: the server refused for a
 * reason of its own (25P02, 57014, FATAL) and its answer goes on unchanged.
 */
export function rewriteError(frame: Buffer, refusal: Refusal): Buffer | null {
  const fields = decodeErrorFields(frame);
  if (fields['C'] !== rejectionOf(refusal)) return null;
  // Some have no place for the marker, but only one such error to give.
  const marked = refusal.position !== 'functionCall' && refusal.position !== 'malformedQuery';
  if (marked && !fields['M']?.includes(refusal.marker)) return null;
  return encodeError({ S: fields['S'] ?? 'ERROR', V: 'ERROR', ...refusal.fields });
}

function rejectionOf({ position, first }: Refusal): string {
  if (position === 'functionCall') return SQLSTATE.undefinedFunction;
  if (position === 'malformedQuery') return SQLSTATE.protocolViolation;
  if (position === 'bind') return SQLSTATE.invalidTextRepresentation;
  return first ? SQLSTATE.syntaxError : SQLSTATE.undefinedColumn;
}

/** A column that does not exist; or, where nothing may come first, what no grammar accepts. */
function markerSql({ marker, first }: Refusal): string {
  return first ? `"${marker}"` : `SELECT "${marker}"`;
}
