/**
 * The manual's message flow as a reader: from what was sent and what came back, which answer belongs to which message.
 * It knows nothing of the proxy, so it also says what a program has really reached.
 */
import type { Kind, Message } from './message.ts';

/** What became of a message. */
export type Fate =
  /** The server did what it does for it. */
  | 'done'
  /** It failed. */
  | 'failed'
  /** Discarded, after an error, up to the next Sync. */
  | 'skipped'
  /** Read as part of COPY data. */
  | 'eaten'
  /** The connection had ended. */
  | 'unread';

export type Decoded = {
  readonly fates: readonly Fate[];
  /** For each frame, the message that it answers; -1 where there is none. */
  readonly owners: readonly number[];
  /** For each message, how many frames a client can wait for after it; undefined where none need come. */
  readonly waits: readonly (number | undefined)[];
};

type Step = { readonly message: number; readonly frame: number; readonly skipping: boolean };
const ASYNC = new Set(['N', 'S', 'A']);

/** Null: these are not the answers to those messages. */
export function decode(sent: readonly Message[], frames: readonly Buffer[]): Decoded | null {
  return new Reader(
    sent.map(({ kind }) => kind),
    frames,
  ).read({ message: 0, frame: 0, skipping: false });
}

class Reader {
  readonly #sent: readonly Kind[];
  readonly #types: readonly string[];
  readonly #fatal: readonly boolean[];
  readonly #fates: Fate[] = [];
  readonly #owners: number[] = [];
  readonly #waits: (number | undefined)[] = [];

  constructor(sent: readonly Kind[], frames: readonly Buffer[]) {
    this.#sent = sent;
    this.#types = frames.map((frame) => String.fromCharCode(frame[0] ?? 0));
    this.#fatal = frames.map((frame) => frame[0] === 0x45 && frame.includes('VFATAL\0'));
  }

  read(from: Step): Decoded | null {
    let at: Step = from;
    while (at.message < this.#sent.length) {
      const kind = this.#sent[at.message];
      const ended = this.#end(at);
      if (ended !== null) return ended;
      if (kind === 'X') {
        this.#fates[at.message] = 'done';
        return this.#finished({ ...at, message: at.message + 1 });
      }
      if (kind === undefined || (at.skipping && kind !== 'S')) {
        this.#fates[at.message] = 'skipped';
        this.#waits[at.message] = kind === 'H' ? at.frame : undefined;
        at = { ...at, message: at.message + 1 };
        continue;
      }
      const next = this.#one(kind, at);
      if (next === null) return null;
      if ('fates' in next) return next;
      at = next;
    }
    return this.#finished(at);
  }

  /** FATAL, whatever it comes upon: nothing more is read. */
  #end(at: Step): Decoded | null {
    const frame = this.#sync(at);
    if (this.#fatal[frame] !== true) return null;
    this.#owners[frame] = -1;
    for (let i = at.message; i < this.#sent.length; i++) this.#fates[i] = 'unread';
    return frame + 1 === this.#types.length ? this.#result() : null;
  }

  #finished(at: Step): Decoded | null {
    return this.#sync(at) === this.#types.length ? this.#result() : null;
  }

  #result(): Decoded {
    return { fates: [...this.#fates], owners: [...this.#owners], waits: [...this.#waits] };
  }

  /** Past what may come at any time; it is noted with the message that is answered next. */
  #sync({ message, frame }: { readonly message: number; readonly frame: number }): number {
    let i = frame;
    for (; ASYNC.has(this.#types[i] ?? ''); i++) this.#owners[i] = message;
    return i;
  }

  #take(at: Step, type: string): Step | null {
    const frame = this.#sync(at);
    if (this.#types[frame] !== type) return null;
    this.#owners[frame] = at.message;
    return { ...at, frame: frame + 1 };
  }

  #one(kind: Kind, at: Step): Step | Decoded | null {
    switch (kind) {
      case 'P':
        return this.#simple(at, '1');
      case 'B':
        return this.#simple(at, '2');
      case 'C':
        return this.#simple(at, '3');
      case 'DS': {
        const described = this.#take(at, 't');
        return this.#simple(described ?? at, described === null ? '' : 'Tn');
      }
      case 'DP':
        return this.#simple(at, 'Tn');
      case 'E':
        return this.#results(at, at.message, false);
      case 'Q':
        return this.#results(at, at.message, true);
      case 'S':
      case 'F':
        return this.#ready(at, at.message, kind === 'F' ? 'V' : '');
      case 'H':
        return this.#done(at, at.message, 'done', at.frame);
      case 'H!':
        return this.#simple(at, '');
      default:
        return this.#done(at, at.message, 'done', undefined);
    }
  }

  /** One answer of these, or an error and what it skips. */
  #simple(at: Step, types: string): Step | null {
    for (const type of types) {
      const taken = this.#take(at, type);
      if (taken !== null) return this.#done(taken, at.message, 'done', undefined);
    }
    const failed = this.#take(at, 'E');
    return failed && { ...this.#done(failed, at.message, 'failed', undefined), skipping: true };
  }

  #done(at: Step, message: number, fate: Fate, wait: number | undefined): Step {
    this.#fates[message] = fate;
    this.#waits[message] = wait;
    return { ...at, message: Math.max(at.message, message) + 1, skipping: false };
  }

