/** When what came through the proxy is what the server says. */
import { decodeErrorFields, type ErrorFields } from '../../../src/protocol/backend.ts';
import { type Program, showProgramOf } from './generator.ts';
import type { Played } from './lanes.ts';

/** A difference that is known and accepted. */
export type Exception =
  /** The refused statement's own error, in the place of the one that fails by itself. */
  | 'refusal'
  /**
   * Policy is asked before the server looks whether DECLARE is in a transaction (25P01) or whether a Bind has as many
   * parameters as its statement (08P01): the client hears of the denial first.
   */
  | 'refusal said first'
  /** Postgres has lost its own way (an Execute cut short by a Query, say): what it says from then on is not defined. */
  | 'internal error of Postgres'
  /** Postgres looks for the statement that a Bind names before it reads the rest: 26000, where the proxy says 08P01. */
  | 'malformed Bind of a missing statement';

export type Verdict =
  | { readonly same: true; readonly exceptions: readonly Exception[] }
  | { readonly same: false; readonly why: string };

export function compare(mode: 'observe' | 'enforce', direct: Played, proxied: Played): Verdict {
  if (proxied.held) return { same: true, exceptions: [] };
  if (direct.hangs !== null) return { same: false, why: `plain Postgres hangs: ${direct.hangs}` };
  if (proxied.hangs !== null) return { same: false, why: `hangs: ${proxied.hangs}` };
  if ([...direct.frames, ...proxied.frames].some(isInternalError))
    return { same: true, exceptions: ['internal error of Postgres'] };
  const exceptions: Exception[] = [];
  const count = Math.max(direct.frames.length, proxied.frames.length);
  for (let i = 0; i < count; i++) {
    const [a, b] = [direct.frames[i], proxied.frames[i]];
    if (a === undefined || b === undefined) return { same: false, why: `frame ${i} is on one side only` };
    if (a.equals(b) || isEnd(a, b)) continue;
    const exception = mode === 'enforce' ? errorsDiffer(decodedError(a), decodedError(b)) : 'really';
    if (exception === 'really') return { same: false, why: `frame ${i} differs` };
    if (exception !== null) exceptions.push(exception);
  }
  if (direct.closed !== proxied.closed) return { same: false, why: 'closed on one side only' };
  return { same: true, exceptions };
}

/** For a person: the program and both replies, from where they differ. */
export function showDivergence(program: Program, why: string, direct: Played, proxied: Played): string {
  const lines = (played: Played) => [
    ...played.frames.slice(0, SHOWN_FRAMES).map(showFrame),
    ...(played.closed ? ['(closed)'] : []),
    ...(played.hangs === null ? [] : ['(hangs)']),
  ];
  const [a, b] = [lines(direct), lines(proxied)];
  const rows = Array.from({ length: Math.max(a.length, b.length) }, (_, i) =>
    a[i] === b[i] ? `    ${a[i]}` : `  - ${a[i] ?? '(nothing)'}\n  + ${b[i] ?? '(nothing)'}`,
  );
  return [
    why,
    ...showProgramOf(program).map((line) => `  F ${line}`),
    '  replies (- plain, + proxy):',
    ...rows,
  ].join('\n');
}

const SHOWN_FRAMES = 40;

function isInternalError(frame: Buffer): boolean {
  return frame[0] === 0x45 && frame.includes('\0CXX000\0') && !frame.includes('countersign');
}

/** The two plays have ends of their own. */
function isEnd(a: Buffer, b: Buffer): boolean {
  return a[0] === 0x44 && b[0] === 0x44 && END.test(a.toString('latin1')) && END.test(b.toString('latin1'));
}
const END = /end \d+$/;

function decodedError(frame: Buffer): ErrorFields | null {
  return frame[0] === 0x45 ? decodeErrorFields(frame) : null;
}

/** Errors of the proxy's own words do not name the server's source. */
const SOURCE = new Set(['F', 'L', 'R']);

function errorsDiffer(direct: ErrorFields | null, proxied: ErrorFields | null): Exception | 'really' | null {
  if (direct === null || proxied === null) return 'really';
  if (refusedByPolicy(proxied) && genuine(direct)) return 'refusal';
  if (refusedByPolicy(proxied) && LATER.has(direct['C'] ?? '')) return 'refusal said first';
  if (direct['C'] === '26000' && proxied['M'] === 'insufficient data left in message')
    return 'malformed Bind of a missing statement';
  const names = new Set([...Object.keys(direct), ...Object.keys(proxied)]);
  for (const name of names) if (!SOURCE.has(name) && direct[name] !== proxied[name]) return 'really';
  return null;
}

export function refusedByPolicy(error: ErrorFields): boolean {
  return (
    error['C'] === '42501' && /^countersign: (?:denied by policy|the function call)/.test(error['M'] ?? '')
  );
}

const LATER = new Set(['08P01', '25P01']);

/** What the texts in the refused ones' place say. */
function genuine(error: ErrorFields): boolean {
  return (
    error['C'] === '22012' ||
    error['C'] === '42883' ||
    (error['C'] === '42P01' && error['M']?.includes('"missing"') === true)
  );
}

function showFrame(frame: Buffer): string {
  const type = String.fromCharCode(frame[0] ?? 0);
  if (type === 'E' || type === 'N')
    return `B ${type} ${Object.entries(decodeErrorFields(frame))
      .filter(([name]) => !SOURCE.has(name))
      .map(([name, value]) => `${name}=${value}`)
      .join(' | ')}`;
  return `B ${type} ${JSON.stringify(frame.toString('latin1', 5))}`;
}
