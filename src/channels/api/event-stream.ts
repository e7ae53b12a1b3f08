/** Server-Sent Events (the HTML standard, 9.2) to one reader, with a bound on what waits for it. */
export class EventStream {
  readonly body: ReadableStream<Uint8Array>;
  readonly #encoder = new TextEncoder();
  readonly #ended: () => void;
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  #wake: () => void = () => {};
  #over = false;

  /** `ended` is called once, however it ends. */
  constructor(bufferBytes: number, ended: () => void) {
    this.#ended = ended;
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#wake(),
        cancel: () => this.#end(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: bufferBytes }),
    );
  }

  get over(): boolean {
    return this.#over;
  }

  /** False where the reader has taken too little of what was sent before: then this was not sent. */
  send(text: string): boolean {
    if (this.#over || this.#controller === null) return true;
    if ((this.#controller.desiredSize ?? 0) <= 0) return false;
    this.#controller.enqueue(this.#encoder.encode(text));
    return true;
  }

  /** Resolves when there is room again, or the stream is over. */
  async room(): Promise<void> {
    while (!this.#over && (this.#controller?.desiredSize ?? 0) <= 0)
      await new Promise<void>((done) => {
        this.#wake = done;
      });
  }

  /** Nothing more comes; what waits is still sent. */
  close(): void {
    if (this.#over) return;
    this.#end();
    this.#controller?.close();
  }

  /** The reader sees a broken connection. */
  cut(): void {
    if (this.#over) return;
    this.#end();
    this.#controller?.error(new Error('the reader of events is too slow'));
  }

  #end(): void {
    this.#over = true;
    this.#wake();
    this.#ended();
  }
}

/** One event. `data` is JSON, which has no line breaks of its own. */
export function eventText(id: bigint, name: string, data: object): string {
  return `id: ${id}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
