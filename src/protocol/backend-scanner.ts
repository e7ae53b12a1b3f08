/**
 * Backend bytes are scanned, not decoded: frames stay in the chunks they came in. DataRow and CopyData may be longer
 * than any buffer and go on in pieces; every other frame is seen whole, because something may be put between it and
 * the next one.
 */
import { BACKEND } from './backend.ts';
import { FrameError } from './frame-reader.ts';
import { PartialFrame } from './partial-frame.ts';

const HEADER = 5;

/** What becomes of a frame. */
export type Handled = 'pass' | 'stop' | { readonly replace: Buffer };

/** `drop`: it does not go on. `pause`: it waits, and everything behind it, until `resume`; then it is asked about again. */
export type DataHandled = 'pass' | 'drop' | 'pause' | 'stop';

export type ScanListener = {
  /** A DataRow or CopyData begins; `bytes`: its body's length. */
  readonly data: (bytes: number) => DataHandled;
  /** A whole frame of another type: a view. */
  readonly frame: (type: number, frame: Buffer) => Handled;
  /** Bytes that go on to the client, in order: views. */
  readonly out: (bytes: Buffer) => void;
};

export class BackendScanner {
  readonly #limit: number;
  /** A frame that is kept whole and is not whole yet, or the beginning of a header. */
  readonly #kept = new PartialFrame();
  /** Bytes of a DataRow or CopyData that are still to come, and whether they go on. */
  #passing = 0;
  #dropping = false;
  /** What came behind a frame that waits, from that frame on; null: none waits. */
  #waiting: Buffer[] | null = null;

  /** `limit`: bytes of the longest frame that is kept whole. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** A frame waits: nothing more should be read. */
  get paused(): boolean {
    return this.#waiting !== null;
  }

  /** The last bytes that went on are the beginning of a frame whose rest is still to come. */
  get midFrame(): boolean {
    return this.#passing > 0 && !this.#dropping;
  }

  /**
   * Throws `FrameError` on a length that no frame can have, after everything before it went on; then the scanner must
   * not be used again. Returns false where the listener said stop.
   */
  push(chunk: Buffer, listener: ScanListener): boolean {
    if (this.#waiting !== null) {
      this.#waiting.push(Buffer.from(chunk));
      return true;
    }
    let at = Math.min(this.#passing, chunk.length);
    this.#passing -= at;
    /** Where bytes begin that go on unchanged. */
    let from = this.#dropping ? at : 0;
    if (this.#kept.have > 0) {
      at = this.#fill(chunk, listener);
      if (at < 0) return at === NOT_WHOLE;
      const body = Math.min(this.#passing, chunk.length - at);
      this.#passing -= body;
      from = this.#dropping ? at + body : at;
      at += body;
    }
    const flush = (to: number) => {
      if (to > from) listener.out(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to));
    };
    while (at < chunk.length) {
      const left = chunk.length - at;
      const size = left < HEADER ? 0 : this.#size(chunk, at, flush);
      if (size > 0 && isData(chunk[at])) {
        const handled = listener.data(size - HEADER);
        this.#dropping = handled === 'drop';
        if (handled !== 'pass') flush(at);
        if (handled === 'stop') return false;
        if (handled === 'pause') {
          this.#waiting = [Buffer.from(chunk.subarray(at))];
          return true;
        }
        this.#passing = Math.max(0, size - left);
        at += size - this.#passing;
        if (handled === 'drop') from = at;
        continue;
      }
      if (size === 0 || size > left) {
        flush(at);
        this.#kept.add(chunk, at, left);
        return true;
      }
      const handled = listener.frame(chunk[at] ?? 0, chunk.subarray(at, at + size));
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

  /** Goes on with the frame that waits. As `push`. */
  resume(listener: ScanListener): boolean {
    const waiting = this.#waiting;
    if (waiting === null) return true;
    this.#waiting = null;
    return this.push(waiting.length === 1 ? (waiting[0] ?? EMPTY) : Buffer.concat(waiting), listener);
  }

  /** Goes on with what was kept; where the chunk's rest begins, or one of the two negative values. */
  #fill(chunk: Buffer, listener: ScanListener): number {
    const kept = this.#kept;
    let at = kept.add(chunk, 0, HEADER);
    if (kept.have < HEADER) return NOT_WHOLE;
    const size = this.#size(kept.bytes, 0, NO_FLUSH);
    if (isData(kept.bytes[0])) {
      const handled = listener.data(size - HEADER);
      this.#dropping = handled === 'drop';
      if (handled === 'stop') return STOPPED;
      if (handled === 'pause') {
        this.#waiting = [Buffer.concat([kept.take(), chunk.subarray(at)])];
        return NOT_WHOLE;
      }
      this.#passing = size - HEADER;
      const header = kept.take();
      if (handled === 'pass') listener.out(header);
      return at;
    }
    at += kept.add(chunk, at, size);
    if (kept.have < size) return NOT_WHOLE;
    const frame = kept.take();
    const handled = listener.frame(frame[0] ?? 0, frame);
    if (handled === 'stop') return STOPPED;
    listener.out(handled === 'pass' ? frame : handled.replace);
    return at;
  }

  /** `before`: lets go on what came before, as far as it did not yet. */
  #size(bytes: Buffer, at: number, before: (to: number) => void): number {
    const length = bytes.readInt32BE(at + 1);
    const type = bytes[at] ?? 0;
    const tooLong = !isData(type) && length + 1 > this.#limit;
    if (length >= 4 && !tooLong) return length + 1;
    before(at);
    throw length < 4
      ? new FrameError('invalid', type, length, this.#limit)
      : new FrameError('too long', type, length + 1, this.#limit);
  }
}

const NOT_WHOLE = -1;
const STOPPED = -2;
const EMPTY = Buffer.alloc(0);
const NO_FLUSH = () => {};

function isData(type: number | undefined): boolean {
  return type === BACKEND.dataRow || type === BACKEND.copyData;
}
