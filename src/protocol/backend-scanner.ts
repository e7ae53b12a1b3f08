/**
 * Backend bytes are scanned, not decoded: frames stay in the chunks they came in. DataRow and CopyData may be longer
 * than any buffer and go on in pieces; every other frame is seen whole, because something may be put between it and
 * the next one.
 */
import { BACKEND } from './backend.ts';
import { FrameError } from './frame-reader.ts';

const HEADER = 5;

/** What becomes of a frame. */
export type Handled = 'pass' | 'stop' | { readonly replace: Buffer };

export type ScanListener = {
  /** A DataRow or CopyData begins; `bytes`: its body's length. */
  readonly data: (bytes: number) => 'pass' | 'stop';
  /** A whole frame of another type: a view. */
  readonly frame: (type: number, frame: Buffer) => Handled;
  /** Bytes that go on to the client, in order: views. */
  readonly out: (bytes: Buffer) => void;
};

export class BackendScanner {
  readonly #limit: number;
  #kept: Buffer = EMPTY;
  /** Bytes of a DataRow or CopyData that are still to come. */
  #passing = 0;

  /** `limit`: bytes of the longest frame that is kept whole. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Throws `FrameError` on a length that no frame can have. Returns false where the listener said stop. */
  push(input: Buffer, listener: ScanListener): boolean {
    let chunk = input;
    if (this.#kept.length > 0) {
      chunk = Buffer.concat([this.#kept, input]);
      this.#kept = EMPTY;
    }
    /** Where bytes begin that go on unchanged. */
    let from = 0;
    let at = Math.min(this.#passing, chunk.length);
    this.#passing -= at;
    const flush = (to: number) => {
      if (to > from) listener.out(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to));
    };
    while (at < chunk.length) {
      const left = chunk.length - at;
      const size = left < HEADER ? 0 : this.#size(chunk, at);
      const type = chunk[at];
      if (size > 0 && (type === BACKEND.dataRow || type === BACKEND.copyData)) {
        if (listener.data(size - HEADER) === 'stop') {
          flush(at);
          return false;
        }
        this.#passing = Math.max(0, size - left);
        at += size - this.#passing;
        continue;
      }
      if (size === 0 || size > left) {
        flush(at);
        this.#kept = Buffer.from(chunk.subarray(at));
        return true;
      }
      const handled = listener.frame(type ?? 0, chunk.subarray(at, at + size));
      if (handled !== 'pass') {
        flush(at);
        from = at + size;
        if (handled === 'stop') return false;
        listener.out(handled.replace);
      }
      at += size;
    }
    flush(chunk.length);
    return true;
  }

  #size(bytes: Buffer, at: number): number {
    const length = bytes.readInt32BE(at + 1);
    if (length < 4) throw new FrameError('invalid', bytes[at] ?? 0, length, this.#limit);
    const data = bytes[at] === BACKEND.dataRow || bytes[at] === BACKEND.copyData;
    if (!data && length + 1 > this.#limit)
      throw new FrameError('too long', bytes[at] ?? 0, length + 1, this.#limit);
    return length + 1;
  }
}

const EMPTY = Buffer.alloc(0);
