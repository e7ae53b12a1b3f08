import type { Slice, SliceRequest } from '../../src/budget/account.ts';

type Window = { leased: { rows: number; bytes: number }; taken: { rows: number; bytes: number } };

/** The audit database as `countersign.lease_budget` has it: one agent, one budget, and a clock that is its own. */
export class ModelDatabase {
  now = 0;
  readonly windows = new Map<string, Window>();

  lease({ budget, want, window, counted, over, back }: SliceRequest): Slice {
    const number = Math.floor(this.now / budget.windowMs);
    const start = String(number * budget.windowMs);
    const known = this.#window(window ?? start);
    for (const unit of ['rows', 'bytes'] as const) {
      known.leased[unit] = Math.max(0, known.leased[unit] + over[unit] - back[unit]);
      known.taken[unit] += counted[unit];
    }
    const present = this.#window(start);
    const grant = (unit: 'rows' | 'bytes') => {
      const limit = budget[unit];
      if (limit === null || want[unit] <= 0) return 0;
      const left = limit - present.leased[unit];
      return Math.max(0, Math.min(left, Math.max(want[unit], Math.ceil(left / 8))));
    };
    const granted = { rows: grant('rows'), bytes: grant('bytes') };
    present.leased.rows += granted.rows;
    present.leased.bytes += granted.bytes;
    const endsAt = (number + 1) * budget.windowMs;
    return { window: start, endsInMs: endsAt - this.now, endsAt, granted, taken: { ...present.taken } };
  }

  #window(start: string): Window {
    const known = this.windows.get(start);
    if (known !== undefined) return known;
    const made: Window = { leased: { rows: 0, bytes: 0 }, taken: { rows: 0, bytes: 0 } };
    this.windows.set(start, made);
    return made;
  }
}
