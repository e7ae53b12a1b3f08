/** Fewest bytes that are kept room for. */
const LEAST = 512;

/**
 * The beginning of a frame that was cut by a chunk's end. Its room doubles as bytes come, whatever length the frame
 * claims: copying is linear in what came, and memory at most twice that.
 */
export class PartialFrame {
  #bytes: Buffer = EMPTY;
  #have = 0;

  get have(): number {
    return this.#have;
  }

  /** What is there so far: a view that is good until the next `add`. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#have);
  }

  /** Adds bytes of the chunk until there are `want`, or the chunk is used up; how many were taken. */
  add(chunk: Buffer, at: number, want: number): number {
    const taken = Math.min(Math.max(0, want - this.#have), chunk.length - at);
    const need = this.#have + taken;
    if (need > this.#bytes.length) {
      const room = Buffer.allocUnsafe(Math.max(LEAST, need, Math.min(want, 2 * this.#bytes.length)));
      this.#bytes.copy(room, 0, 0, this.#have);
      this.#bytes = room;
    }
    chunk.copy(this.#bytes, this.#have, at, at + taken);
    this.#have = need;
    return taken;
  }

  /** All of it; nothing is kept any more. */
  take(): Buffer {
    const whole = this.bytes;
    this.#bytes = EMPTY;
    this.#have = 0;
    return whole;
  }
}

const EMPTY = Buffer.alloc(0);
