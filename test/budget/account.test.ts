import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Account, type Slice, type SliceRequest } from '../../src/budget/account.ts';
import type { Budget, Need } from '../../src/budget/budget.ts';
import { Meter } from '../../src/budget/meter.ts';
import { ModelDatabase } from './model.ts';

const WINDOW_MS = 1_000;
const budget = (rows: number | null, bytes: number | null): Budget => ({
  name: 'b',
  tag: null,
  rows,
  bytes,
  windowMs: WINDOW_MS,
});

/** One process: its accounts die with it, its clock began at some other moment and runs a little wrong. */
type Process = {
  account: Account;
  window: string | null;
  readonly clock: { readonly offset: number; readonly rate: number };
  meters: Meter[];
  /** Sent, and not answered yet; the database may have it, or not. */
  inFlight: { readonly request: SliceRequest; readonly sentAt: number; slice: Slice | null } | null;
};

type World = {
  readonly budget: Budget;
  readonly database: ModelDatabase;
  readonly processes: Process[];
  /** What really flowed, not approved, by the window that it was leased from. */
  readonly flowed: Map<string, { rows: number; bytes: number }>;
};

const START = { rows: 5, bytes: 50 };
const timeOf = ({ clock }: Process, world: World) => clock.offset + world.database.now * clock.rate;

function newProcess(clock: Process['clock'], limits: Budget): Process {
  return { account: new Account(limits), window: null, clock, meters: [], inFlight: null };
}

function send(world: World, at: Process, request: SliceRequest): void {
  at.inFlight = { request, sentAt: timeOf(at, world), slice: null };
}

const STEPS: Readonly<Record<string, (world: World, at: Process, amount: number) => void>> = {
  time: (world, _at, amount) => {
    world.database.now += amount * 12;
  },
  begin: (world, at) => {
    // Also on the word of a slice that was asked for just now.
    const readiness = at.account.readiness(timeOf(at, world), START, true);
    if (readiness === 'open' && at.meters.length < 4)
      at.meters.push(new Meter([{ account: at.account, need: START }], false));
    else if (at.inFlight === null) send(world, at, at.account.ask(START));
  },
  rows: (world, at, amount) => {
    const meter = at.meters[amount % at.meters.length];
    if (meter === undefined) return;
    const size = 1 + (amount % 13);
    for (let i = 0; i < amount; i++) {
      if (!meter.row(size)) return;
      const window = world.flowed.get(at.window ?? '') ?? { rows: 0, bytes: 0 };
      world.flowed.set(at.window ?? '', { rows: window.rows + 1, bytes: window.bytes + size });
    }
  },
  approved: (_world, at, amount) => {
    const meter = new Meter([{ account: at.account, need: START }], true);
    for (let i = 0; i < amount; i++) meter.row(1);
    meter.end();
  },
  end: (_world, at) => at.meters.shift()?.end(),
  ask: (world, at) => {
    if (at.inFlight === null) send(world, at, at.account.ask(START));
  },
  tell: (world, at) => {
    if (at.inFlight === null) send(world, at, at.account.tell());
  },
  giveBack: (world, at) => {
    if (at.inFlight === null) send(world, at, at.account.giveBack());
  },
  arrive: (world, at) => {
    if (at.inFlight !== null && at.inFlight.slice === null)
      at.inFlight.slice = world.database.lease(at.inFlight.request);
  },
  answer: (_world, at) => {
    if (at.inFlight === null || at.inFlight.slice === null) return;
    const { request, slice, sentAt } = at.inFlight;
    at.account.answered(request, slice, sentAt);
    at.window = slice.window;
    at.inFlight = null;
  },
  refill: (world, at) => {
    for (const kind of ['ask', 'arrive', 'answer', 'begin']) STEPS[kind]?.(world, at, 1);
  },
  /** The connection is cut: before the database has it, or after. */
  lost: (_world, at) => {
    at.inFlight = null;
  },
  crash: (world, at) => {
    Object.assign(at, newProcess(at.clock, world.budget));
  },
};

const step = fc.record({
  kind: fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom('refill', 'rows') },
    { weight: 3, arbitrary: fc.constantFrom('begin', 'arrive', 'answer', 'ask', 'time', 'giveBack') },
    { weight: 1, arbitrary: fc.constantFrom('end', 'tell', 'lost', 'crash', 'approved') },
  ),
  process: fc.nat(3),
  amount: fc.integer({ min: 1, max: 30 }),
});

function play(limits: Budget, steps: readonly { kind: string; process: number; amount: number }[]): World {
  const clocks = [
    { offset: 0, rate: 1 },
    { offset: 1e9, rate: 1.0009 },
    { offset: -5_000, rate: 0.9991 },
    { offset: 17, rate: 1 },
  ];
  const world: World = {
    budget: limits,
    database: new ModelDatabase(),
    processes: clocks.map((clock) => newProcess(clock, limits)),
    flowed: new Map(),
  };
  for (const { kind, process, amount } of steps) {
    const at = world.processes[process];
    if (at !== undefined) STEPS[kind]?.(world, at, amount);
  }
  return world;
}

