import { describe, expect, it } from 'vitest';
import { Account } from '../../src/budget/account.ts';
import { Meter } from '../../src/budget/meter.ts';
import { decodeErrorFields } from '../../src/protocol/backend.ts';
import type { SessionBudget } from '../../src/session/budget-port.ts';
import { ModelDatabase } from '../budget/model.ts';
import { B, F, rejection, TestSession } from './harness.ts';

const NEED = { rows: 1, bytes: 1 };

/** A session whose reads count against a budget of that many rows; the database answers with `slice`. */
class Budgeted extends TestSession {
  readonly account: Account;
  readonly #database: ModelDatabase;

  constructor(rows: number, options: ConstructorParameters<typeof TestSession>[0] = {}) {
    const account = new Account({ name: 'b', tag: null, rows, bytes: null, windowMs: 3_600_000 });
    const budget: SessionBudget = {
      open: (statements, asked) => {
        const readiness = account.readiness(0, NEED, asked);
        if (readiness === 'spent') return { kind: 'spent', spent: account.spent() };
        if (readiness === 'ask') return { kind: 'ask' };
        return { kind: 'open', meters: statements.map(() => new Meter([{ account, need: NEED }], false)) };
      },
      uncapped: (statements) => statements.map(() => new Meter([{ account, need: NEED }], true)),
      exhausted: () => (account.exhausted(0) ? account.spent() : null),
      loose: (bytes) => account.take(0, bytes),
    };
    super({ ...options, budget });
    this.account = account;
    this.#database = new ModelDatabase();
  }

