/**
 * One budget of one agent as this process knows it: a slice of the window's budget that was leased ahead, and what was
 * taken of it. Time is an argument: milliseconds of any steady clock.
 */
import type { Budget, Need } from './budget.ts';

/** What is asked of the database: what to give, and what became of what it gave before. All amounts are rows, bytes. */
export type SliceRequest = {
  readonly budget: Budget;
  readonly want: Need;
  /** Which window the rest is about: the start of it, as the database said; null: none yet. */
  readonly window: string | null;
  /** Taken since the last report. */
  readonly counted: Need;
  /** Taken beyond what was leased: people approved it, or mode observe let it pass. */
  readonly over: Need;
  /** Leased and not needed. */
  readonly back: Need;
};

/** What the database says; the amounts are of the window that `window` names. */
export type Slice = {
  readonly window: string;
  /** Milliseconds from some moment after the request was sent to the end of the window. */
  readonly endsInMs: number;
  /** The end of the window, milliseconds since 1970 UTC, by the database's clock. */
  readonly endsAt: number;
  readonly granted: Need;
  /** Taken so far in this window, by all processes, as far as they have told. */
  readonly taken: Need;
};

/** The wall: what a person, and the agent, are told of it. */
export type Spent = { readonly budget: Budget; readonly taken: Need; readonly endsAt: number };

export type Readiness = 'open' | 'ask' | 'spent';

const NOTHING: Need = { rows: 0, bytes: 0 };
/** Clocks of two machines run apart by far less. */
const DRIFT = 0.001;
/** What is leased ahead for statements that run is at most this part of the budget: other processes need some too. */
const AHEAD = 1 / 4;
/** When this part of a slice is used up the next one is asked for. */
const LOW = 1 / 2;

export class Account {
  readonly budget: Budget;
  /** Told, once for each slice, that it will soon be used up. */
  onLow: () => void = () => {};
  readonly ahead: Need;
  readonly #limitsRows: boolean;
  readonly #limitsBytes: boolean;
  #window: string | null = null;
  #endsAt = 0;
  /** Of the steady clock. */
  #deadline = Number.NEGATIVE_INFINITY;
  #grantedRows = 0;
  #grantedBytes = 0;
  #usedRows = 0;
  #usedBytes = 0;
  #reported: Need = NOTHING;
  /** Taken in this window by everybody, when the database was last asked. */
  #taken: Need = NOTHING;
  /** The last time the database gave less than was asked for. */
  #scarce = false;
  /** What was asked for last was reckoned with the slice of a window that had ended by then. */
  #moved = false;
  /** What statements that run are expected to take. */
  #pledgedRows = 0;
  #pledgedBytes = 0;
  #running = 0;
  /** The largest row that waits, for it does not fit. */
  #waiting: Need = NOTHING;
  /** Where the next slice is asked for. */
  #rowsLowAt = Number.POSITIVE_INFINITY;
  #bytesLowAt = Number.POSITIVE_INFINITY;
  #lowTold = false;

  constructor(budget: Budget) {
    this.budget = budget;
    this.ahead = {
      rows: Math.ceil((budget.rows ?? 0) * AHEAD),
      bytes: Math.ceil((budget.bytes ?? 0) * AHEAD),
    };
    this.#limitsRows = budget.rows !== null;
    this.#limitsBytes = budget.bytes !== null;
  }

