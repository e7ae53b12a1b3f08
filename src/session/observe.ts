/**
 * Observe mode: everything is relayed, also what cannot be read or was made by what could not be read. It is recorded
 * as what it would have been.
 */
import type { Analysis } from '../statement/analysis.ts';
import { unreadable } from '../statement/unreadable.ts';
import { asksForRequests } from './listing.ts';
import { type Prepared, type SessionState, scopeOf } from './state.ts';
import type { Subject } from './subject.ts';

const NO_TEXT = Buffer.alloc(0);

/** What a statement says that the server reads in another way than we do. */
export function readOtherwise(state: SessionState, sql: Buffer): Analysis {
  const names = [...state.unpinned].join(' and ');
  const why =
    names === ''
      ? 'a pinned setting may have been changed just before'
      : `the server reads it otherwise: ${names} is not what it is pinned to`;
  return unreadable({ sql, cause: 'settings', message: why, position: null });
}

/**
 * In mode observe, behind a change of settings: the analysis of a text that asks for the list and reads the same under all
 * of them, being ASCII without quotes, backslashes and dollars. Null: it is none.
 */
export function ownListing(state: SessionState, sql: Buffer): Analysis | null {
  if (sql.length > LONGEST_PLAIN) return null;
  const text = sql.toString('latin1');
  if (!/^[\t\r\n -~]*$/.test(text) || /["'\\$]/.test(text) || !/countersign\.requests/i.test(text))
    return null;
  const analysis = state.setup.analyse(sql, scopeOf(state), !state.catalogUncertain, null);
  return analysis !== null && asksForRequests(analysis) ? analysis : null;
}

const LONGEST_PLAIN = 1_000;

/** A prepared statement that nobody saw being made. */
export function unseenPrepared(): Prepared {
  return {
    sql: NO_TEXT,
    parameterTypes: [],
    analysis: unseen('a prepared statement'),
    scopeKey: null,
    sentUnder: '',
    lists: false,
    bySql: false,
  };
}

/** A portal that nobody saw being made. */
export function unseenPortal(): Subject {
  const analysis = unseen('a portal');
  return { sql: NO_TEXT, analysis, parameters: null, resultFormats: [], scopeKey: '', named: [] };
}

function unseen(what: string): Analysis {
  const message = `${what} that was made by something not understood, or is not there`;
  return unreadable({ sql: NO_TEXT, cause: 'settings', message, position: null });
}

/** The fast path: what the log gets of it in place of a text. */
export function functionCallSubject(frame: Buffer): Subject {
  const oid = frame.length >= 9 ? frame.readUInt32BE(5) : 0;
  const sql = Buffer.from(`-- function call protocol: function ${oid}`);
  const message = 'the function call protocol calls functions without any SQL text';
  const analysis = unreadable({ sql, cause: 'settings', message, position: null });
  return { sql, analysis, parameters: null, resultFormats: [], scopeKey: '', named: [] };
}
