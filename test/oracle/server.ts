import type { UpstreamAddress } from '../../src/config/config.ts';
import { commandTag, decodeErrorFields, encodeFrame } from '../../src/protocol/backend.ts';
import { FrameReader } from '../../src/protocol/frame-reader.ts';
import { openUpstream } from '../../src/proxy/upstream.ts';
import type { Wire } from '../../src/proxy/wire.ts';

/** What came back for one string, and the looks around it. */
export type Outcome = {
  /** Null: it ran. `57P01` and the like where the connection ended with it. */
  error: { readonly code: string; readonly message: string } | null;
  readonly tags: string[];
  /** Rows that came, for each tag. */
  readonly rows: number[];
  /** Different marks of rows that were seen in anything that came back. */
  readonly marks: Set<string>;
  /** A password's verifier was in the result. */
  secret: boolean;
  readonly trips: Set<string>;
  before: string | null;
  /** Null where it could not be looked at (after an error). */
  after: string | null;
  /** Transaction status after it: T, E, or I where the transaction had ended. */
  status: string;
  lost: boolean;
};

const MOST_MARKS = 5_000;
const MARK = /\xc2\xa7(\d+)/g;
const COPY_DONE = encodeFrame(0x63, Buffer.alloc(0));

function query(sql: string): Buffer {
  return encodeFrame(0x51, Buffer.from(`${sql}\0`, 'utf8'));
}

function newOutcome(): Outcome {
  return {
    error: null,
    tags: [],
    rows: [],
    marks: new Set(),
    secret: false,
    trips: new Set(),
    before: null,
    after: null,
    status: '',
    lost: false,
  };
}

/** A string to be run. */
export type Run = {
  readonly sql: string;
  /** A line that a COPY FROM STDIN in the string is given. */
  readonly data?: string;
  readonly searchPath: readonly string[];
  /** Look at every setting, not only at those that say who acts and how text is read. */
  readonly whole: boolean;
};

/** Runs strings one after the other, each in a transaction that is rolled back, with a look before and after. */
export class Server {
  readonly #open: () => Promise<Wire>;
  #wire: Wire | null = null;
  /** Every setting, as it is when nothing has run. */
  #settings = '';
  /** Ends when all that was asked for has run. */
  #turn: Promise<unknown> = Promise.resolve();
  #take: (type: number, frame: Buffer) => void = () => {};
  #ended: () => void = () => {};
  /** What every new connection runs first. */
  readonly #setup: string;

  private constructor(open: () => Promise<Wire>, setup: string) {
    this.#open = open;
    this.#setup = setup;
  }

  static connect(url: string, setup: string): Server {
    const { hostname, port, username, password, pathname } = new URL(url);
    const address: UpstreamAddress = {
      host: hostname,
      port: Number(port),
      database: null,
      user: null,
      password: null,
      tls: { mode: 'disable' },
    };
    return new Server(async () => {
      const login = { user: username, password, database: pathname.slice(1), parameters: new Map() };
      return (await openUpstream(address, login, 30_000)).wire;
    }, setup);
  }