  /** `E`, if it failed, and Z; `first`: an answer before. */
  #ready(at: Step, message: number, first: string): Step | null {
    const answered = first === '' ? null : this.#take(at, first);
    const failed = answered === null ? this.#take(at, 'E') : null;
    const ready = this.#take(answered ?? failed ?? at, 'Z');
    return ready && this.#done(ready, message, failed === null ? 'done' : 'failed', ready.frame);
  }

  /** Results of a Query, up to its Z, or of an Execute. `owner`: where they are noted, COPY data being read past it. */
  #results(from: Step, owner: number, simple: boolean): Step | Decoded | null {
    let at = from;
    const note = (frame: number) => {
      this.#owners[frame] = owner;
    };
    for (;;) {
      const frame = this.#sync(at);
      const type = this.#types[frame] ?? '';
      note(frame);
      const next = { ...at, frame: frame + 1 };
      if (simple && type === 'Z') {
        this.#waits[at.message] = next.frame;
        return this.#done(next, owner, 'done', this.#waits[owner] ?? next.frame);
      }
      if (type === 'E') return this.#failed(next, owner, simple);
      if (type === 'G') {
        const copied = this.#copied(next, owner, simple);
        if (copied === null || 'fates' in copied) return copied;
        if (!simple) return copied;
        at = copied;
        continue;
      }
      if (!simple && (type === 'C' || type === 's' || type === 'I'))
        return this.#done(next, owner, 'done', undefined);
      if (!(simple ? 'TDCIHdc' : 'DHdc').includes(type) || type === '') return null;
      at = next;
    }
  }

  #failed(at: Step, owner: number, simple: boolean): Step | null {
    if (!simple) return { ...this.#done(at, owner, 'failed', undefined), skipping: true };
    const ready = this.#take(at, 'Z');
    if (ready === null) return null;
    this.#owners[ready.frame - 1] = owner;
    this.#waits[at.message] = ready.frame;
    return this.#done(ready, owner, 'failed', this.#waits[owner] ?? ready.frame);
  }

  /** From CopyInResponse on: the data up to their end are eaten, or only those up to the one that failed. */
  #copied(at: Step, owner: number, simple: boolean): Step | Decoded | null {
    // Of a string's second COPY, the end of the first one's data can be waited for.
    this.#waits[at.message] = at.frame;
    const last = this.#lastOfCopy(at.message + 1);
    const frame = this.#sync(at);
    if (this.#types[frame] === 'C') {
      if (this.#sent[last] !== 'c') return null;
      this.#eat(at, last);
      const next = { message: last, frame: frame + 1, skipping: false };
      return simple ? next : this.#done(next, owner, 'done', undefined);
    }
    if (this.#types[frame] !== 'E') return null;
    // Whatever it was that failed, the answers to what comes after it tell how far the server had read.
    for (let eaten = last; eaten >= at.message; eaten--) {
      this.#eat(at, eaten);
      const failed = this.#failed({ message: eaten, frame: frame + 1, skipping: false }, owner, simple);
      const fatal = this.#end({ message: eaten + 1, frame: frame + 1, skipping: false });
      if (fatal !== null) return fatal;
      const rest = failed && this.read(failed);
      if (rest !== null) return rest;
    }
    return null;
  }

  #eat(at: Step, last: number): void {
    for (let i = at.message + 1; i <= last; i++) {
      this.#fates[i] = 'eaten';
      this.#waits[i] = undefined;
    }
  }

  /** The last message that COPY can read: its end, or what has no place in it. */
  #lastOfCopy(first: number): number {
    for (let i = first; i < this.#sent.length; i++) {
      const kind = this.#sent[i];
      if (kind !== 'd' && kind !== 'H' && kind !== 'S') return i;
    }
    return this.#sent.length - 1;
  }
}
