import type { Wire } from './wire.ts';

/** The peer left. */
export class HandshakeClosed extends Error {
  override readonly name = 'HandshakeClosed';
}

/** Bytes of a wire, awaited by number: for the few messages before a session begins. */
export class ByteQueue {
  #bytes: Buffer = Buffer.alloc(0);
  #error: Error | null = null;
  #ended = false;
  #wake: (() => void) | null = null;
  readonly #wire: Wire;
  readonly #limit: number;

  /** Where `limit` bytes wait unread, the wire is not read until they are taken. */
  constructor(wire: Wire, limit: number) {
    this.#wire = wire;
    this.#limit = limit;
    wire.listen({
      chunk: (chunk) => this.#take(chunk),
      // Whoever sent all that is needed may end its side, and still wants its answer.
      ended: () => {
        this.#ended = true;
        this.#wake?.();
      },
      closed: (error) => this.fail(error ?? new HandshakeClosed('the client closed the connection')),
      drained: () => {},
    });
  }

  get buffered(): number {
    return this.#bytes.length;
  }

  fail(error: Error): void {
    this.#error ??= error;
    this.#wake?.();
  }

  /** Resolves with exactly `length` bytes; rejects when the peer is gone. */
  async read(length: number): Promise<Buffer> {
    await this.#have(length);
    const bytes = this.#bytes.subarray(0, length);
    this.#bytes = this.#bytes.subarray(length);
    this.#wire.resume();
    return bytes;
  }

  async peek(): Promise<number> {
    await this.#have(1);
    return this.#bytes[0] ?? 0;
  }

  /** What was read ahead. Whoever listens next must do so before the caller returns to the event loop. */
  rest(): Buffer {
    const rest = this.#bytes;
    this.#bytes = Buffer.alloc(0);
    this.#wire.resume();
    return rest;
  }

  async #have(length: number): Promise<void> {
    while (this.#bytes.length < length) {
      if (this.#error !== null) throw this.#error;
      if (this.#ended) throw new HandshakeClosed('the client closed the connection');
      await new Promise<void>((done) => {
        this.#wake = done;
      });
    }
    if (this.#error !== null) throw this.#error;
  }

  #take(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    if (this.#bytes.length >= this.#limit) this.#wire.pause();
    this.#wake?.();
  }
}
