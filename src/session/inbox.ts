/** Messages that the client sent ahead, in order. */
export type Waiting = { readonly type: number; readonly frame: Buffer };

/** What a frame costs beside its own bytes: very many small ones must not cost more memory than the limit says. */
const OVERHEAD = 128;

export class Inbox {
  #messages: Waiting[] = [];
  #head = 0;
  #bytes = 0;

  get empty(): boolean {
    return this.#head === this.#messages.length;
  }

  /** Bytes of memory, roughly. */
  get bytes(): number {
    return this.#bytes;
  }

  push(message: Waiting): void {
    this.#messages.push(message);
    this.#bytes += message.frame.length + OVERHEAD;
  }

  /** Puts a message back that was taken out last. */
  unshift(message: Waiting): void {
    if (this.#head > 0) this.#messages[--this.#head] = message;
    else this.#messages.unshift(message);
    this.#bytes += message.frame.length + OVERHEAD;
  }

  peek(): Waiting | undefined {
    return this.#messages[this.#head];
  }

  /** In constant time: Array.shift is not, and a client can send a hundred thousand messages ahead. */
  shift(): Waiting | undefined {
    const message = this.#messages[this.#head];
    if (message === undefined) return undefined;
    this.#head += 1;
    this.#bytes -= message.frame.length + OVERHEAD;
    if (this.#head === this.#messages.length) this.clear();
    else if (this.#head > 1024 && this.#head * 2 > this.#messages.length) {
      this.#messages = this.#messages.slice(this.#head);
      this.#head = 0;
    }
    return message;
  }

  some(test: (message: Waiting) => boolean): boolean {
    for (let i = this.#head; i < this.#messages.length; i++) {
      const message = this.#messages[i];
      if (message !== undefined && test(message)) return true;
    }
    return false;
  }

  clear(): void {
    this.#messages = [];
    this.#head = 0;
    this.#bytes = 0;
  }
}