  /** Whether a statement may begin. `asked`: the database was asked for the sake of this one just now. */
  readiness(now: number, need: Need, asked: boolean): Readiness {
    if (now >= this.#deadline) return 'ask';
    const rows = this.#limitsRows ? this.#grantedRows - this.#usedRows : Number.POSITIVE_INFINITY;
    const bytes = this.#limitsBytes ? this.#grantedBytes - this.#usedBytes : Number.POSITIVE_INFINITY;
    const { ahead } = this;
    if (
      rows >= need.rows + Math.min(this.#pledgedRows, ahead.rows) &&
      bytes >= need.bytes + Math.min(this.#pledgedBytes, ahead.bytes)
    )
      return 'open';
    // It had not all that was asked for: it is asked again only where what is here is not enough.
    if (this.#scarce && rows >= need.rows && bytes >= need.bytes) return 'open';
    if (!asked || this.#moved) return 'ask';
    const some = rows >= Math.min(1, need.rows) && bytes >= Math.min(1, need.bytes);
    return some ? 'open' : 'spent';
  }

  /** A statement that is expected to take so much begins; each `begin` has its `end`. */
  begin(need: Need): void {
    this.#running += 1;
    this.#pledgedRows += need.rows;
    this.#pledgedBytes += need.bytes;
  }

  end(need: Need): void {
    this.#running -= 1;
    this.#pledgedRows -= need.rows;
    this.#pledgedBytes -= need.bytes;
  }

  /** So much more still fits into the slice. On the way of every row: no time is asked for, nothing is allocated. */
  fits(rows: number, bytes: number): boolean {
    if (this.#limitsRows && rows > 0 && this.#usedRows + rows > this.#grantedRows) return false;
    return !(this.#limitsBytes && this.#usedBytes + bytes > this.#grantedBytes);
  }

  /** A row waits for the next slice, which must have room for it. */
  waits(rows: number, bytes: number): void {
    this.#waiting = { rows: Math.max(rows, this.#waiting.rows), bytes: Math.max(bytes, this.#waiting.bytes) };
  }

  take(rows: number, bytes: number): void {
    this.#usedRows += rows;
    this.#usedBytes += bytes;
    if (this.#lowTold || (this.#usedRows <= this.#rowsLowAt && this.#usedBytes <= this.#bytesLowAt)) return;
    this.#lowTold = true;
    this.onLow();
  }

  /** What is left of the slice; null: not limited. */
  left(): { readonly rows: number | null; readonly bytes: number | null } {
    return {
      rows: this.#limitsRows ? Math.max(0, this.#grantedRows - this.#usedRows) : null,
      bytes: this.#limitsBytes ? Math.max(0, this.#grantedBytes - this.#usedBytes) : null,
    };
  }

  spent(): Spent {
    return { budget: this.budget, taken: plus(this.#taken, this.#unreported()), endsAt: this.#endsAt };
  }

  /** The answer was about a new window, and so may be too little: it must be asked again before a wall is one. */
  get moved(): boolean {
    return this.#moved;
  }

  /** All of the budget was taken, as far as is known. */
  exhausted(now: number): boolean {
    if (now >= this.#deadline) return false;
    const { rows, bytes } = this.budget;
    const { taken } = this.spent();
    return (rows !== null && taken.rows >= rows) || (bytes !== null && taken.bytes >= bytes);
  }

  /** When its window ends, by the steady clock; negative infinity: it has none yet. */
  get deadline(): number {
    return this.#deadline;
  }

  /** Something was taken that the database does not know of. */
  get unreported(): boolean {
    const { rows, bytes } = this.#unreported();
    return rows > 0 || bytes > 0;
  }

  get used(): Need {
    return { rows: this.#usedRows, bytes: this.#usedBytes };
  }

  /** Nothing runs, and something of the slice is left. */
  get idle(): boolean {
    return this.#running === 0 && (this.#unused().rows > 0 || this.#unused().bytes > 0);
  }

  /** To begin, or go on, with statements that need so much beside what runs already. */
  ask(need: Need): SliceRequest {
    const { rows, bytes } = this.budget;
    const unused = this.#unused();
    const wanted = (needed: number, pledged: number, most: number, there: number, low: boolean) =>
      Math.max(low ? 1 : 0, needed + Math.min(pledged, most) - there);
    const { ahead } = this;
    const rowsLow = this.#usedRows > this.#rowsLowAt;
    const bytesLow = this.#usedBytes > this.#bytesLowAt;
    const needed = {
      rows: Math.max(need.rows, this.#waiting.rows),
      bytes: Math.max(need.bytes, this.#waiting.bytes),
    };
    this.#waiting = NOTHING;
    const want = {
      rows: rows === null ? 0 : wanted(needed.rows, this.#pledgedRows, ahead.rows, unused.rows, rowsLow),
      bytes:
        bytes === null ? 0 : wanted(needed.bytes, this.#pledgedBytes, ahead.bytes, unused.bytes, bytesLow),
    };
    return { ...this.#report(), want, back: NOTHING };
  }

  /** Only says what was taken. */
  tell(): SliceRequest {
    return { ...this.#report(), want: NOTHING, back: NOTHING };
  }

  /**
   * Gives back what is not used. From this moment on it cannot be used here any more, whether or not the database hears
   * of it: given back twice it would be there twice.
   */
  giveBack(): SliceRequest {
    const back = this.#unused();
    this.#grantedRows -= back.rows;
    this.#grantedBytes -= back.bytes;
    this.#rowsLowAt = Number.POSITIVE_INFINITY;
    this.#bytesLowAt = Number.POSITIVE_INFINITY;
    return { ...this.#report(), want: NOTHING, back };
  }

  /** The answer to a request that was sent at `sentAt`. What ran on goes on with the new window's slice. */
  answered(request: SliceRequest, slice: Slice, sentAt: number): void {
    this.#moved = slice.window !== this.#window && this.#window !== null;
    if (slice.window !== this.#window) {
      if (request.window === this.#window) this.#reported = plus(this.#reported, request.counted);
      const rest = this.#unreported();
      this.#window = slice.window;
      this.#grantedRows = 0;
      this.#grantedBytes = 0;
      // Taken while the question was under way: nobody can tell on which side of the change, so it counts in the new one.
      this.#usedRows = rest.rows;
      this.#usedBytes = rest.bytes;
      this.#reported = NOTHING;
      this.#rowsLowAt = Number.POSITIVE_INFINITY;
      this.#bytesLowAt = Number.POSITIVE_INFINITY;
    } else {
      this.#reported = plus(this.#reported, request.counted);
      this.#grantedRows += request.over.rows;
      this.#grantedBytes += request.over.bytes;
    }
    this.#grantedRows += slice.granted.rows;
    this.#grantedBytes += slice.granted.bytes;
    const { want } = request;
    if (want.rows > 0 || want.bytes > 0)
      this.#scarce = slice.granted.rows < want.rows || slice.granted.bytes < want.bytes;
    this.#taken = slice.taken;
    this.#endsAt = slice.endsAt;
    // Its end is not nearer than that: the database counted from a later moment.
    this.#deadline = sentAt + slice.endsInMs * (1 - DRIFT);
    this.#setLow(want, slice.granted);
  }

  #report(): Pick<SliceRequest, 'budget' | 'window' | 'counted' | 'over'> {
    return {
      budget: this.budget,
      window: this.#window,
      counted: this.#unreported(),
      over: {
        rows: Math.max(0, this.#usedRows - this.#grantedRows),
        bytes: Math.max(0, this.#usedBytes - this.#grantedBytes),
      },
    };
  }

  #unreported(): Need {
    return {
      rows: this.#usedRows - this.#reported.rows,
      bytes: this.#usedBytes - this.#reported.bytes,
    };
  }

  #unused(): Need {
    return {
      rows: Math.max(0, this.#grantedRows - this.#usedRows),
      bytes: Math.max(0, this.#grantedBytes - this.#usedBytes),
    };
  }

  /** Where there was nothing any more nothing is asked for ahead: the next statement does. */
  #setLow(want: Need, granted: Need): void {
    const { rows, bytes } = this.#unused();
    if (granted.rows > 0) this.#rowsLowAt = this.#usedRows + rows * LOW;
    else if (want.rows > 0) this.#rowsLowAt = Number.POSITIVE_INFINITY;
    if (granted.bytes > 0) this.#bytesLowAt = this.#usedBytes + bytes * LOW;
    else if (want.bytes > 0) this.#bytesLowAt = Number.POSITIVE_INFINITY;
    this.#lowTold = false;
  }
}

function plus(a: Need, b: Need): Need {
  return { rows: a.rows + b.rows, bytes: a.bytes + b.bytes };
}