describe('what many processes take together', () => {
  it.each([
    [200, 2_000],
    [60, null],
    [null, 500],
    [1, 1],
  ])('is never more than the budget: %s rows, %s bytes', (rows, bytes) => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 50, maxLength: 400 }), (steps) => {
        const world = play(budget(rows, bytes), steps);
        for (const { rows: flowed, bytes: size } of world.flowed.values()) {
          expect(flowed).toBeLessThanOrEqual(rows ?? Number.POSITIVE_INFINITY);
          expect(size).toBeLessThanOrEqual(bytes ?? Number.POSITIVE_INFINITY);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('can be all of it', () => {
    const limits = budget(1_000, null);
    const world = play(limits, []);
    let flowed = 0;
    for (let round = 0; round < 400; round++)
      for (const at of world.processes) {
        if (at.meters.length === 0) {
          if (at.account.readiness(timeOf(at, world), START, false) === 'ask') {
            for (const kind of ['ask', 'arrive', 'answer']) STEPS[kind]?.(world, at, 1);
          }
          if (at.account.readiness(timeOf(at, world), START, true) !== 'open') continue;
          at.meters.push(new Meter([{ account: at.account, need: START }], false));
        }
        if (at.meters[0]?.row(1) === true) flowed += 1;
        STEPS['end']?.(world, at, 1);
      }
    expect(flowed).toBe(1_000);
  });

  it('nothing begins on a slice whose window is over, whatever the clock of the process', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 50, maxLength: 300 }), (steps) => {
        const world = play(budget(200, 2_000), steps);
        for (const at of world.processes) {
          if (at.window === null || at.account.readiness(timeOf(at, world), START, true) === 'ask') continue;
          expect(world.database.now).toBeLessThan(Number(at.window) + WINDOW_MS);
        }
      }),
      { numRuns: 300 },
    );
  });
});

/** An account with a slice of the present window. */
function opened(limits: Budget, want: Need = START): { account: Account; database: ModelDatabase } {
  const account = new Account(limits);
  const database = new ModelDatabase();
  const request = account.ask(want);
  account.answered(request, database.lease(request), 0);
  return { account, database };
}

describe('an account', () => {
  it('asks before it says that all is used up', () => {
    const { account, database } = opened(budget(10, null));
    const meter = new Meter([{ account, need: START }], false);
    while (meter.row(1));
    meter.end();
    expect(account.readiness(1, START, false)).toBe('ask');
    for (let i = 0; i < 2; i++) {
      const request = account.ask(START);
      account.answered(request, database.lease(request), 1);
      const next = new Meter([{ account, need: START }], false);
      while (next.row(1));
      next.end();
    }
    expect(account.readiness(1, START, true)).toBe('spent');
    expect(account.spent()).toMatchObject({ taken: { rows: 10, bytes: 10 }, endsAt: WINDOW_MS });
    // What gives no rows back goes on: bytes are not limited.
    expect(account.readiness(1, { rows: 0, bytes: 100 }, true)).toBe('open');
    expect(account.readiness(WINDOW_MS, START, true)).toBe('ask');
  });

  it('asks for more ahead, once for each slice, when half of it is used', () => {
    const { account } = opened(budget(800, null));
    let asked = 0;
    account.onLow = () => {
      asked += 1;
    };
    for (let i = 0; i < 50; i++) account.take(1, 1);
    expect(asked).toBe(0);
    for (let i = 0; i < 50; i++) account.take(1, 1);
    expect(asked).toBe(1);
  });

  it('counts what people approved beyond its slice, and has the less left', () => {
    const { account, database } = opened(budget(100, null));
    const meter = new Meter([{ account, need: START }], true);
    for (let i = 0; i < 150; i++) expect(meter.row(1)).toBe(true);
    meter.end();
    const request = account.tell();
    expect(request).toMatchObject({ counted: { rows: 150 }, over: { rows: 137 } });
    account.answered(request, database.lease(request), 1);
    expect([...database.windows.values()][0]).toMatchObject({ leased: { rows: 150 }, taken: { rows: 150 } });
    const more = account.ask(START);
    account.answered(more, database.lease(more), 1);
    expect(account.readiness(1, START, true)).toBe('spent');
  });

  it('says what may still flow', () => {
    const { account } = opened(budget(100, null));
    expect(new Meter([{ account, need: START }], false).left()).toEqual({ rows: 13, bytes: null });
    expect(new Meter([{ account, need: START }], true).left()).toEqual({ rows: null, bytes: null });
  });

  it('asks once more where a new window began while it asked for what the old one lacked', () => {
    const { account, database } = opened(budget(100, null));
    account.take(3, 3);
    const first = account.ask(START);
    database.now = WINDOW_MS;
    account.answered(first, database.lease(first), WINDOW_MS);
    // It had enough of the old window's, so it asked for nothing: that is no wall.
    expect(account.readiness(WINDOW_MS, START, true)).toBe('ask');
    expect(account.moved).toBe(true);
    const second = account.ask(START);
    account.answered(second, database.lease(second), WINDOW_MS);
    expect(account.moved).toBe(false);
    expect(account.readiness(WINDOW_MS, START, true)).toBe('open');
  });

  it('counts what was taken while the question was under way in the window that the answer is about', () => {
    const { account, database } = opened(budget(100, null));
    account.take(3, 3);
    const request = account.ask(START);
    database.now = WINDOW_MS;
    const slice = database.lease(request);
    account.take(4, 4);
    account.answered(request, slice, WINDOW_MS);
    expect([...database.windows.values()].map(({ taken }) => taken.rows)).toEqual([3, 0]);
    expect(account.tell()).toMatchObject({ window: String(WINDOW_MS), counted: { rows: 4 } });
  });
});
