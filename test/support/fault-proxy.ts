import { connect, createServer, type Server, type Socket } from 'node:net';

/**
 * A TCP relay that can fail as networks do. Stand it between two parts that speak TCP, in the second one's place, and
 * break what flows through it.
 */
export type FaultProxy = {
  readonly host: string;
  readonly port: number;
  /** Connections that go through it at this moment. */
  readonly connections: () => number;
  /** Breaks every connection, with a reset to both sides. New ones go through. */
  readonly cut: () => void;
  /** The same, and new ones are reset at once, until `resume`. */
  readonly away: () => void;
  /** From now on no byte goes on, in neither direction, also of new connections: nobody notices anything. */
  readonly stall: () => void;
  /** Everything flows again; what was stalled goes on where it was. */
  readonly resume: () => void;
  /**
   * Breaks every connection, once, at what `sees` recognises in what a client says (`connection`: its number, from 1 on).
   * `before`: it does not reach the target. `after`: it does, and the answer is lost. Resolves when that has happened.
   */
  readonly cutWhen: (sees: Sees, when: 'before' | 'after') => Promise<void>;
  /**
   * The same without breaking anything: everything stalls, so that whoever waits can be killed in that moment. What was
   * held up there does not go on at `resume`.
   */
  readonly stallWhen: (sees: Sees, when: 'before' | 'after') => Promise<void>;
  /** The same, but what was held up goes on at `resume`, too: everything is late, and nothing is lost. */
  readonly delayWhen: (sees: Sees, when: 'before' | 'after') => Promise<void>;
  /** Ends one connection, once, behind so many bytes of what its target says; `hears` gives -1 where it is not that. */
  readonly cutBehind: (hears: (answer: string, opening: string) => number) => Promise<void>;
  readonly close: () => Promise<void>;
};

/** `opening`: what the client said first on that connection, its start-up packet. */
export type Sees = (said: string, connection: number, opening: string) => boolean;

export type FaultProxyOptions = {
  readonly target: { readonly host: string; readonly port: number };
};

/** Listens on a free port of loopback until it is closed. */
export async function startFaultProxy({ target }: FaultProxyOptions): Promise<FaultProxy> {
  const relay = new Relay(target);
  const port = await relay.listen();
  return {
    host: '127.0.0.1',
    port,
    connections: () => relay.size,
    cut: () => relay.cut(),
    away: () => relay.away(),
    stall: () => relay.stall(),
    resume: () => relay.resume(),
    cutWhen: (sees, when) => relay.catchWhen({ sees, when, act: 'cut' }),
    stallWhen: (sees, when) => relay.catchWhen({ sees, when, act: 'stall' }),
    delayWhen: (sees, when) => relay.catchWhen({ sees, when, act: 'delay' }),
    cutBehind: (hears) => relay.catchBehind(hears),
    close: () => relay.close(),
  };
}

type Pair = {
  readonly number: number;
  readonly client: Socket;
  readonly target: Socket;
  opening: string | null;
  /** What is done at the next answer. */
  lost: Trap | null;
};
type Caught = {
  readonly sees: Sees;
  readonly when: 'before' | 'after';
  readonly act: 'cut' | 'stall' | 'delay';
};
type Hears = (answer: string, opening: string) => number;
type Trap = Caught & { readonly sprung: () => void };

class Relay {
  readonly #target: FaultProxyOptions['target'];
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #accepted = 0;
  #away = false;
  #stalled = false;
  #trap: Trap | null = null;
  #ear: { readonly hears: Hears; readonly sprung: () => void } | null = null;
  /** Goes on first at `resume`. */
  #delayed: (() => void) | null = null;

  constructor(target: FaultProxyOptions['target']) {
    this.#target = target;
    // What one side has said to the end says nothing about the other.
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
  }

  listen(): Promise<number> {
    return new Promise((done, failed) => {
      this.#server.once('error', failed);
      this.#server.listen(0, '127.0.0.1', () => {
        const address = this.#server.address();
        done(address !== null && typeof address === 'object' ? address.port : 0);
      });
    });
  }

  get size(): number {
    return this.#pairs.size;
  }

  cut(): void {
    for (const { client, target } of [...this.#pairs]) {
      client.resetAndDestroy();
      target.resetAndDestroy();
    }
    this.#pairs.clear();
  }

  away(): void {
    this.#away = true;
    this.cut();
  }

  stall(): void {
    this.#stalled = true;
    for (const { client, target } of this.#pairs) {
      client.pause();
      target.pause();
    }
  }

  resume(): void {
    this.#away = false;
    this.#stalled = false;
    this.#delayed?.();
    this.#delayed = null;
    for (const { client, target } of this.#pairs) {
      if (!target.writableNeedDrain) client.resume();
      if (!client.writableNeedDrain) target.resume();
    }
  }

  /** In place of what was to be caught before. */
  catchWhen(caught: Caught): Promise<void> {
    return new Promise((sprung) => {
      this.#trap = { ...caught, sprung };
    });
  }

  catchBehind(hears: Hears): Promise<void> {
    return new Promise((sprung) => {
      this.#ear = { hears, sprung };
    });
  }

  async close(): Promise<void> {
    this.away();
    await new Promise<void>((done) => this.#server.close(() => done()));
  }

  #accept(client: Socket): void {
    if (this.#away) {
      client.resetAndDestroy();
      return;
    }
    const target = connect({ ...this.#target, allowHalfOpen: true });
    this.#accepted += 1;
    const pair: Pair = { number: this.#accepted, client, target, opening: null, lost: null };
    this.#pairs.add(pair);
    this.#pipe(pair, client, target, (chunk) => this.#said(pair, chunk));
    this.#pipe(pair, target, client, (chunk) => this.#answered(pair, chunk));
  }

  /** `passes`: whether a chunk goes on. */
  #pipe(pair: Pair, from: Socket, to: Socket, passes: (chunk: Buffer) => boolean): void {
    from.setNoDelay(true);
    from.on('data', (chunk: Buffer) => {
      if (passes(chunk) && !to.write(chunk)) from.pause();
    });
    to.on('drain', () => {
      if (!this.#stalled) from.resume();
    });
    from.on('end', () => to.end());
    from.on('error', () => {});
    from.on('close', (failed) => {
      if (failed) to.resetAndDestroy();
      else if (to.destroyed || to.writableEnded) to.destroySoon();
      if (from.destroyed && to.destroyed) this.#pairs.delete(pair);
    });
    if (this.#stalled) from.pause();
  }

  #said(pair: Pair, chunk: Buffer): boolean {
    const said = chunk.toString('latin1');
    pair.opening ??= said;
    const trap = this.#trap;
    if (trap === null || !trap.sees(said, pair.number, pair.opening)) return true;
    this.#trap = null;
    if (trap.when === 'after') {
      pair.lost = trap;
      return true;
    }
    this.#spring(trap, () => pair.target.write(chunk));
    return false;
  }

  #answered(pair: Pair, chunk: Buffer): boolean {
    const bytes = this.#ear?.hears(chunk.toString('latin1'), pair.opening ?? '') ?? -1;
    if (bytes >= 0) {
      this.#ear?.sprung();
      this.#ear = null;
      pair.client.end(chunk.subarray(0, bytes));
      pair.target.resetAndDestroy();
      return false;
    }
    if (pair.lost === null) return true;
    this.#spring(pair.lost, () => pair.client.write(chunk));
    pair.lost = null;
    return false;
  }

  #spring({ act, sprung }: Trap, goOn: () => void): void {
    if (act === 'delay') this.#delayed = goOn;
    if (act === 'cut') this.cut();
    else this.stall();
    sprung();
  }
}
