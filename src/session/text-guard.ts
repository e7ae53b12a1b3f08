/**
 * The text of an error or a notice can carry data out as a row does (`invalid input syntax for type integer: "…"`). It
 * counts; where a long one does not fit, its words are left out and what kind of error it is stays.
 */
import {
  BACKEND,
  decodeErrorFields,
  type ErrorFields,
  encodeError,
  encodeNotice,
} from '../protocol/backend.ts';
import { countText } from './budget.ts';
import { type Moved, positionBefore } from './listing.ts';
import { passedOf } from './row-guard.ts';
import type { Run } from './run.ts';

/** Bytes that always pass, and count: what the server says of common mistakes. */
const SHORT = 1_024;
const HEADER = 5;

/** What goes to the client: the server's frame, or another in its place. `rows`: that it may tell of. */
export function passText(
  run: Run | undefined,
  frame: Buffer,
  rows: number,
): 'pass' | { readonly replace: Buffer } {
  const bytes = frame.length - HEADER;
  if (run === undefined || bytes <= SHORT || fits(run, rows, bytes)) {
    countText(run, frame, rows);
    return 'pass';
  }
  const { S = 'ERROR', V = S, C = 'XX000' } = decodeErrorFields(frame);
  const fields = {
    ...{ S, V, C },
    M: `countersign: the server's message of ${bytes} bytes was left out: it is longer than what may still be read`,
    H: 'Messages can carry data, so they count as results do. Ask for less, or have the statement approved.',
  };
  return { replace: frame[0] === BACKEND.error ? encodeError(fields) : encodeNotice(fields) };
}

/** The same of an error whose Query was not sent as the client wrote it: a position is one in the client's text. */
export function passError(
  run: Run | undefined,
  frame: Buffer,
  fields: ErrorFields,
  moved: readonly Moved[],
): 'pass' | { readonly replace: Buffer } {
  const passed = passText(run, frame, 1);
  if (passed !== 'pass' || moved.length === 0 || fields['P'] === undefined) return passed;
  return { replace: encodeError({ ...fields, P: String(positionBefore(moved, Number(fields['P']))) }) };
}

function fits(run: Run, rows: number, bytes: number): boolean {
  const { guard, meter } = run;
  if (guard !== null && passedOf(run).bytes + bytes > guard.bytes) return false;
  return meter === null || meter.fits(rows, bytes);
}
