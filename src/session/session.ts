/** The session core: frontend and backend messages and answers of the world come in, effects go out. No I/O. */
import { BACKEND } from '../protocol/backend.ts';
import type { DataHandled } from '../protocol/backend-scanner.ts';
import { FRONTEND } from '../protocol/frontend.ts';
import { neverEnded } from './copy.ts';
import type { Effect } from './effect.ts';
import { injectFlush } from './forward.ts';
import { giveUp } from './give-up.ts';
import { INPUT_END, type InputEnd } from './input-end.ts';
import type { EntryKind } from './ledger.ts';
import { process } from './messages.ts';
import { endRequests, recordOutcome } from './record.ts';
import { data, type Relay, reply } from './replies.ts';
import type { Run } from './run.ts';
import type { SessionSetup } from './setup.ts';
import { type CopyIn, createState, type SessionState } from './state.ts';
import { cancelEnded } from './stopping.ts';
import { mayFollow } from './stream.ts';
import { resume, step, type WaitEvent } from './waits.ts';

/** In these phases a person is involved: the client's leaving must not wait for the answer. */
const LEAVES_AT_ONCE: ReadonlySet<string> = new Set(['opening', 'held', 'releasing']);

const ENDS_WITH_READY: ReadonlySet<EntryKind> = new Set(['query', 'sync', 'functionCall']);
const NO_FRAME = Buffer.alloc(0);

export class Session {
  readonly #state: SessionState;

  constructor(setup: SessionSetup) {
    this.#state = createState(setup);
  }

  /** Effects since the last call, to be carried out in order. */
  takeEffects(): Effect[] {
    const { effects } = this.#state;
    if (effects.length > 0) this.#state.effects = [];
    return effects;
  }

  /** Bytes that the client sent ahead; at `limits.pendingBytes` its socket should not be read any more. */
  get pendingBytes(): number {
    return this.#state.inbox.bytes;
  }

  get phase(): SessionState['phase'] {
    return this.#state.phase;
  }

  /** Something that was sent upstream is unanswered. */
  get running(): boolean {
    return !this.#state.ledger.empty;
  }

  /** Nothing that was sent upstream is unanswered. */
  get idle(): boolean {
    return this.#state.ledger.empty && this.#state.phase === 'ready' && this.#state.transaction === 'I';
  }

  /** A cancel is on its way to the server, and nothing else is until it has ended. */
  get cancelling(): boolean {
    return this.#state.cancelInFlight && this.#state.phase !== 'ended';
  }

  /** The client needs no word about the end: it left, or the server has said it. */
  get endExplained(): boolean {
    const { clientGone, fatalSeen, inputEnd, ledger } = this.#state;
    if (clientGone || fatalSeen) return true;
    return inputEnd !== null && !ledger.some(({ kind }) => ENDS_WITH_READY.has(kind));
  }

  /** The client said that it ends the session, or sends nothing more. */
  get left(): boolean {
    return this.#state.clientGone || this.#state.inputEnd !== null;
  }

  /** A whole frontend frame; may be a view of a buffer that is used again. `now`: microseconds since 1970 UTC. */
  frontend(type: number, frame: Buffer, now: number): void {
    const state = this.#state;
    state.now = now;
    if (state.phase === 'ended' || state.clientGone || state.inputEnd !== null) return;
    this.#message(type, frame);
  }

  /** The client sends nothing more; what it sent before is dealt with first. */
  inputEnded(end: InputEnd, now: number): void {
    const state = this.#state;
    state.now = now;
    if (state.phase === 'ended' || state.clientGone || state.inputEnd !== null) return;
    state.inputEnd = end;
    this.#message(INPUT_END, NO_FRAME);
  }

