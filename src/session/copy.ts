/** COPY FROM STDIN: what the client may send before, in and after it (manual, "COPY Operations"). */
import { FRONTEND } from '../protocol/frontend.ts';
import type { Analysis } from '../statement/analysis.ts';
import type { LedgerEntry } from './ledger.ts';
import type { Run } from './run.ts';
import type { CopyIn, SessionState } from './state.ts';

/** What may be sent while COPY data are expected. */
export const COPY_MESSAGES: ReadonlySet<number> = new Set([
  FRONTEND.copyData,
  FRONTEND.copyDone,
  FRONTEND.copyFail,
  FRONTEND.flush,
  FRONTEND.sync,
  FRONTEND.terminate,
]);

/** May ask for COPY data. COPY from a file does not, and then only what is pipelined behind it waits a moment. */
export function takesCopyData(analysis: Analysis): boolean {
  // Nobody knows what it is.
  if (analysis.syntaxError !== null) return true;
  for (const { command } of analysis.statements) if (isCopyFrom(command)) return true;
  return false;
}

export function isCopyFrom(command: string): boolean {
  return command === 'COPY FROM';
}

/** One string can hold several. */
export function startCopy(state: SessionState, entry: LedgerEntry): void {
  const copies =
    entry.unparsed && entry.kind === 'query'
      ? Number.POSITIVE_INFINITY
      : entry.runs.filter(({ copyIn }) => copyIn).length;
  state.copy = newCopy(entry, Math.max(0, copies - 1));
}

function newCopy(entry: LedgerEntry, left: number): CopyIn {
  return { entry, open: false, closed: false, bytes: 0, left };
}

/**
 * What follows the end of one COPY's data may belong to the string's next COPY, or not; and while it is not known which
 * Sync messages the COPY ate, no later one can be told from them. It waits.
 */
export function placeUnknown({ ledger }: SessionState, copy: CopyIn): boolean {
  return copy.closed && (copy.left > 0 || ledger.some(({ inCopy }) => inCopy));
}

/** The server takes COPY data, and no word is due for the end of them. */
export function copyOpened(state: SessionState, copy: CopyIn): void {
  copy.open = true;
  const isEnd = (entry: LedgerEntry) => entry.kind === 'copyEnd';
  state.ledger.removeBehindHead(isEnd, isEnd);
}

/** The server waits for data of a COPY whose end was not sent: without that it takes none of them. */
export function neverEnded({ copy }: SessionState, run: Run): boolean {
  if (copy === null || !copy.open || copy.closed || !copy.entry.runs.includes(run)) return false;
  return run.copyIn && (run.state === 'sent' || run.state === 'bound');
}

/** The COPY statement is complete; each Sync among its data was eaten, if it took any. */
export function copyCompleted(state: SessionState, copy: CopyIn): void {
  if (copy.open) forgetSyncs(state);
  state.copy = copy.left > 0 ? newCopy(copy.entry, copy.left - 1) : null;
}

/** Each Sync that was sent before the end of the COPY data. */
export function forgetSyncs({ ledger }: SessionState): void {
  ledger.removeBehindHead(
    ({ inCopy }) => inCopy,
    () => false,
  );
}

/** It failed, or was never reached: its data are read over, and the end of them has no meaning. */
export function copyFailed(state: SessionState): void {
  state.copy = null;
  state.ledger.removeBehindHead(
    (entry) => entry.kind === 'copyEnd',
    () => false,
  );
}
