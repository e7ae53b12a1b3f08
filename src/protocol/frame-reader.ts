/** Cuts a byte stream into frames: type byte, int32 length that counts itself, body (manual, "Messages"). */
import { PartialFrame } from './partial-frame.ts';

const HEADER = 5;

/** `invalid`: a length that no frame can have; `too long`: for our limit; `unknown`: a type that is none. */
export type FrameFault = 'invalid' | 'too long' | 'unknown';

/** The peer is not in step any more. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
  readonly reason: FrameFault;
  constructor(reason: FrameFault, type: number, length: number, limit: number) {
    super(textOf(reason, type, length, limit));
    this.reason = reason;
  }
}

function textOf(reason: FrameFault, type: number, length: number, limit: number): string {
  if (reason === 'unknown') return `invalid frontend message type ${type}`;
  if (reason === 'invalid') return `invalid message length ${length} in message type ${type}`;
  return `message of ${length} bytes is longer than the limit of ${limit} bytes`;
}

/**
 * Whole frames are handed on in place, as views of the chunk; one that is cut by the chunk's end is kept (copied)
 * until its rest is there. At most `limit` bytes of one frame are kept.
 */
export class FrameReader {
  readonly #limit: number;
  readonly #longest: (type: number) => number | null;
  readonly #kept = new PartialFrame();

  /** `longest`: the longest length field for a type; null: there is no such type, which its first byte tells. */
  constructor(limit: number, longest: (type: number) => number | null = anyLength) {
    this.#limit = limit;
    this.#longest = longest;
  }

  /** True where the last chunk ended within a frame. */
  get partial(): boolean {
    return this.#kept.have > 0;
  }

  /** Throws `FrameError`; then the reader must not be used again. `frame` returning false stops and drops the rest. */
  push(chunk: Buffer, frame: (type: number, frame: Buffer) => boolean): void {
    let at = 0;
    if (this.#kept.have > 0) {
      at = this.#fill(chunk);
      if (at === -1) return;
      const whole = this.#kept.take();
      if (!frame(whole[0] ?? 0, whole)) return;
    }
    while (at < chunk.length) {
      const left = chunk.length - at;
      const size = left < HEADER ? this.#unsized(chunk[at] ?? 0) : this.#size(chunk, at);
      if (size === 0 || size > left) {
        this.#kept.add(chunk, at, left);
        return;
      }
      if (!frame(chunk[at] ?? 0, chunk.subarray(at, at + size))) return;
      at += size;
    }
  }

  /** Only its type is certain to be there. */
  #unsized(type: number): 0 {
    if (this.#longest(type) === null) throw new FrameError('unknown', type, 0, this.#limit);
    return 0;
  }

  #size(bytes: Buffer, at: number): number {
    const type = bytes[at] ?? 0;
    const length = bytes.readInt32BE(at + 1);
    const longest = this.#longest(type);
    if (longest === null) throw new FrameError('unknown', type, length, this.#limit);
    if (length < 4 || length > longest) throw new FrameError('invalid', type, length, this.#limit);
    if (length + 1 > this.#limit) throw new FrameError('too long', type, length + 1, this.#limit);
    return length + 1;
  }

  /** Adds what the kept frame lacks; where the chunk's rest begins, or -1 if the frame is still not whole. */
  #fill(chunk: Buffer): number {
    const kept = this.#kept;
    let at = kept.add(chunk, 0, HEADER);
    if (kept.have < HEADER) return -1;
    const want = this.#size(kept.bytes, 0);
    at += kept.add(chunk, at, want);
    return kept.have === want ? at : -1;
  }
}

function anyLength(): number {
  return Number.POSITIVE_INFINITY;
}
