/** Cuts a byte stream into frames: type byte, int32 length that counts itself, body (manual, "Messages"). */
import { PartialFrame } from './partial-frame.ts';

const HEADER = 5;

/** The peer sent a length that no frame can have; it is not in step any more. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
  readonly reason: 'invalid' | 'too long';
  constructor(reason: 'invalid' | 'too long', type: number, length: number, limit: number) {
    super(
      reason === 'invalid'
        ? `invalid message length ${length} in message type ${type}`
        : `message of ${length} bytes is longer than the limit of ${limit} bytes`,
    );
    this.reason = reason;
  }
}

/**
 * Whole frames are handed on in place, as views of the chunk; one that is cut by the chunk's end is kept (copied)
 * until its rest is there. At most `limit` bytes of one frame are kept.
 */
export class FrameReader {
  readonly #limit: number;
  readonly #kept = new PartialFrame();

  constructor(limit: number) {
    this.#limit = limit;
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
      const size = left < HEADER ? 0 : this.#size(chunk, at);
      if (size === 0 || size > left) {
        this.#kept.add(chunk, at, left);
        return;
      }
      if (!frame(chunk[at] ?? 0, chunk.subarray(at, at + size))) return;
      at += size;
    }
  }

  #size(bytes: Buffer, at: number): number {
    const length = bytes.readInt32BE(at + 1);
    if (length < 4) throw new FrameError('invalid', bytes[at] ?? 0, length, this.#limit);
    if (length + 1 > this.#limit) throw new FrameError('too long', bytes[at] ?? 0, length + 1, this.#limit);
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
