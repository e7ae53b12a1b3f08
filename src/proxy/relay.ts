/** The shell around one session: two wires, and the effects of the core carried out in order. */
import { AuditUnavailable, type Entry } from '../audit/entry.ts';
import { BACKEND, fatalError } from '../protocol/backend.ts';
import type { Handled } from '../protocol/backend-scanner.ts';
import { FrameError, FrameReader } from '../protocol/frame-reader.ts';
import { longestLength } from '../protocol/frontend.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import type { Effect } from '../session/effect.ts';
import type { InputEnd } from '../session/input-end.ts';
import { Session } from '../session/session.ts';
import type { SessionSetup } from '../session/setup.ts';
import type { WaitEvent } from '../session/waits.ts';
import { nowMicros } from './clock.ts';
import { ADMIN_SHUTDOWN, codeOf, NOT_RECORDED } from './farewells.ts';
import { HoldTimers } from './hold-timers.ts';
import { joined } from './joined.ts';
import { ask, type LaterEffect, type RelayPorts } from './questions.ts';
import type { Upstream } from './upstream.ts';
import { UpstreamFlow } from './upstream-flow.ts';
import type { Wire } from './wire.ts';

export class Relay {
  readonly #client: Wire;
  readonly #upstream: Upstream;
  readonly #ports: RelayPorts;
  readonly #session: Session;
  readonly #frames: FrameReader;
  readonly #flow: UpstreamFlow;
  readonly #ended: (why: string) => void;

  #toClient: Buffer[] = [];
  #toUpstream: Buffer[] = [];
  /** What was written to the client last is the beginning of a row. */
  #midRow = false;
  /** A reply may go to the client only after this. */
  #durable: Promise<void> | null = null;
  readonly #timers: HoldTimers;
  #unwatch: (() => void) | null = null;
  #lastSeq = 0n;
  #closed = false;
  #clientPaused = false;
  /** The client sent a length that no message can have. */
  #outOfStep = false;
  /** Why the client was sent away. */
  #leftWhy: string | null = null;
  /** Who waits for the end of a cancel. */
  #cancelled: (() => void)[] = [];

