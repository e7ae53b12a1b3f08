/**
 * `SHOW countersign.requests`: the one text that goes upstream in another form than it was sent in. A SELECT over a
 * constant stands in its place, in the same message, so that order of replies, Describe, 25P02 and ReadyForQuery are the
 * server's own. What agents wrote is in that constant, encoded: nothing of it is read as SQL, whatever the settings.
 */
import { serialize } from 'pg-protocol';
import type { OwnRequest } from '../approval/port.ts';
import { encodeFrame } from '../protocol/backend.ts';
import { FRONTEND } from '../protocol/frontend.ts';
import type { Analysis } from '../statement/analysis.ts';
import { asksForOwnRequests } from '../statement/own-requests.ts';
import { RESERVED_NAME } from './refusal.ts';
import { nextOf } from './wording-requests.ts';

/** A part of a Query that was exchanged; characters, from 0. */
export type Moved = {
  /** Where it stood in the client's text. */
  readonly from: number;
  /** Where what is sent in its place stands in what is sent. */
  readonly start: number;
  readonly end: number;
  /** How much longer that is. */
  readonly by: number;
};
export const UNMOVED: readonly Moved[] = [];

export function asksForRequests({ statements }: Analysis): boolean {
  return statements.some(asksForOwnRequests);
}

/** A Query with what is sent in place of each SHOW; all else of its text stays as it is, byte for byte. */
export function listingQuery(
  sql: Buffer,
  { statements }: Analysis,
  select: string,
): { readonly frame: Buffer; readonly moved: readonly Moved[] } {
  const parts: Buffer[] = [];
  const moved: Moved[] = [];
  const length = select.length;
  let at = 0;
  let by = 0;
  for (const statement of statements) {
    if (!asksForOwnRequests(statement)) continue;
    const { start, end } = statement;
    parts.push(sql.subarray(at, start), Buffer.from(select, 'latin1'));
    at = end;
    const from = characters(sql.subarray(0, start));
    const more = length - characters(sql.subarray(start, end));
    moved.push({ from, start: from + by, end: from + by + length, by: more });
    by += more;
  }
  parts.push(sql.subarray(at), NUL);
  return { frame: encodeFrame(FRONTEND.query, Buffer.concat(parts)), moved };
}

/** A Parse of one such SHOW. Its result is empty until it is bound. */
export function listingParse(frame: Buffer): Buffer {
  const text = frame.indexOf(0, HEADER) + 1;
  const rest = frame.subarray(frame.indexOf(0, text));
  const body = [frame.subarray(HEADER, text), Buffer.from(listingSql([], true), 'latin1'), rest];
  return encodeFrame(FRONTEND.parse, Buffer.concat(body));
}

/** Of our own: the statement with its result, and a Bind of that which is otherwise the client's. */
export function listingBind(
  frame: Buffer,
  types: readonly number[],
  select: string,
): readonly [Buffer, Buffer] {
  const portal = frame.indexOf(0, HEADER) + 1;
  const rest = frame.subarray(frame.indexOf(0, portal));
  return [
    serialize.parse({ name: RESERVED_NAME, text: select, types: [...types] }),
    encodeFrame(
      FRONTEND.bind,
      Buffer.concat([frame.subarray(HEADER, portal), Buffer.from(RESERVED_NAME), rest]),
    ),
  ];
}

/** The position that an error names (1-based), in the text that the client sent. */
export function positionBefore(moved: readonly Moved[], position: number): number {
  let by = 0;
  for (const part of moved) {
    if (position <= part.start) break;
    if (position <= part.end) return part.from + 1;
    by += part.by;
  }
  return position - by;
}

/**
 * The SELECT, plain ASCII. Its functions and types are Postgres' own, whatever search_path is. `ascii`: the database's
 * encoding may have no other characters; those become `<U+00E9>`.
 */
export function listingSql(requests: readonly OwnRequest[], ascii: boolean): string {
  const rows = JSON.stringify(requests.map(rowOf));
  const text = ascii ? rows.replace(/[^\x20-\x7e]/gu, codePoint) : rows;
  const constant = Buffer.from(text, 'utf8').toString('base64');
  const columns = COLUMNS.map(([name, type]) => `"${name}" pg_catalog.${type}`).join(', ');
  return `SELECT * FROM pg_catalog.json_to_recordset(pg_catalog.convert_from(pg_catalog.decode('${constant}', 'base64'), 'UTF8')::pg_catalog.json) AS "requests" (${columns})`;
}

const COLUMNS = [
  ['id', 'text'],
  ['state', 'text'],
  ['statement', 'text'],
  ['parameters', 'text'],
  ['database', 'text'],
  ['why', 'text'],
  ['created', 'timestamptz'],
  ['expires', 'timestamptz'],
  ['url', 'text'],
  ['next', 'text'],
] as const;

function rowOf(request: OwnRequest): Readonly<Record<(typeof COLUMNS)[number][0], string | null>> {
  return {
    id: request.id,
    state: request.state,
    statement: request.sql,
    parameters: request.parameters,
    database: request.database,
    why: `${request.class}: ${request.reasons.join('; ')} (rule ${request.rule})`,
    created: request.createdAt.toISOString(),
    expires: request.expiresAt.toISOString(),
    url: request.url,
    next: nextOf(request),
  };
}

function codePoint(character: string): string {
  return `<U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}>`;
}

/** Of UTF-8. */
function characters(text: Buffer): number {
  let count = 0;
  for (const byte of text) if ((byte & 0xc0) !== 0x80) count += 1;
  return count;
}

const HEADER = 5;
const NUL = Buffer.of(0);
