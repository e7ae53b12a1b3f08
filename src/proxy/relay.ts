/** The shell around one session: two wires, and the effects of the core carried out in order. */
import type { Approvals } from '../approval/port.ts';
import { TooManyRequests } from '../approval/port.ts';
import { type AuditLog, AuditUnavailable, type Entry } from '../audit/entry.ts';
import type { Limits } from '../config/limits.ts';
import { BACKEND, type ErrorFields, fatalError } from '../protocol/backend.ts';
import { BackendScanner, type Handled, type ScanListener } from '../protocol/backend-scanner.ts';
import { FrameError, FrameReader } from '../protocol/frame-reader.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import type { Effect, HoldEnd } from '../session/effect.ts';
import { Session } from '../session/session.ts';
import type { SessionSetup } from '../session/state.ts';
import type { WaitEvent } from '../session/waits.ts';
import type { Analysis, NameScope } from '../statement/analysis.ts';
import { nowMicros } from './clock.ts';
import { joined } from './joined.ts';
import type { Upstream } from './upstream.ts';
import type { Wire } from './wire.ts';

export type RelayLog = {
  readonly warn: (facts: object, message: string) => void;
  readonly error: (facts: object, message: string) => void;
};

/** What a relay needs of the rest of the program. */
export type RelayPorts = {
  readonly limits: Limits;
  readonly audit: AuditLog;
  readonly strict: boolean;
  readonly approvals: Approvals;
  readonly log: RelayLog;
  /** In a worker, for texts that are too much for this thread. */
  readonly analyseLater: (sql: Buffer, scope: NameScope, catalogCertain: boolean) => Promise<Analysis>;
  /** Null: the server accepts the text, or could not be asked. */
  readonly probe: (sql: Buffer, scope: NameScope) => Promise<ErrorFields | null>;
  readonly refreshCatalog: () => Promise<void>;
  /** Resolves at the EOF of the cancel's own connection. */
  readonly cancelUpstream: () => Promise<void>;
  readonly observe: RelayObserver;
};

/** Told for metrics; must be cheap. */
export type RelayObserver = {
  readonly statement: (decision: 'allow' | 'hold' | 'deny', statementClass: string) => void;
  readonly held: () => void;
  readonly holdEnded: (end: HoldEnd, seconds: number) => void;
};

export class Relay {
  readonly #client: Wire;
  readonly #upstream: Upstream;
  readonly #ports: RelayPorts;
  readonly #session: Session;
  readonly #frames: FrameReader;
  readonly #scanner: BackendScanner;
  readonly #scan: ScanListener;
  readonly #ended: (why: string) => void;

