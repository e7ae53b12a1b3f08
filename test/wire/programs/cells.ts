/** The reply ledger's transitions: which backend message may come while which frontend message is the oldest unanswered. */
import type { EntryKind } from '../../../src/session/ledger.ts';
import type { Decoded } from './decoder.ts';
import type { Kind, Message } from './message.ts';

/** `nothing`: everything has been answered. CopyDone and CopyFail that were sent ahead are never the oldest. */
export type Head = Exclude<EntryKind, 'copyEnd'> | 'nothing';

/** The manual's answers (Message Flow; `E` is an error that does not end the session), then what may come at any time. */
export const LEGAL: Readonly<Record<Head, string>> = {
  parse: '1E',
  bind: '2E',
  describe: 'tTnE',
  execute: 'DCsIGHdcE',
  close: '3E',
  query: 'TDCIGHdcEZ',
  sync: 'ZE',
  functionCall: 'VEZ',
  copyProbe: 'EZ3',
  nothing: 'E',
};
export const ANY_TIME = 'NSA';

/** Cells that no program can make a server show at will; `test/session/ledger.test.ts` plays every cell. */
export const PLAYED_ONLY: Readonly<Partial<Record<Head, string>>> = {
  // An error of Close can only be a malformed one, which the proxy answers by a Parse of its own.
  close: 'ENSA',
  // Notices, settings and notifications need something to run at that very moment.
  parse: 'SA',
  bind: 'SA',
  describe: 'NSA',
  functionCall: 'NSA',
  // Settings are told of just before ReadyForQuery.
  execute: 'SA',
  query: 'A',
  sync: 'NA',
  // The proxy's own messages after a failed COPY: these answers stay with it.
  copyProbe: 'EZ3NSA',
  // A timeout between two messages.
  nothing: 'ENSA',
};

export class Cells {
  readonly #seen = new Map<string, number>();

  add(head: Head, type: string, count = 1): void {
    const cell = `${head} ${type}`;
    this.#seen.set(cell, (this.#seen.get(cell) ?? 0) + count);
  }

  has(head: Head, type: string): boolean {
    return this.#seen.has(`${head} ${type}`);
  }

  /** Every frame of a play, by the message that it answers. */
  addPlay(sent: readonly Message[], frames: readonly Buffer[], { owners }: Decoded): void {
    for (const [i, frame] of frames.entries()) {
      const kind = sent[owners[i] ?? -1]?.kind;
      const head = kind === undefined ? undefined : HEADS[kind];
      if (head !== undefined) this.add(head, String.fromCharCode(frame[0] ?? 0));
    }
  }

  addAll(other: Cells): void {
    for (const [cell, count] of other.#seen) this.#seen.set(cell, (this.#seen.get(cell) ?? 0) + count);
  }

  /** Legal cells that were not seen and that a server shows at will. */
  missing(): readonly string[] {
    return legalCells()
      .filter(({ head, type }) => PLAYED_ONLY[head]?.includes(type) !== true)
      .map(({ head, type }) => `${head} ${type}`)
      .filter((cell) => !this.#seen.has(cell));
  }

  illegal(): readonly string[] {
    const legal = new Set(legalCells().map(({ head, type }) => `${head} ${type}`));
    return [...this.#seen.keys()].filter((cell) => !legal.has(cell));
  }

  table(): string {
    const lines = HEAD_NAMES.map((head) => {
      const cells = [...LEGAL[head], ...ANY_TIME].map((type) => {
        const seen = this.#seen.get(`${head} ${type}`);
        if (seen !== undefined) return `${type}:${seen}`;
        return PLAYED_ONLY[head]?.includes(type) === true ? `(${type})` : `${type}:MISSING`;
      });
      return `  ${head.padEnd(13)}${cells.join(' ')}`;
    });
    return ['  oldest       answers seen; in brackets: played by test/session/ledger.test.ts', ...lines].join(
      '\n',
    );
  }
}

export function legalCells(): readonly { readonly head: Head; readonly type: string }[] {
  return HEAD_NAMES.flatMap((head) => [...LEGAL[head], ...ANY_TIME].map((type) => ({ head, type })));
}

export const HEAD_NAMES = Object.keys(LEGAL) as readonly Head[];
const HEADS: Readonly<Partial<Record<Kind, Head>>> = {
  P: 'parse',
  B: 'bind',
  DS: 'describe',
  DP: 'describe',
  E: 'execute',
  C: 'close',
  Q: 'query',
  S: 'sync',
  F: 'functionCall',
};
