import { describe, expect, it } from 'vitest';
import { OpenRuns } from '../../src/session/open-runs.ts';
import type { Run } from '../../src/session/run.ts';
import { B, F, TestSession } from './harness.ts';

const MANY = 20_000;

/** A run that counts how often anybody looks at how it stands. */
function watchedRun(no: number, looks: { count: number }, changesCatalog = false): Run {
  const run: Run = {
    no,
    class: 'read',
    requestId: null,
    approvers: [],
    startedAt: 0,
    symbols: [],
    text: null,
    scopeKey: null,
    changesCatalog,
    copyIn: false,
    guard: null,
    meter: null,
    subject: null,
    place: 0,
    cursor: null,
    rest: null,
    maySelfCommit: false,
    implicitTransaction: true,
    begun: false,
    rows: 0,
    bytes: 0,
    tag: null,
    state: 'sent',
    sqlstate: null,
  };
  let { state } = run;
  return Object.defineProperty(run, 'state', {
    get: () => {
      looks.count += 1;
      return state;
    },
    set: (next: Run['state']) => {
      state = next;
    },
  });
}

describe('statements under way', () => {
  it('are looked at a fixed number of times each, however many wait behind them', () => {
    const looks = { count: 0 };
    const open = new OpenRuns();
    // The last one changes the catalog: whoever asks for such must not search for it.
    const runs = Array.from({ length: MANY }, (_, i) => watchedRun(i, looks, i === MANY - 1));
    for (const run of runs) open.add([run]);
    const settled: number[] = [];
    for (const run of runs) {
      expect(open.changeCatalog).toBe(true);
      open.done(run, 'complete');
      for (const one of open.settle('I')) {
        settled.push(one.no);
        open.recorded(one);
      }
    }
    expect(settled).toEqual(runs.map(({ no }) => no));
    expect(open.changeCatalog).toBe(false);
    expect(open.takeAll()).toEqual([]);
    expect(looks.count).toBeGreaterThan(0);
    expect(looks.count).toBeLessThanOrEqual(5 * MANY);
  });

  it('that are bound wait for the end of their transaction, and are not looked at before', () => {
    const looks = { count: 0 };
    const open = new OpenRuns();
    const runs = Array.from({ length: 1000 }, (_, i) => watchedRun(i, looks));
    for (const run of runs) {
      open.add([run]);
      open.bound(run);
      expect(open.settle('T')).toEqual([]);
    }
    expect(looks.count).toBeLessThanOrEqual(5000);
    expect(open.settle('I')).toEqual(runs);
  });

  it('are not all answered while one but the asking one is not', () => {
    const looks = { count: 0 };
    const open = new OpenRuns();
    const [a, b] = [watchedRun(1, looks), watchedRun(2, looks)];
    open.add([a, b]);
    expect(open.answeredBut(a)).toBe(false);
    open.done(b, 'complete');
    expect(open.answeredBut(a)).toBe(true);
    open.done(a, 'complete');
    expect(open.answeredBut(a)).toBe(true);
  });
});

describe('a pipeline of very many', () => {
  it('Query messages has an outcome for each', () => {
    const s = new TestSession();
    s.f(...Array.from({ length: MANY }, (_, i) => F.query(i % 1000 === 0 ? 'write x' : 'read 1')));
    for (let i = 0; i < MANY; i++) s.b(B.complete('SELECT 1'), B.ready());
    expect(s.outcomes()).toHaveLength(MANY);
    expect(new Set(s.outcomes().map((one) => one.split(' ')[1]))).toEqual(new Set(['executed']));
    expect(s.session.idle).toBe(true);
  }, 60_000);
});