  #toClient: Buffer[] = [];
  #toUpstream: Buffer[] = [];
  /** A reply may go to the client only after this. */
  #durable: Promise<void> | null = null;
  #holdTimer: NodeJS.Timeout | null = null;
  #noticeTimer: NodeJS.Timeout | null = null;
  #heldSince: number | null = null;
  #unwatch: (() => void) | null = null;
  #lastSeq = 0n;
  #closed = false;

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
    this.#frames = new FrameReader(ports.limits.frameBytes);
    this.#scanner = new BackendScanner(ports.limits.controlFrameBytes);
    this.#ended = ended;
    this.#scan = {
      data: (bytes) => (this.#session.data(bytes) === 'pass' ? 'pass' : 'stop'),
      frame: (type, frame) => this.#backendFrame(type, frame),
      out: (bytes) => this.#toClient.push(bytes),
    };
  }

  /** Begins to relay; `ahead` is what the client sent during log-in. */
  start(ahead: Buffer): void {
    this.#upstream.wire.listen({
      chunk: (chunk) => this.#fromUpstream(chunk),
      closed: (error) => this.#upstreamClosed(error),
      drained: () => this.#client.resume(),
    });
    this.#client.listen({
      chunk: (chunk) => this.#fromClient(chunk),
      closed: () => this.#event({ kind: 'clientGone' }),
      drained: () => this.#upstream.wire.resume(),
    });
    if (ahead.length > 0) this.#fromClient(ahead);
  }

  /** The client's CancelRequest. */
  cancel(): void {
    this.#event({ kind: 'cancel' });
  }

  /** Graceful end of the process: a hold is told to come again, an idle session is closed; true when it is over. */
  drain(): boolean {
    if (this.#closed) return true;
    this.#event({ kind: 'drain' });
    if (this.#session.idle)
      this.#close(
        fatalError(SQLSTATE.adminShutdown, 'terminating connection due to administrator command'),
        'drained',
      );
    return this.#closed;
  }

  /** At once. */
  kill(): void {
    this.#close(
      fatalError(SQLSTATE.adminShutdown, 'terminating connection due to administrator command'),
      'shutdown',
    );
  }

  #fromClient(chunk: Buffer): void {
    if (this.#closed) return;
    const now = nowMicros();
    try {
      this.#frames.push(chunk, (type, frame) => {
        this.#session.frontend(type, frame, now);
        return !this.#closed;
      });
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      const code = error.reason === 'invalid' ? SQLSTATE.protocolViolation : SQLSTATE.programLimitExceeded;
      this.#run();
      return this.#close(fatalError(code, error.message), error.message);
    }
    this.#run();
    if (this.#session.pendingBytes > this.#ports.limits.pendingBytes) this.#client.pause();
    if (this.#upstream.wire.queuedBytes > this.#ports.limits.pendingBytes) this.#client.pause();
  }

  #fromUpstream(chunk: Buffer): void {
    if (this.#closed) return;
    try {
      this.#scanner.push(chunk, this.#scan);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      return this.#close(fatalError(SQLSTATE.protocolViolation, `upstream: ${error.message}`), error.message);
    }
    this.#run();
    if (this.#client.queuedBytes > this.#ports.limits.clientBufferBytes) this.#upstream.wire.pause();
  }

  #backendFrame(type: number, frame: Buffer): Handled {
    const relay = this.#session.backend(type, frame, nowMicros());
    if (relay === 'end') return 'stop';
    if (relay === 'pass') return type === BACKEND.backendKeyData ? { replace: NOTHING } : 'pass';
    return relay;
  }

  #upstreamClosed(error: Error | null): void {
    if (this.#closed) return;
    this.#session.upstreamClosed(nowMicros());
    this.#run();
    const word = fatalError(SQLSTATE.connectionFailure, 'server closed the connection unexpectedly');
    this.#close(
      this.#session.endExplained ? null : word,
      `upstream closed${error === null ? '' : `: ${error.message}`}`,
    );
  }

  #event(event: WaitEvent): void {
    if (this.#closed) return;
    this.#session.event(event, nowMicros());
    this.#run();
    if (this.#session.pendingBytes <= this.#ports.limits.pendingBytes) this.#client.resume();
  }

  /** Carries out what the core asked for, then writes: records before statements, records before replies. */
  #run(): void {
    try {
      for (const effect of this.#session.takeEffects()) this.#carryOut(effect);
      this.#writeUpstream();
      this.#writeClient();
    } catch (error) {
      if (!(error instanceof AuditUnavailable)) throw error;
      this.#ports.log.error({ err: error }, 'the audit journal takes no more: session closed');
      this.#toUpstream = [];
      this.#toClient = [];
      this.#close(
        fatalError(
          SQLSTATE.cannotConnectNow,
          'countersign: statements cannot be recorded at the moment, so none is run',
        ),
        'audit unavailable',
      );
    }
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
        return this.#startTimers(effect.holdMs, effect.noticeMs);
      case 'stopTimers':
        return this.#stopTimers(effect.end);
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
        return this.#close(effect.error, effect.why);
      default:
        this.#ask(effect);
    }
  }

  #record(entry: Entry): void {
    this.#lastSeq = this.#ports.audit.append(entry);
    if (entry.kind === 'intent') this.#ports.observe.statement(entry.decision, entry.class);
  }

  /** Effects that the world answers later. */
  #ask(
    effect: Exclude<
      Effect,
      {
        kind:
          | 'record'
          | 'forward'
          | 'toClient'
          | 'startTimers'
          | 'stopTimers'
          | 'watch'
          | 'unwatch'
          | 'close';
      }
    >,
  ): void {
    const { approvals } = this.#ports;
    switch (effect.kind) {
      case 'analyse':
        return this.#answer(
          this.#ports.analyseLater(effect.sql, effect.scope, effect.catalogCertain),
          (analysis) => ({ kind: 'analysed', analysis }),
          null,
        );
      case 'probe':
        return this.#answer(
          this.#ports.probe(effect.sql, effect.scope),
          (rejection) => ({ kind: 'probed', rejection }),
          () => ({ kind: 'probed', rejection: null }),
        );
      case 'refreshCatalog':
        return this.#answer(
          this.#ports.refreshCatalog(),
          () => ({ kind: 'refreshed' }),
          () => ({ kind: 'refreshed' }),
        );
      case 'open':
        return this.#answer(
          approvals.open(effect.question),
          (request) => ({ kind: 'opened', request }),
          (error) => ({ kind: 'openFailed', why: error.message, limit: error instanceof TooManyRequests }),
        );
      case 'release': {
        // The intent must be in the audit database before anything is consumed.
        const committed = this.#ports.audit.committed(this.#lastSeq);
        return this.#answer(
          committed.then(() => approvals.release(effect.requestId, effect.question)),
          (release) => ({ kind: 'released', release }),
          (error) => ({ kind: 'releaseFailed', why: error.message }),
        );
      }
      case 'withdraw':
        return this.#tell('withdraw', approvals.withdraw(effect.requestId, effect.why));
      case 'detach':
        return this.#tell('detach', approvals.detach(effect.requestId));
      case 'end': {
        const { tag, sqlstate } = effect;
        const facts = { tag, rows: BigInt(effect.rows), bytes: BigInt(effect.bytes), sqlstate };
        return this.#tell('end', approvals.end(effect.requestId, effect.outcome, facts));
      }
      case 'cancelUpstream':
        this.#ports.cancelUpstream().then(
          () => {
            if (this.#closed) return;
            this.#session.cancelDone(nowMicros());
            this.#run();
          },
          (error: Error) => {
            this.#ports.log.warn({ err: error }, 'cancel request not confirmed: session closed');
            this.#session.upstreamClosed(nowMicros());
            this.#run();
            this.#close(
              fatalError(
                SQLSTATE.adminShutdown,
                'countersign: terminating connection, a cancel request was not confirmed',
              ),
              'cancel not confirmed',
            );
          },
        );
        return;
    }
  }

  #answer<T>(
    work: Promise<T>,
    event: (value: T) => WaitEvent,
    failed: ((error: Error) => WaitEvent) | null,
  ): void {
    work
      .then(event, (error: Error) => {
        this.#ports.log.warn({ err: error }, 'a question of the session was not answered');
        return failed?.(error) ?? null;
      })
      .then((answer) => {
        if (answer !== null) this.#late(answer);
        else this.#close(fatalError(SQLSTATE.internalError, 'countersign: internal error'), 'internal error');
      });
  }

  /** Answers reach the core even after the end: a release that came too late must be given back. */
  #late(event: WaitEvent): void {
    this.#session.event(event, nowMicros());
    this.#run();
    if (!this.#closed && this.#session.pendingBytes <= this.#ports.limits.pendingBytes) this.#client.resume();
  }

  #tell(what: string, work: Promise<void>): void {
    work.catch((error: Error) =>
      this.#ports.log.error({ err: error }, `approvals: ${what} failed; the janitor will settle it`),
    );
  }

  #startTimers(holdMs: number, noticeMs: number): void {
    this.#heldSince = nowMicros();
    this.#ports.observe.held();
    this.#holdTimer = setTimeout(() => this.#event({ kind: 'holdTimeout' }), holdMs);
    this.#noticeTimer = setInterval(() => this.#event({ kind: 'noticeDue' }), noticeMs);
  }

  #stopTimers(end: HoldEnd): void {
    if (this.#holdTimer !== null) clearTimeout(this.#holdTimer);
    if (this.#noticeTimer !== null) clearInterval(this.#noticeTimer);
    if (this.#heldSince !== null) this.#ports.observe.holdEnded(end, (nowMicros() - this.#heldSince) / 1e6);
    this.#heldSince = null;
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
        this.#upstream.wire.resume();
        this.#run();
      },
      (error: Error) => {
        this.#ports.log.error({ err: error }, 'a record could not be made durable: session closed');
        this.#close(
          fatalError(
            SQLSTATE.cannotConnectNow,
            'countersign: the statement could not be recorded; its outcome is unknown',
          ),
          'audit unavailable',
        );
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
      this.#upstream.wire.pause();
      return;
    }
    this.#ports.audit.write();
    const frames = this.#toClient;
    this.#toClient = [];
    for (const bytes of joined(frames)) this.#client.write(bytes);
  }

  #close(error: Buffer | null, why: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopTimers('failed');
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
    if (this.#durable === null) for (const bytes of this.#toClient) this.#client.write(bytes);
    if (error !== null) this.#client.write(error);
    this.#client.end();
    this.#upstream.wire.end();
    this.#ended(why);
  }
}

const NOTHING = Buffer.alloc(0);