  slice(): this {
    const request = this.account.ask(NEED);
    this.account.answered(request, this.#database.lease(request), 0);
    return this.on({ kind: 'sliced', failed: null });
  }
}

const rows = (count: number) => [B.rowDescription(), ...Array.from({ length: count }, () => B.dataRow())];

describe('a statement that counts', () => {
  it('waits for a slice, once, and then for nothing', () => {
    const s = new Budgeted(80).f(F.query('read 1'));
    expect(s.session.phase).toBe('budgeting');
    expect(s.sent()).toEqual([]);
    expect(s.effect('budget').analysis.statements).toHaveLength(1);
    s.slice();
    expect(s.sent()).toEqual(['Q read 1']);
    s.b(...rows(2), B.complete('SELECT 2'), B.ready());
    s.f(F.query('read 2'));
    expect(s.sent()).toEqual(['Q read 2']);
    expect(s.account.used).toEqual({ rows: 2, bytes: 4 });
  });

  it('is held when all is used up, and counts when people let it pass', () => {
    const s = new Budgeted(3).f(F.query('read 1')).slice();
    s.b(...rows(1), B.complete('SELECT 1'), B.ready());
    for (let i = 2; i <= 3; i++) {
      s.f(F.query(`read ${i}`)).slice();
      s.b(...rows(1), B.complete('SELECT 1'), B.ready());
    }
    s.sent();
    s.f(F.query('read 4')).slice();
    if (s.session.phase === 'probing') s.on({ kind: 'probed', rejection: null });
    const { question } = s.effect('open');
    expect(question).toMatchObject({ class: 'export', rule: 'budget:b' });
    expect(question.reasons).toEqual([
      'the budget b is used up: 3 of 3 rows and 6 bytes were taken in this hour; it opens again at 1970-01-01T01:00:00.000Z',
    ]);
    s.opened();
    expect(s.session.phase).toBe('held');
    s.approve();
    expect(s.sent()).toEqual(['Q read 4']);
    s.b(...rows(5), B.complete('SELECT 5'), B.ready());
    expect(s.client.filter((one) => one === 'D')).toHaveLength(8);
    expect(s.account.used.rows).toBe(8);
    expect(s.outcomes().at(-1)).toBe('4 executed');
  });

  it('is refused as a limit where a person denies it, in its place', () => {
    const s = new Budgeted(1).f(F.query('read 1')).slice();
    s.b(...rows(1), B.complete('SELECT 1'), B.ready());
    s.f(F.query('read 2')).slice().opened();
    s.sent();
    s.on({ kind: 'answered', state: 'denied', ended: { people: ['dba'], reason: 'no' } });
    s.b(rejection(s.sent()), B.ready());
    expect(s.client.at(-2)).toBe(
      'E:54000 countersign: the budget b is used up, and more was denied by dba: no',
    );
    expect(s.outcomes().at(-1)).toBe('2 denied');
  });

  it('is refused where policy denies exports, and nobody is asked', () => {
    const s = new Budgeted(1, {
      decide: (analysis) => ({
        decision: analysis.class === 'export' ? 'deny' : 'allow',
        rule: 'r',
        policy: 'p',
        class: analysis.class,
        reasons: ['r'],
        approval: null,
      }),
    });
    s.f(F.query('read 1')).slice();
    s.b(...rows(1), B.complete('SELECT 1'), B.ready());
    s.f(F.query('read 2')).slice();
    expect(s.kinds()).not.toContain('open');
    s.b(rejection(s.sent()), B.ready());
    expect(s.client.at(-2)).toMatch(/^E:54000 .*denied by policy$/);
  });

  it('does not run when the budget cannot be asked', () => {
    const s = new Budgeted(1).f(F.query('read 1')).on({ kind: 'sliced', failed: 'away' });
    const sent = s.sent();
    expect(sent.some((one) => one.includes('read 1'))).toBe(false);
    s.b(rejection(sent), B.ready());
    expect(s.client).toEqual([
      'E:57P03 countersign: what you may still read cannot be looked up at the moment, so the statement was not run',
      'Z:I',
    ]);
    expect(s.outcomes()).toEqual(['1 denied']);
  });

  it('is refused when it was cancelled while a slice was asked for', () => {
    const s = new Budgeted(10).f(F.query('read 1')).on({ kind: 'cancel' }).slice();
    const sent = s.sent();
    expect(sent.some((one) => one.includes('read 1'))).toBe(false);
    s.b(rejection(sent), B.ready());
    expect(s.client[0]).toMatch(/^E:57014 /);
  });

  it('waits in the middle for the next slice, and nobody is asked', () => {
    const s = new Budgeted(16).f(F.query('read 1')).slice();
    s.b(...rows(5), B.complete('SELECT 5'), B.ready());
    // A slice is an eighth of what is left.
    expect(s.client.filter((one) => one === 'D')).toHaveLength(2);
    expect(s.session.phase).toBe('budgeting');
    expect(s.kinds()).toEqual(['budget', 'pauseUpstream', 'budget']);
    while (s.session.phase === 'budgeting') s.slice();
    expect(s.client).toEqual(['T', 'D', 'D', 'D', 'D', 'D', 'C', 'Z:I']);
    expect(s.kinds()).not.toContain('open');
    expect(s.account.used.rows).toBe(5);
    expect(s.outcomes()).toEqual(['1 executed']);
  });

  const intoTheWall = () => {
    const s = new Budgeted(3).f(F.query('read 1')).slice();
    s.b(...rows(5), B.complete('SELECT 5'), B.ready());
    while (s.session.phase === 'budgeting') s.slice();
    expect(s.client.filter((one) => one === 'D')).toHaveLength(3);
    return s;
  };

  it('is asked about in the middle where all is used up, and goes on when people let it pass', () => {
    const s = intoTheWall();
    expect(s.session.phase).toBe('opening');
    expect(s.effect('open').question).toMatchObject({ class: 'export', rule: 'budget:b' });
    s.opened().approve();
    expect(s.client.filter((one) => one === 'D')).toHaveLength(5);
    expect(s.client.at(-1)).toBe('Z:I');
    expect(s.account.used.rows).toBe(5);
  });

  it('ends in the middle where a person denies the rest, and says when it opens again', () => {
    const s = intoTheWall().opened();
    s.on({ kind: 'answered', state: 'denied', ended: { people: ['dba'], reason: null } });
    expect(s.kinds()).toContain('cancelUpstream');
    s.session.cancelDone(++s.now);
    s.f();
    s.b(B.error('57014', 'canceling statement due to user request'), B.ready());
    expect(s.client.filter((one) => one === 'D')).toHaveLength(3);
    expect(s.account.used.rows).toBe(3);
  });

  it('stops in the middle where the budget cannot be asked', () => {
    const s = new Budgeted(16).f(F.query('read 1')).slice();
    s.b(...rows(3));
    s.on({ kind: 'sliced', failed: 'away' });
    expect(s.session.phase).toBe('stopping');
    expect(s.kinds()).toContain('cancelUpstream');
    expect(s.client.filter((one) => one === 'D')).toHaveLength(2);
  });

  it('that was cancelled while its next slice was asked for stops', () => {
    const s = new Budgeted(16).f(F.query('read 1')).slice();
    s.b(...rows(3));
    s.on({ kind: 'cancel' }).slice();
    expect(s.session.phase).toBe('stopping');
    expect(s.client.filter((one) => one === 'D')).toHaveLength(2);
  });

  it('ends the session where more was sent behind it, when all is used up', () => {
    const s = new Budgeted(80).f(F.query('read 1')).slice();
    s.f(F.query('read 2')).b(...rows(81));
    expect(s.sent()).toContain('Q read 2');
    while (s.session.phase === 'budgeting') s.slice();
    const { error } = s.effect('close');
    expect(error === null ? {} : decodeErrorFields(error)).toMatchObject({
      S: 'FATAL',
      C: '54000',
      M: expect.stringContaining('the budget b was used up in the middle of the result'),
      H: expect.stringContaining('opens again at 1970-01-01T01:00:00.000Z'),
    });
    expect(s.account.used.rows).toBe(80);
  });

  it('waits in the middle also while a slice is asked for what comes behind it', () => {
    const s = new Budgeted(2).f(F.query('read 1')).slice();
    s.f(F.query('read 2'));
    expect(s.session.phase).toBe('budgeting');
    s.b(...rows(2), B.complete('SELECT 2'), B.ready());
    expect(s.client.filter((one) => one === 'D')).toHaveLength(1);
    // The answer to the first question; the one for what waits now is still to come.
    s.on({ kind: 'sliced', failed: null });
    expect(s.session.phase).toBe('budgeting');
    s.slice();
    expect(s.client.slice(0, 5)).toEqual(['T', 'D', 'D', 'C', 'Z:I']);
    expect(s.session.phase).toBe('budgeting');
  });

  it('counts errors and notices as bytes, and not those that are ours', () => {
    const s = new Budgeted(10).f(F.query('read 1')).slice();
    s.b(B.error('22P02', 'secret'), B.ready());
    const { bytes } = s.account.used;
    expect(bytes).toBeGreaterThan('secret'.length);
    s.f(F.query('deny 2'));
    s.b(rejection(s.sent()), B.ready());
    expect(s.account.used.bytes).toBe(bytes);
  });

  it('in mode observe is counted and recorded as what it would have been', () => {
    const s = new Budgeted(1, { mode: 'observe' });
    for (let i = 1; i <= 2; i++) {
      s.f(F.query(`read ${i}`));
      s.b(...rows(3), B.complete('SELECT 3'), B.ready());
      const told = s.account.tell();
      s.account.answered(told, new ModelDatabase().lease(told), 0);
    }
    expect(s.account.used.rows).toBeGreaterThan(1);
    s.f(F.query('read 3'));
    const intents = s.entries.flatMap((entry) =>
      entry.kind === 'intent' ? [`${entry.decision} ${entry.class} ${entry.rule}`] : [],
    );
    expect(intents.at(0)).toBe('allow read default:read');
    expect(intents.at(-1)).toBe('hold export budget:b');
    expect(s.sent()).toEqual(['Q read 1', 'Q read 2', 'Q read 3']);
  });
});