  constructor(
    client: Wire,
    upstream: Upstream,
    setup: SessionSetup,
    ports: RelayPorts,
    ended: (why: string) => void,
  ) {
    this.#client = client;
    this.#upstream = upstream;
    this.#ports = ports;
    this.#session = new Session(setup);
    this.#frames = new FrameReader(ports.limits.frameBytes, longestLength);
    this.#ended = ended;
    this.#timers = new HoldTimers(ports.observe, (event) => this.#event(event));
    this.#flow = new UpstreamFlow(upstream.wire, ports.limits.controlFrameBytes, {
      data: (bytes) => this.#session.data(bytes),
      frame: (type, frame) => this.#backendFrame(type, frame),
      out: (bytes) => this.#toClient.push(bytes),
    });
  }

  /** Begins to relay; `ahead` is what the client sent during log-in. */
  start(ahead: Buffer): void {
    this.#upstream.wire.listen({
      chunk: (chunk) => this.#fromUpstream(chunk),
      closed: (error) => this.#upstreamClosed(error),
      drained: () => this.#guarded(() => {}),
    });
    this.#client.listen({
      chunk: (chunk) => this.#fromClient(chunk),
      closed: () => {
        // Nobody reads slowly any more: what runs must come to its end.
        if (!this.#closed) this.#flow.release('client');
        this.#event({ kind: 'clientGone' });
      },
      drained: () => this.#flow.release('client'),
      ended: () => this.#inputEnded({ kind: 'eof' }),
      stalled: () => this.#stalled(),
    });
    this.#client.limitStall(this.#ports.limits.clientStallMs);
    if (ahead.length > 0) this.#fromClient(ahead);
  }

  /**
   * The client's CancelRequest. Null where nothing had to be sent upstream for it; else resolves when what was sent can
   * hit nothing any more, or the session has ended.
   */
  cancel(): Promise<void> | null {
    this.#event({ kind: 'cancel' });
    if (!this.#cancelling) return null;
    return new Promise((done) => this.#cancelled.push(done));
  }

  get #cancelling(): boolean {
    return !this.#closed && this.#session.cancelling;
  }

  /** Graceful end of the process: a hold is told to come again, an idle session is closed; true when it is over. */
  drain(word = ADMIN_SHUTDOWN, why = 'drained'): boolean {
    if (this.#closed) return true;
    this.#event({ kind: 'drain' });
    if (this.#session.idle) this.#close(fatalError(SQLSTATE.adminShutdown, word), why);
    return this.#closed;
  }

  /** At once. */
  kill(word = ADMIN_SHUTDOWN, why = 'shutdown'): void {
    this.#close(fatalError(SQLSTATE.adminShutdown, word), why);
  }

  #fromClient(chunk: Buffer): void {
    if (this.#closed || this.#outOfStep) return;
    const now = nowMicros();
    this.#guarded(() => {
      try {
        this.#frames.push(chunk, (type, frame) => {
          this.#session.frontend(type, frame, now);
          return true;
        });
      } catch (error) {
        if (!(error instanceof FrameError)) throw error;
        // What it sent before is still answered.
        this.#outOfStep = true;
        // A length that Postgres would not read either is answered as it does: not at all.
        const code = error.reason === 'invalid' ? null : codeOf(error);
        this.#session.inputEnded({ kind: 'broken', code, message: error.message }, now);
      }
    });
    const { pendingBytes } = this.#ports.limits;
    if (this.#session.pendingBytes > pendingBytes || this.#upstream.wire.queuedBytes > pendingBytes)
      this.#pauseClient();
  }

  #inputEnded(end: InputEnd): void {
    if (!this.#closed && !this.#outOfStep) this.#guarded(() => this.#session.inputEnded(end, nowMicros()));
  }

  /** The client reads nothing: the database must not be held for it any longer. */
  #stalled(): void {
    if (this.#closed) return;
    const { clientStallMs } = this.#ports.limits;
    this.#leftWhy = `the client read nothing for ${clientStallMs} ms`;
    this.#ports.log.warn({ clientStallMs }, 'a client does not read its result: session closed');
    if (this.#session.running) this.#event({ kind: 'cancel' });
    // It hears nothing more: what it has not read ends in the middle of a message.
    this.#client.destroy();
  }

  #fromUpstream(chunk: Buffer): void {
    if (this.#closed) return;
    let broken: FrameError | null = null;
    this.#guarded(() => {
      try {
        this.#flow.take(chunk);
      } catch (error) {
        if (!(error instanceof FrameError)) throw error;
        broken = error;
      }
    });
    // What came before it counts, and is recorded.
    if (broken !== null) this.#fault(broken);
    if (this.#client.queuedBytes > this.#ports.limits.clientBufferBytes) this.#flow.hold('client');
  }

  #backendFrame(type: number, frame: Buffer): Handled {
    const relay = this.#session.backend(type, frame, nowMicros());
    if (relay === 'end') return 'stop';
    if (relay === 'pass') return type === BACKEND.backendKeyData ? { replace: NOTHING } : 'pass';
    return relay;
  }

  #upstreamClosed(error: Error | null): void {
    if (this.#closed) return;
    this.#guarded(() => this.#session.upstreamClosed(nowMicros()));
    const word = fatalError(SQLSTATE.connectionFailure, 'server closed the connection unexpectedly');
    const closed = error === null ? 'upstream closed' : `upstream closed: ${error.message}`;
    // After Terminate the server hangs up first; that is the client's doing.
    const why = this.#session.left ? 'the client closed the connection' : closed;
    this.#close(this.#session.endExplained ? null : word, why);
  }

  #pauseClient(): void {
    this.#clientPaused = true;
    this.#client.pause();
  }

  #resumeClient(): void {
    if (!this.#clientPaused || this.#upstream.wire.queuedBytes > 0) return;
    this.#clientPaused = false;
    this.#client.resume();
  }

  #event(event: WaitEvent): void {
    if (!this.#closed) this.#guarded(() => this.#session.event(event, nowMicros()));
  }

  /**
   * Lets the core work, carries out what it asks for, then writes: records before statements, records before replies.
   * Whatever goes wrong ends this session alone.
   */
  #guarded(work: () => void): void {
    try {
      work();
      do for (const effect of this.#session.takeEffects()) this.#carryOut(effect);
      while (this.#flow.goOn());
      this.#writeUpstream();
      this.#writeClient();
      if (!this.#closed && this.#session.pendingBytes <= this.#ports.limits.pendingBytes)
        this.#resumeClient();
    } catch (error) {
      this.#fault(error as Error);
    }
  }

  /** Says whose fault it was, and ends the session. */
  #fault(error: Error): void {
    if (error instanceof FrameError)
      return this.#close(fatalError(codeOf(error), error.message), error.message);
    // What was not recorded must not run, and its result must not be seen.
    this.#toUpstream = [];
    this.#toClient = [];
    this.#ports.log.error({ err: error }, 'session closed');
    if (error instanceof AuditUnavailable) {
      const word = 'countersign: statements cannot be recorded at the moment, so none is run';
      return this.#close(fatalError(SQLSTATE.cannotConnectNow, word), 'audit unavailable');
    }
    this.#close(fatalError(SQLSTATE.internalError, 'countersign: internal error'), 'internal error');
  }

  #carryOut(effect: Effect): void {
    switch (effect.kind) {
      case 'record':
        return this.#record(effect.entry);
      case 'forward':
        if (effect.safety !== 'written') this.#mustBeDurable();
        this.#toUpstream.push(effect.frame);
        return;
      case 'toClient':
        this.#toClient.push(effect.frame);
        return;
      case 'startTimers':
        return this.#timers.start(effect.holdMs, effect.noticeMs);
      case 'stopTimers':
        return this.#timers.stop(effect.end);
      case 'watch':
        this.#unwatch = this.#ports.approvals.watch(effect.requestId, (state, ended) =>
          this.#event({ kind: 'answered', state, ended }),
        );
        return;
      case 'unwatch':
        this.#unwatch?.();
        this.#unwatch = null;
        return;
      case 'close':
        this.#writeUpstream();
        return this.#close(effect.error, this.#leftWhy ?? effect.why);
      case 'endUpstream':
        this.#writeUpstream();
        return this.#upstream.wire.endOutput();
      case 'pauseUpstream':
        return this.#flow.hold('question');
      case 'resumeUpstream':
        return this.#flow.release('question');
      case 'cancelUpstream':
        // What was sent before it must reach the server before it.
        this.#writeUpstream();
        return this.#cancelUpstream();
      default:
        return this.#ask(effect);
    }
  }

  #record(entry: Entry): void {
    this.#lastSeq = this.#ports.audit.append(entry);
    if (entry.kind === 'intent') this.#ports.observe.statement(entry.decision, entry.class);
  }

  #ask(effect: LaterEffect): void {
    ask(effect, this.#ports, this.#lastSeq).then(
      (event) => {
        // Answers reach the core even after the end: a release that came too late must be given back.
        if (event !== null) this.#guarded(() => this.#session.event(event, nowMicros()));
      },
      (error: Error) => this.#fault(error),
    );
  }

  #cancelUpstream(): void {
    this.#ports.cancelUpstream().then(
      () => {
        this.#guarded(() => this.#session.cancelDone(nowMicros()));
        this.#tellCancellers();
      },
      (error: Error) => {
        this.#ports.log.warn({ err: error }, 'cancel request not confirmed: session closed');
        const word = 'countersign: terminating connection, a cancel request was not confirmed';
        this.#close(fatalError(SQLSTATE.adminShutdown, word), 'cancel not confirmed');
      },
    );
  }

  #tellCancellers(): void {
    if (this.#cancelling) return;
    for (const done of this.#cancelled.splice(0)) done();
  }

  /** Replies wait until what was recorded so far is on disk, or committed where durability is strict. */
  #mustBeDurable(): void {
    const { audit } = this.#ports;
    audit.write();
    const safe = this.#ports.strict ? audit.committed(this.#lastSeq) : audit.sync();
    this.#durable = safe;
    safe.then(
      () => {
        if (this.#durable !== safe) return;
        this.#durable = null;
        if (this.#closed) return;
        this.#flow.release('record');
        this.#guarded(() => {});
      },
      (error: Error) => {
        this.#ports.log.error({ err: error }, 'a record could not be made durable: session closed');
        this.#toClient = [];
        this.#durable = null;
        this.#close(NOT_RECORDED, 'audit unavailable');
      },
    );
  }

  #writeUpstream(): void {
    if (this.#toUpstream.length === 0) return;
    const frames = this.#toUpstream;
    this.#toUpstream = [];
    for (const bytes of joined(frames)) this.#upstream.wire.write(bytes);
  }

  #writeClient(): void {
    if (this.#toClient.length === 0) return;
    if (this.#durable !== null) {
      // Views of the socket's buffer do not live that long.
      this.#toClient = [Buffer.concat(this.#toClient)];
      this.#flow.hold('record');
      return;
    }
    this.#ports.audit.write();
    const frames = this.#toClient;
    this.#toClient = [];
    this.#midRow = this.#flow.midFrame;
    for (const bytes of joined(frames)) this.#client.write(bytes);
  }

  #close(error: Buffer | null, why: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timers.stop('failed');
    this.#unwatch?.();
    // What the core still has open gets its outcome.
    this.#session.upstreamClosed(nowMicros());
    try {
      for (const effect of this.#session.takeEffects())
        if (effect.kind === 'record' || effect.kind === 'end' || effect.kind === 'detach')
          this.#carryOut(effect);
      this.#ports.audit.write();
    } catch (fault) {
      this.#ports.log.error({ err: fault as Error }, 'outcomes of a closed session could not be recorded');
    }
    this.#endClient(error);
    this.#upstream.wire.end();
    this.#tellCancellers();
    this.#ended(why);
  }

  /** The last replies still wait for their records. In the middle of a row an error would be read as a part of it. */
  #endClient(error: Buffer | null): void {
    const midRow = this.#toClient.length === 0 ? this.#midRow : this.#flow.midFrame;
    const last = error === null || midRow ? this.#toClient : [...this.#toClient, error];
    this.#toClient = [];
    const end = (bytes: readonly Buffer[]) => {
      for (const piece of bytes) this.#client.write(piece);
      this.#client.end();
    };
    if (this.#durable === null || last.length === 0) return end(last);
    const kept = [Buffer.concat(last)];
    this.#durable.then(
      () => end(kept),
      () => end(this.#midRow ? [] : [NOT_RECORDED]),
    );
  }
}

const NOTHING = Buffer.alloc(0);
