import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { PHASES } from '../../src/session/state.ts';
import { TABLE } from '../../src/session/waits.ts';
import { F, OPEN, RELEASE, TestSession } from './harness.ts';

/** The budget is used up, once the database was asked. */
const SPENT = {
  open: (_: unknown, asked: boolean) =>
    asked
      ? ({
          kind: 'spent',
          spent: {
            budget: { name: 'b', tag: null, rows: 1, bytes: null, windowMs: 1000 },
            taken: { rows: 1, bytes: 2 },
            endsAt: 0,
          },
        } as const)
      : ({ kind: 'ask' } as const),
  uncapped: () => [],
  exhausted: () => null,
  loose: () => {},
};

/** Brings a session into each phase with a statement that is to be held. */
const INTO: Record<(typeof PHASES)[number], () => TestSession> = {
  ready: () => new TestSession(),
  analysing: () => new TestSession().f(F.query('late')),
  clarifying: () => new TestSession().f(F.query('vague ddl t')),
  budgeting: () => new TestSession({ budget: SPENT }).f(F.query('read 1')),
  settling: () => new TestSession().f(F.query('read 1'), F.query('ddl t')),
  refreshing: () => {
    const s = new TestSession().f(F.query('ddl t')).opened().approve();
    return s.b(complete, ready).f(F.query('read 1'));
  },
  listing: () => new TestSession().f(F.query('SHOW countersign.requests')),
  probing: () => new TestSession().f(F.query('ddl t')),
  opening: () => new TestSession().f(F.query('ddl t')).on({ kind: 'probed', rejection: null }),
  held: () => new TestSession().f(F.query('ddl t')).opened(),
  releasing: () =>
    new TestSession().f(F.query('ddl t')).opened().on({ kind: 'answered', state: 'approved', ended: null }),
  streaming: () => new TestSession().f(F.query('measured 1')),
  stopping: () =>
    new TestSession({ limits: { ...DEFAULT_LIMITS, exportBytes: 10 } })
      .f(F.query('measured 1'))
      .b(B.rowDescription(), B.dataRow(11))
      .opened()
      .on({ kind: 'answered', state: 'denied', ended: null }),
  ended: () => new TestSession().on({ kind: 'clientGone' }),
};

import { B, fakeAnalysis } from './harness.ts';

const complete = B.complete('DROP TABLE');
const ready = B.ready();

const EVENTS = {
  analysed: { kind: 'analysed', analysis: fakeAnalysis('read 1') },
  sliced: { kind: 'sliced', failed: null },
  listed: { kind: 'listed', requests: [] },
  clarified: { kind: 'clarified', analysis: null },
  settled: { kind: 'settled' },
  refreshed: { kind: 'refreshed' },
  probed: { kind: 'probed', rejection: null },
  opened: { kind: 'opened', request: OPEN },
  openFailed: { kind: 'openFailed', why: 'away', limit: null },
  answered: { kind: 'answered', state: 'denied', ended: null },
  released: { kind: 'released', release: RELEASE },
  releaseFailed: { kind: 'releaseFailed', why: 'altered' },
  holdTimeout: { kind: 'holdTimeout' },
  noticeDue: { kind: 'noticeDue' },
  cancel: { kind: 'cancel' },
  clientGone: { kind: 'clientGone' },
  drain: { kind: 'drain' },
} as const;

describe('the table of phases and events', () => {
  const cells = PHASES.flatMap((phase) =>
    Object.values(EVENTS).map((event) => [phase, event.kind, event] as const),
  );

  it.each(cells)('%s × %s does what its cell says, and forwards nothing unapproved', (phase, kind, event) => {
    const s = INTO[phase]();
    expect(s.session.phase).toBe(phase);
    s.sent();
    const cell = TABLE[phase][kind];
    if (cell === 'impossible') {
      expect(() => s.on(event)).toThrow(`event ${kind} in phase ${phase}`);
      return;
    }
    s.on(event);
    if (cell === 'ignore') expect(s.session.phase).toBe(phase);
    // Whatever came, the held statement went upstream only where it was released.
    const forwarded = s.sent().filter((one) => one.includes('ddl t'));
    expect(forwarded.length > 0).toBe(phase === 'releasing' && kind === 'released');
  });

  it.each(PHASES)('%s: after the client has gone nothing is sent upstream for it', (phase) => {
    const s = INTO[phase]();
    s.sent();
    s.on({ kind: 'clientGone' });
    s.f(F.query('read 2'));
    // But for a Flush, so that the server answers what it has.
    expect(s.sent().filter((one) => one !== 'H')).toEqual([]);
  });
});
