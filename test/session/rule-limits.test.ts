import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import type { Decision } from '../../src/policy/decision.ts';
import { encodeFrame } from '../../src/protocol/backend.ts';
import { B, F, TestSession } from './harness.ts';

const limits = { ...DEFAULT_LIMITS, exportRows: 3, exportBytes: 100 };

/** Every statement gets that decision. */
function under(
  decision: Partial<Decision> | ((at: number) => Partial<Decision>),
  mode?: 'observe',
): TestSession {
  return new TestSession({
    limits,
    ...(mode === undefined ? {} : { mode }),
    decide: (analysis, at) => ({
      decision: 'allow',
      rule: 'r',
      policy: 'p',
      class: analysis.class,
      reasons: ['why'],
      approval: null,
      ...(typeof decision === 'function' ? decision(at) : decision),
    }),
  });
}

/** How many rows of that many bytes get through, of twenty. */
function through(s: TestSession, bytes = 2): number {
  s.b(B.rowDescription());
  for (let i = 0; i < 20; i += 1) s.b(B.dataRow(bytes));
  return s.client.filter((one) => one === 'D').length;
}

describe('limits of a rule that allows', () => {
  it.each([
    ['read 1', { rows: 5, bytes: null }, 2, 5],
    ['read 1', { rows: null, bytes: 50 }, 20, 2],
    ['read 1', { rows: 0, bytes: null }, 2, 0],
    ['measured 1', { rows: 5, bytes: null }, 2, 5],
    // The limits of an export are reached first; but the rule lets exports pass, too, up to its own.
    ['measured 1', { rows: 5, bytes: null }, 40, 5],
    ['measured 1', { rows: null, bytes: 30 }, 2, 15],
  ])('%s, %j, rows of %i bytes: %i', (sql, found, bytes, rows) => {
    const s = under({ limits: found }).f(F.query(sql));
    expect(through(s, bytes)).toBe(rows);
    expect(s.session.phase).toBe('stopping');
    s.cancelDone().b(B.error('57014'), B.ready());
    expect(s.client.slice(-2)).toEqual([
      'E:54000 countersign: the result is larger than what may be sent of it',
      'Z:I',
    ]);
    expect(s.kinds()).not.toContain('open');
  });

  it('count the rows of a COPY', () => {
    const s = under({ limits: { rows: 5, bytes: null } }).f(F.query('copyout t'));
    s.b(encodeFrame(0x48, Buffer.from([0, 0, 0])));
    for (let i = 0; i < 20; i += 1) s.b(encodeFrame(0x64, Buffer.from('row\n')));
    expect(s.client).toEqual(['H', 'd', 'd', 'd', 'd', 'd']);
    expect(s.session.phase).toBe('stopping');
  });

  it('are no limits in mode observe', () => {
    expect(through(under({ limits: { rows: 5, bytes: null } }, 'observe').f(F.query('read 1')))).toBe(20);
  });
});

describe('limits of a rule that holds', () => {
  const held = { decision: 'hold', limits: { rows: 4, bytes: null } } as const;

  it('are put to people, and stop what they approved', () => {
    const s = under(held).f(F.query('read 1')).opened();
    expect(s.effect('open').question.limits).toEqual({ rows: 4, bytes: null });
    s.approve();
    expect(s.effect('release').question.limits).toEqual({ rows: 4, bytes: null });
    expect(s.sent()).toEqual(['Q read 1']);
    expect(through(s)).toBe(4);
    expect(s.session.phase).toBe('stopping');
  });

  it('that sets none lets all of it pass', () => {
    const s = under({ decision: 'hold' }).f(F.query('measured 1')).opened();
    expect(s.effect('open').question).not.toHaveProperty('limits');
    expect(through(s.approve())).toBe(20);
  });
});

describe('what a rule in mode observe would have decided', () => {
  it('stands in the intent of its statement', () => {
    const s = under({ observed: [{ statement: 1, rule: 'trial', decision: 'hold' }] });
    s.f(F.query('read 1; read 2'));
    const intents = s.entries.flatMap((entry) => (entry.kind === 'intent' ? [entry.observed] : []));
    expect(intents).toEqual([undefined, { rule: 'trial', decision: 'hold' }]);
    expect(s.sent()).toEqual(['Q read 1; read 2']);
  });
});

describe('a rule with times', () => {
  const demand = (quorum: number) => ({ approvers: [], quorum, assurance: 1 }) as const;

  it('is judged by the time of the message', () => {
    const times: number[] = [];
    const s = under((at) => {
      times.push(at);
      return {};
    });
    s.now = 5_000;
    s.f(F.query('read 1'));
    expect(times).toEqual([5_001]);
  });

  it('that has changed what a hold asks for meanwhile does not change what was asked', () => {
    const s = under((at) => ({ decision: 'hold', approval: demand(at < 100 ? 2 : 1) }));
    s.now = 50;
    s.f(F.query('ddl t')).opened();
    s.now = 500;
    s.approve();
    expect(s.effect('open').question.demand.quorum).toBe(2);
    expect(s.effect('release').question.demand.quorum).toBe(2);
    expect(s.sent()).toEqual(['Q ddl t']);
  });

  it('that denies by now is not overridden by what was approved before', () => {
    const s = under((at) => ({
      decision: at < 100 ? 'hold' : 'deny',
      approval: at < 100 ? demand(1) : null,
    }));
    s.now = 50;
    s.f(F.query('ddl t')).opened();
    s.now = 500;
    s.on({ kind: 'answered', state: 'approved', ended: null });
    expect(s.kinds()).not.toContain('release');
    expect(s.kinds()).toContain('withdraw');
    expect(s.sent().join()).not.toContain('ddl t');
  });
});
