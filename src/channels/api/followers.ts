import type { HttpBindings } from '@hono/node-server';
import type { Context } from 'hono';
import type { Logger } from 'pino';
import type { ApprovalDesk, RequestFeed, RequestView } from '../../approval/guard.ts';
import type { Limits } from '../../config/limits.ts';
import type { Caller } from './credentials.ts';
import { EventStream, eventText } from './event-stream.ts';
import { cutJson } from './json.ts';
import { Slots } from './slots.ts';

export type FollowerPorts = {
  readonly desk: Pick<ApprovalDesk, 'get' | 'onRequestChanged'> & RequestFeed;
  readonly limits: Limits;
  readonly log: Pick<Logger, 'error'>;
};

/** Requests that one look at what was missed takes at once; and in all, after which the reader must list them anew. */
const PAGE = 100;
const BACKLOG = 2_000;
/** Changes that are kept for a reader who is still being told what he missed. */
const PENDING = 1_000;
/** Characters of a statement, or of its parameters, in an event. */
const CHARACTERS = 20_000;
/** Longest delay that timers know. */
const LONGEST_MS = 2 ** 31 - 1;

/** Those who follow requests: streams of events, and calls that wait for one request. */
export class Followers {
  readonly #ports: FollowerPorts;
  readonly #slots: Slots;
  /** How each of them is ended when the program stops. */
  readonly #open = new Set<() => void>();
  #closed = false;

  constructor(ports: FollowerPorts) {
    this.#ports = ports;
    this.#slots = new Slots(ports.limits.eventStreams, ports.limits.eventStreamsPerCredential);
  }

  /**
   * Every request that is live, or, `after` a revision, that changed since; then every change, each at least once. Null:
   * there are too many streams, or the program stops.
   */
  stream(c: Context, caller: Caller, after: bigint | null): Response | null {
    const release = this.#begin(caller);
    if (release === null) return null;
    const { limits, desk, log } = this.#ports;
    const undo: (() => void)[] = [release];
    const stream = new EventStream(limits.eventBufferBytes, () => {
      for (const one of undo.splice(0)) one();
    });
    const cut = () => {
      stream.cut();
      // A reader who takes nothing would not notice otherwise.
      const { outgoing } = (c.env ?? {}) as Partial<HttpBindings>;
      outgoing?.destroy();
    };
    const send = (text: string) => {
      if (!stream.send(text)) cut();
    };
    const feed = new Feed(stream, send, cut);
    const close = () => stream.close();
    this.#open.add(close);
    const beat = setInterval(() => send(':\n\n'), limits.eventHeartbeatMs).unref();
    const end =
      caller.until === null ? null : setTimeout(close, Math.min(LONGEST_MS, caller.until - Date.now()));
    end?.unref();
    undo.push(
      desk.onRequestChanged((view) => feed.changed(view)),
      () => this.#open.delete(close),
      () => clearInterval(beat),
      () => clearTimeout(end ?? undefined),
    );
    send('retry: 2000\n\n');
    feed.begin(desk, after).catch((error: unknown) => {
      log.error({ err: error }, 'a stream of events could not begin');
      stream.close();
    });
    return c.body(stream.body, 200, {
      'content-type': 'text/event-stream',
      'x-accel-buffering': 'no',
      connection: 'close',
    });
  }

  /**
   * The request as soon as it is answered, or, `after` a revision, has changed; or as it is when `ms` are over or the
   * program stops. `busy`: too many wait.
   */
  async wait(
    c: Context,
    caller: Caller,
    { id, after, ms }: { readonly id: string; readonly after: bigint | null; readonly ms: number },
  ): Promise<RequestView | null | 'busy'> {
    const release = this.#begin(caller);
    if (release === null) return 'busy';
    const news = ({ state, revision }: RequestView) => (after === null ? state !== 'open' : revision > after);
    const { desk } = this.#ports;
    const undo: (() => void)[] = [release];
    try {
      // Listening first: what changes while we look is not missed.
      const changed = new Promise<void>((done) => {
        const timer = setTimeout(done, ms).unref();
        this.#open.add(done);
        c.req.raw.signal.addEventListener('abort', () => done());
        undo.push(
          () => clearTimeout(timer),
          () => this.#open.delete(done),
          desk.onRequestChanged((view) => {
            if (view.id === id && news(view)) done();
          }),
        );
      });
      const present = await desk.get(id);
      if (present === null || news(present)) return present;
      await changed;
      return await desk.get(id);
    } finally {
      for (const one of undo) one();
    }
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Ends all of them at once, and takes no more. */
  close(): void {
    this.#closed = true;
    for (const end of [...this.#open]) end();
  }

  #begin({ name }: Caller): (() => void) | null {
    return this.#closed ? null : this.#slots.take(name);
  }
}

/** What one stream tells: first what was missed, then what happens, of each request never an older state. */
class Feed {
  readonly #stream: EventStream;
  readonly #send: (text: string) => void;
  readonly #cut: () => void;
  readonly #told = new Map<string, bigint>();
  /** Null: everything that was missed has been told. */
  #pending: Map<string, RequestView> | null = new Map();

  constructor(stream: EventStream, send: (text: string) => void, cut: () => void) {
    this.#stream = stream;
    this.#send = send;
    this.#cut = cut;
  }

  changed(view: RequestView): void {
    if (this.#pending === null) return this.#tell(view);
    this.#pending.delete(view.id);
    this.#pending.set(view.id, { ...view, ...shortened(view) });
    if (this.#pending.size > PENDING) this.#cut();
  }

  async begin(feed: RequestFeed, after: bigint | null): Promise<void> {
    let from = after === null ? 0n : await feed.sureBefore(after);
    for (let told = 0; !this.#stream.over; told += PAGE) {
      if (told >= BACKLOG) {
        this.#send('event: reset\ndata: {}\n\n');
        break;
      }
      const page = await feed.changedAfter(from, PAGE, after === null);
      for (const view of page) {
        await this.#stream.room();
        this.#tell(view);
        this.#told.set(view.id, view.revision);
        from = view.revision;
      }
      if (page.length < PAGE) break;
    }
    for (const view of this.#pending?.values() ?? []) {
      await this.#stream.room();
      if (view.revision <= (this.#told.get(view.id) ?? -1n)) continue;
      this.#tell(view);
      this.#told.set(view.id, view.revision);
    }
    this.#pending = null;
    this.#told.clear();
  }

  #tell(view: RequestView): void {
    if (this.#stream.over) return;
    this.#send(eventText(view.revision, 'request', cutJson(view, CHARACTERS)));
  }
}

/** Nobody keeps a statement of megabytes for a reader who is shown its beginning. */
function shortened({ sql }: RequestView): { sql: string; cut?: true } {
  return sql.length > CHARACTERS ? { sql: sql.slice(0, CHARACTERS), cut: true } : { sql };
}
