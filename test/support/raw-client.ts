import type { UpstreamAddress } from '../../src/config/config.ts';
import { FrameReader } from '../../src/protocol/frame-reader.ts';
import { cancelUpstream, openUpstream } from '../../src/proxy/upstream.ts';
import type { Wire } from '../../src/proxy/wire.ts';

/** A client that sends exactly the bytes it is told to and keeps exactly those it gets. */
export class RawClient {
  readonly #wire: Wire;
  readonly #frames: Buffer[] = [];
  readonly parameters: ReadonlyMap<string, string>;
  /** Sends a CancelRequest on a connection of its own; resolves at its end. */
  readonly cancel: () => Promise<void>;
  closed = false;
  #wake: () => void = () => {};

  private constructor(wire: Wire, parameters: ReadonlyMap<string, string>, cancel: () => Promise<void>) {
    this.#wire = wire;
    this.parameters = parameters;
    this.cancel = cancel;
    const reader = new FrameReader(1 << 30);
    wire.listen({
      chunk: (chunk) => {
        reader.push(chunk, (_type, frame) => {
          this.#frames.push(Buffer.from(frame));
          return true;
        });
        this.#wake();
      },
      closed: () => {
        this.closed = true;
        this.#wake();
      },
      drained: () => {},
    });
  }

  static async connect(url: string, parameters: Record<string, string> = {}): Promise<RawClient> {
    const { hostname, port, username, password, pathname } = new URL(url);
    const address: UpstreamAddress = {
      host: hostname,
      port: Number(port),
      database: null,
      user: null,
      password: null,
      tls: { mode: 'disable' },
    };
    const upstream = await openUpstream(
      address,
      {
        user: decodeURIComponent(username),
        password: decodeURIComponent(password),
        database: pathname.slice(1),
        parameters: new Map(Object.entries(parameters)),
      },
      10_000,
    );
    return new RawClient(upstream.wire, upstream.parameters, () => cancelUpstream(address, upstream, 10_000));
  }

  send(...frames: Buffer[]): void {
    this.#wire.write(Buffer.concat(frames));
  }

  /** Frames until `count` ReadyForQuery have come, or the end of the connection. */
  async ready(count = 1, ms = 15_000): Promise<Buffer[]> {
    return this.until((frames) => frames.filter((frame) => frame[0] === 0x5a).length >= count, ms);
  }

  /** Takes the frames that have come once `enough` of them have. */
  async until(enough: (frames: readonly Buffer[]) => boolean, ms = 15_000): Promise<Buffer[]> {
    const deadline = Date.now() + ms;
    while (!this.closed && !enough(this.#frames)) {
      const left = deadline - Date.now();
      if (left <= 0)
        throw new Error(
          `no answer within ${ms} ms; have ${this.#frames.map((frame) => String.fromCharCode(frame[0] ?? 0)).join('')}`,
        );
      await new Promise<void>((done) => {
        const timer = setTimeout(done, left);
        this.#wake = () => {
          clearTimeout(timer);
          done();
        };
      });
    }
    return this.#frames.splice(0);
  }

  /** Takes what has come once it is `count` frames, the connection has ended, or time is up. */
  async atLeast(count: number, ms: number): Promise<Buffer[]> {
    await this.until((frames) => frames.length >= count, ms).then(
      (taken) => this.#frames.unshift(...taken),
      () => {},
    );
    return this.#frames.splice(0);
  }

  /** Takes what has come once nothing has come for `ms`. */
  async quiet(ms: number): Promise<Buffer[]> {
    for (;;) {
      const before = this.#frames.length;
      const taken = await this.atLeast(before + 1, ms);
      this.#frames.unshift(...taken);
      if (this.closed || taken.length === before) return this.#frames.splice(0);
    }
  }

  close(): void {
    this.#wire.destroy();
  }
}