  /** One call after the other; between two calls no transaction is open. */
  run(strings: readonly Run[]): Promise<Outcome[]> {
    return this.alone(() => this.#run(strings));
  }

  /** Work that needs the database for itself. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  async #run(strings: readonly Run[]): Promise<Outcome[]> {
    const outcomes: Outcome[] = [];
    while (outcomes.length < strings.length) {
      const wire = this.#wire ?? (await this.#connect());
      const rest = strings.slice(outcomes.length);
      const done = await this.#pipeline(wire, rest);
      outcomes.push(...done);
      if (done.length < rest.length || done.at(-1)?.lost === true) {
        wire.destroy();
        this.#wire = null;
      }
    }
    return outcomes;
  }

  async close(): Promise<void> {
    this.#wire?.destroy();
    this.#wire = null;
  }

  async #connect(): Promise<Wire> {
    const wire = await this.#open();
    const reader = new FrameReader(1 << 30);
    wire.listen({
      chunk: (chunk) =>
        reader.push(chunk, (type, frame) => {
          this.#take(type, frame);
          return true;
        }),
      closed: () => this.#ended(),
      drained: () => {},
    });
    this.#wire = wire;
    const ready = new Promise<void>((done, failed) => {
      this.#ended = () => failed(new Error('the connection ended at its start'));
      this.#take = (type, frame) => {
        if (type === 0x45) failed(new Error(decodeErrorFields(frame)['M']));
        if (type === 0x44) this.#settings = frame.toString('utf8', 11);
        if (type === 0x5a) done();
      };
    });
    wire.write(query(`${this.#setup}; SELECT watch.settings()`));
    await ready;
    return wire;
  }

  /** Outcomes of the strings in order; fewer where the connection ended: the last one is then what it ended with. */
  #pipeline(wire: Wire, strings: readonly Run[]): Promise<Outcome[]> {
    const outcomes: Outcome[] = [newOutcome()];
    return new Promise((done) => {
      let phase = 0;
      this.#ended = () => {
        const last = outcomes.at(-1);
        if (last !== undefined) {
          last.lost = true;
          last.error ??= { code: '08006', message: 'the connection ended' };
        }
        done(outcomes);
      };
      this.#take = (type, frame) => {
        const outcome = outcomes.at(-1);
        if (outcome === undefined) return;
        if (phase === 2) take(outcome, type, frame);
        else if (type === 0x44) {
          const text = frame.toString('utf8', 11);
          const whole = strings[outcomes.length - 1]?.whole === true;
          if (phase === 1) outcome.before = whole ? `${text}\n${this.#settings}` : text;
          else outcome.after = text;
        }
        if (type !== 0x5a) return;
        phase += 1;
        if (phase < PHASES) return;
        if (outcomes.length < strings.length) {
          phase = 0;
          outcomes.push(newOutcome());
        } else if (phase > PHASES) done(outcomes);
      };
      wire.write(Buffer.concat([...strings.flatMap(framesOf), query(CLEAN_UP)]));
    });
  }
}

/** ReadyForQuery for each string: after what cleans up, the look before, the string itself, and the look after. */
const PHASES = 4;
const CLEAN_UP = 'ROLLBACK; DEALLOCATE ALL';

function framesOf({ sql, data, searchPath, whole }: Run): Buffer[] {
  const line = data === undefined ? [] : [encodeFrame(0x64, Buffer.from(`${data}\n`))];
  return [
    // Between two transactions the server hands over what it counted.
    query(`${CLEAN_UP}; SET search_path = ${searchPath.join(', ')}`),
    query('BEGIN; SELECT watch.before()'),
    query(sql),
    // Where nothing is being copied the server drops these.
    ...line,
    COPY_DONE,
    COPY_DONE,
    COPY_DONE,
    query(`SELECT watch.look(${whole})`),
  ];
}

function take(outcome: Outcome, type: number, frame: Buffer): void {
  switch (type) {
    case 0x44: // DataRow
    case 0x64: // CopyData
      outcome.rows[outcome.tags.length] = (outcome.rows[outcome.tags.length] ?? 0) + 1;
      return scan(outcome, frame);
    case 0x43: // CommandComplete
      outcome.rows[outcome.tags.length] ??= 0;
      outcome.tags.push(commandTag(frame));
      return;
    case 0x4e: {
      // NoticeResponse
      const trip = /^TRIP (\S+)/.exec(decodeErrorFields(frame)['M'] ?? '');
      if (trip?.[1] !== undefined) outcome.trips.add(trip[1]);
      return scan(outcome, frame);
    }
    case 0x45: {
      const fields = decodeErrorFields(frame);
      outcome.error = { code: fields['C'] ?? '', message: fields['M'] ?? '' };
      return scan(outcome, frame);
    }
    case 0x5a:
      outcome.status = String.fromCharCode(frame[5] ?? 0);
      return;
    default:
  }
}

function scan(outcome: Outcome, frame: Buffer): void {
  if (!outcome.secret && frame.includes('SCRAM-SHA-256$')) outcome.secret = true;
  if (outcome.marks.size > MOST_MARKS || !frame.includes(0xa7)) return;
  for (const [, number = ''] of frame.toString('latin1').matchAll(MARK)) outcome.marks.add(number);
}