  #message(type: number, frame: Buffer): void {
    const state = this.#state;
    if (state.phase !== 'ready' || state.cancelInFlight || !state.inbox.empty) {
      state.inbox.push({ type, frame: Buffer.from(frame) });
      if (type === FRONTEND.terminate || type === INPUT_END) {
        // Nothing can follow, so a statement that waits for a person will find nobody.
        state.leaving = true;
        if (LEAVES_AT_ONCE.has(state.phase)) this.event({ kind: 'clientGone' }, state.now);
      }
      if (state.phase === 'streaming') this.#takeInbox();
      return;
    }
    process(state, type, frame, null);
  }

  /** A whole backend frame of any type but DataRow and CopyData. */
  backend(type: number, frame: Buffer, now: number): Relay {
    const state = this.#state;
    state.now = now;
    if (state.phase === 'ended') return type === BACKEND.error ? 'pass' : 'end';
    const { copy } = state;
    const relay = reply(state, type, frame);
    if (state.ledger.empty) this.#settled();
    else if (state.phase === 'settling' && !state.cancelInFlight && moved(copy, state.copy)) {
      resume(state);
      this.#takeInbox();
    }
    return relay;
  }

  /** DataRow or CopyData with a body of `bytes`. */
  data(bytes: number): DataHandled {
    return data(this.#state, bytes);
  }

  event(event: WaitEvent, now: number): void {
    const state = this.#state;
    state.now = now;
    step(state, event);
    this.#takeInbox();
  }

  /** The cancel's own connection has ended: from here on it can hit nothing. */
  cancelDone(now: number): void {
    const state = this.#state;
    state.now = now;
    state.cancelInFlight = false;
    if (state.phase === 'stopping') cancelEnded(state);
    // It found nothing to cancel: what the server keeps back must still come.
    if (state.clientGone && !state.ledger.empty) injectFlush(state);
    if (state.phase === 'settling' && state.ledger.empty) resume(state);
    this.#takeInbox();
    if (!state.cancelNext) return;
    state.cancelNext = false;
    step(state, { kind: 'cancel' });
    this.#takeInbox();
  }

  /** Upstream is gone: what has no outcome yet can have either. */
  upstreamClosed(now: number): void {
    const state = this.#state;
    state.now = now;
    giveUp(state);
    // Terminate was read before the probe: each of these answers a Sync of the client's.
    if (state.clientGone)
      for (const frame of state.copyProbe?.ready ?? []) state.effects.push({ kind: 'toClient', frame });
    const runs = state.openRuns.takeAll();
    const failed = (run: Run) => run.state === 'failed' || neverEnded(state, run);
    const outcomes = new Map(runs.map((run) => [run, failed(run) ? 'failed' : 'unknown'] as const));
    for (const run of runs) recordOutcome(state, run, outcomes.get(run) ?? 'unknown');
    endRequests(state, runs, (run) => outcomes.get(run) ?? 'unknown');
    state.effects.push({ kind: 'stopTimers', end: 'failed' }, { kind: 'unwatch' });
    state.phase = 'ended';
  }

  #settled(): void {
    const state = this.#state;
    state.stream = null;
    if (state.phase === 'streaming') state.phase = 'ready';
    if (state.phase === 'settling' && !state.cancelInFlight) step(state, { kind: 'settled' });
    // The server skips what is held: nobody needs to be asked any more.
    if (state.phase === 'held' && state.skipping) {
      giveUp(state);
      state.phase = 'ready';
    }
    const over = state.clientGone || state.inputEnd !== null;
    if (over && state.phase === 'ready' && state.inbox.empty && state.ledger.empty) {
      state.phase = 'ended';
      state.effects.push({ kind: 'close', error: null, why: 'the client closed the connection' });
    }
    this.#takeInbox();
  }

  #takeInbox(): void {
    const state = this.#state;
    while ((state.phase === 'ready' || state.phase === 'streaming') && !state.cancelInFlight) {
      const next = state.inbox.peek();
      if (next === undefined || (state.phase === 'streaming' && !mayFollow(state, next.type))) return;
      state.inbox.shift();
      process(state, next.type, next.frame, null);
    }
  }
}

/** COPY data begin or end: what had to wait because its place was not known can be judged. */
function moved(before: CopyIn | null, after: CopyIn | null): boolean {
  return after !== null && (after !== before || after.open);
}
