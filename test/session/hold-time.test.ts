import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import type { ApprovalDemand } from '../../src/policy/decision.ts';
import type { Analysis } from '../../src/statement/analysis.ts';
import { B, F, TestSession } from './harness.ts';

/** A rule's hold of that long. */
function holding(holdMs: number | undefined): TestSession {
  const approval: ApprovalDemand = {
    approvers: [],
    quorum: 1,
    assurance: 1,
    ...(holdMs === undefined ? {} : { holdMs }),
  };
  const decide = ({ class: rank, reasons }: Analysis) => ({
    decision: rank === 'ddl' ? ('hold' as const) : ('allow' as const),
    ...{ rule: 'r', policy: 'p', class: rank, reasons, approval: rank === 'ddl' ? approval : null },
  });
  return new TestSession({ decide });
}

const waits = (s: TestSession) => s.effect('startTimers').holdMs;
const asked = (s: TestSession) => s.effect('open').question.holdMs;

describe('how long a hold waits on its connection', () => {
  it.each([
    [undefined, DEFAULT_LIMITS.holdTimeoutMs, DEFAULT_LIMITS.holdTimeoutInTransactionMs],
    [5_000, 5_000, 5_000],
    [3_600_000, 3_600_000, DEFAULT_LIMITS.holdTimeoutInTransactionMs],
    // As long as a timer can: a longer one would fire at once.
    [1e12, 2 ** 31 - 1, DEFAULT_LIMITS.holdTimeoutInTransactionMs],
  ])('rule %s ms: %s ms, in a transaction %s ms; people are told the same', (holdMs, alone, locked) => {
    const s = holding(holdMs).f(F.query('ddl t'));
    s.opened();
    expect([asked(s), waits(s)]).toEqual([alone, alone]);
    const t = holding(holdMs).f(F.query('begin')).b(B.complete('BEGIN'), B.ready('T')).f(F.query('ddl t'));
    t.opened();
    expect([asked(t), waits(t)]).toEqual([locked, locked]);
  });

  it('is over with an error that says what to do, and the request stays open', () => {
    const s = holding(5_000).f(F.query('ddl t')).opened().on({ kind: 'holdTimeout' });
    expect(s.kinds()).toContain('detach');
    expect(s.kinds()).not.toContain('withdraw');
    expect(s.sent()[0]).toMatch(/^Q SELECT "cs:/);
  });
});
