import { describe, expect, it } from 'vitest';
import type { OutcomeEntry } from '../../src/audit/entry.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import type { Decision } from '../../src/policy/decision.ts';
import { B, F, OPEN, RELEASE, rejection, TestSession } from './harness.ts';

const limits = { ...DEFAULT_LIMITS, exportRows: 2, exportBytes: 100 };
const session = (options: ConstructorParameters<typeof TestSession>[0] = {}) =>
  new TestSession({ limits, ...options });

const ROWS = [B.rowDescription(), B.dataRow(10), B.dataRow(10), B.dataRow(10)];
const EXTENDED = [F.parse('measured 1'), F.bind(), F.execute()];
const ANSWERS = [B.parseComplete(), B.bindComplete(), ...ROWS.slice(1)];

/** A simple query that waits in its middle for a person. */
const held = (s = session(), text = 'measured 1') =>
  s
    .f(F.query(text))
    .b(...ROWS)
    .opened();
const denied = (s: TestSession) => s.on({ kind: 'answered', state: 'denied', ended: null });

function outcomes(s: TestSession) {
  return s.entries
    .filter((entry): entry is OutcomeEntry => entry.kind === 'outcome')
    .map(({ statementNo, outcome, sqlstate, rows, bytes, requestId, approvers }) => ({
      no: statementNo,
      outcome,
      sqlstate,
      rows: Number(rows),
      bytes: Number(bytes),
      requestId,
      approvers,
    }));
}

const REFUSED = { no: 1, outcome: 'failed', sqlstate: '42501', rows: 2, bytes: 20 };

describe('what may be sent behind a measured statement', () => {
  it('a simple one: nothing, until it is complete', () => {
    const s = session().f(F.query('measured 1'), F.query('read 2'), ...EXTENDED, F.sync());
    expect(s.session.phase).toBe('streaming');
    expect(s.sent()).toEqual(['Q measured 1']);
    s.b(B.rowDescription(), B.complete('SELECT 0'), B.ready());
    expect(s.sent()).toEqual(['Q read 2', 'P: measured 1', 'B', 'E', 'S']);
    expect(s.session.phase).toBe('streaming');
  });

  it('an extended one that only reads: its Sync, and nothing else', () => {
    const s = session().f(...EXTENDED, F.sync(), F.query('read 2'));
    expect(s.sent()).toEqual(['P: measured 1', 'B', 'E', 'S']);
    s.b(B.parseComplete(), B.bindComplete(), B.complete('SELECT 0'));
    expect(s.sent()).toEqual([]);
    s.b(B.ready());
    expect(s.sent()).toEqual(['Q read 2']);
  });

  it('where more of the group follows: a Flush of ours', () => {
    const s = session().f(...EXTENDED, F.parse('write 2'), F.bind(), F.execute(), F.sync());
    expect(s.sent()).toEqual(['P: measured 1', 'B', 'E', 'H']);
    s.b(B.parseComplete(), B.bindComplete(), B.complete('SELECT 0'));
    expect(s.sent()).toEqual(['P: write 2', 'B', 'E', 'S']);
    s.b(B.parseComplete(), B.bindComplete(), B.complete('INSERT 0 1'), B.ready());
    expect(s.client).toEqual(['1', '2', 'C', '1', '2', 'C:INSERT 0 1', 'Z:I']);
    expect(s.session.idle).toBe(true);
  });

  it('where its group has written something: not its Sync', () => {
    const s = session().f(F.parse('write 1'), F.bind(), F.execute(), ...EXTENDED, F.sync());
    expect(s.sent()).toEqual(['P: write 1', 'B', 'E', 'P: measured 1', 'B', 'E', 'H']);
    s.b(B.parseComplete(), B.bindComplete(), B.complete('INSERT 0 1'));
    s.b(B.parseComplete(), B.bindComplete(), B.complete('SELECT 0'));
    expect(s.sent()).toEqual(['S']);
  });

  it('its own Flush, and what waited when it fails is skipped', () => {
    const s = session().f(...EXTENDED, F.flush(), F.query('write 2'), F.sync());
    expect(s.sent()).toEqual(['P: measured 1', 'B', 'E', 'H', 'H']);
    s.b(B.parseComplete(), B.bindComplete(), B.error('22012'));
    expect(s.sent()).toEqual(['S']);
    s.b(B.ready());
    expect(s.client).toEqual(['1', '2', 'E:22012 error', 'Z:I']);
  });

  it('after a suspended portal the group goes on', () => {
    const s = session().f(F.query('begin')).b(B.complete('BEGIN'), B.ready('T'));
    s.f(F.parse('measured 1'), F.bind('', 'p'), F.execute('p', 1), F.execute('p', 1), F.sync());
    s.b(B.parseComplete(), B.bindComplete(), B.dataRow(), B.suspended());
    expect(s.sent().slice(-2)).toEqual(['E', 'S']);
  });

  it('of all else nothing waits', () => {
    const s = session().f(F.query('bounded 1'), F.query('read 2'), F.query('write 3'));
    expect(s.sent()).toEqual(['Q bounded 1', 'Q read 2', 'Q write 3']);
  });

  it('Terminate waits for the result, and the end of input too', () => {
    const s = session().f(...EXTENDED, F.terminate());
    expect(s.sent()).toEqual(['P: measured 1', 'B', 'E', 'H']);
    s.b(B.parseComplete(), B.bindComplete(), B.dataRow(), B.complete('SELECT 1'));
    expect(s.sent()).toEqual(['X']);
  });
});

describe('a result that waits for a person', () => {
  it('tells the client, reads nothing, and goes on where it was when it is approved', () => {
    const s = held();
    s.b(B.complete('SELECT 3'), B.ready());
    s.f(F.query('read 2'));
    expect(s.client).toEqual(['T', 'D', 'D', 'N:countersign: held, request req_1']);
    expect([s.session.phase, s.paused]).toEqual(['held', true]);
    expect(s.effect('startTimers').holdMs).toBe(limits.holdTimeoutInTransactionMs);
    s.approve();
    expect(s.client.slice(4)).toEqual(['D', 'C', 'Z:I']);
    expect(s.sent()).toEqual(['Q measured 1', 'Q read 2']);
    expect(outcomes(s)).toEqual([
      {
        no: 1,
        outcome: 'executed',
        sqlstate: null,
        rows: 3,
        bytes: 30,
        requestId: 'req_1',
        approvers: ['dba'],
      },
    ]);
    expect(s.effect('end')).toMatchObject({ requestId: 'req_1', outcome: 'executed', rows: 3, bytes: 30 });
    // The intent was recorded once.
    expect(s.entries.filter(({ kind }) => kind === 'intent')).toHaveLength(2);
  });

  it('in a group whose Sync was not sent: the server is asked for its answers', () => {
    const s = session()
      .f(...EXTENDED)
      .b(...ANSWERS)
      .opened();
    s.f(F.sync());
    s.sent();
    s.approve();
    expect(s.sent()).toEqual(['H', 'S']);
    s.b(B.complete('SELECT 3'), B.ready());
    expect(s.client.slice(-3)).toEqual(['D', 'C', 'Z:I']);
  });

  it('goes on at once where policy lets this agent export', () => {
    const s = session({ decide: (analysis) => ruling('allow', analysis.class) });
    s.f(F.query('measured 1')).b(...ROWS, B.complete('SELECT 3'), B.ready());
    expect(s.client).toEqual(['T', 'D', 'D', 'D', 'C', 'Z:I']);
    expect(s.kinds()).toEqual([]);
  });

  it('stops at once where policy denies it', () => {
    const s = session({ decide: ({ class: rank }) => ruling(rank === 'export' ? 'deny' : 'allow', rank) });
    s.f(F.query('measured 1')).b(...ROWS);
    expect(s.kinds()).toEqual(['pauseUpstream', 'cancelUpstream']);
    s.cancelDone().b(B.error('57014'), B.ready());
    expect(s.client.slice(3)).toEqual(['E:42501 countersign: denied by policy (export)', 'Z:I']);
    expect(outcomes(s)).toMatchObject([REFUSED]);
  });

  it('asks with the approvers of the rule that holds exports', () => {
    const approval = { approvers: ['dpo'], quorum: 2, assurance: 3 } as const;
    const s = session({
      decide: ({ class: rank }) => ({ ...ruling(rank === 'export' ? 'hold' : 'allow', rank), approval }),
    });
    s.f(F.query('measured 1')).b(...ROWS);
    expect(s.effect('open').question.demand).toEqual(approval);
  });
});

function ruling(decision: Decision['decision'], rank: Decision['class']): Decision {
  return { decision, rule: 'r', policy: 'p', class: rank, reasons: ['why'], approval: null };
}

describe('stopped', () => {
  it('before it is complete: the error of the cancel gets our words', () => {
    const s = denied(held());
    s.f(F.query('read 2'));
    expect(s.kinds().slice(-3)).toEqual(['stopTimers', 'unwatch', 'cancelUpstream']);
    expect([s.session.phase, s.paused]).toEqual(['stopping', true]);
    s.cancelDone().b(B.dataRow(), B.dataRow(), B.error('57014'), B.ready());
    expect(s.client.slice(4)).toEqual(['E:42501 countersign: denied by an approver', 'Z:I']);
    expect(s.sent()).toEqual(['Q measured 1', 'Q read 2']);
    expect(outcomes(s)).toEqual([{ ...REFUSED, requestId: 'req_1', approvers: [] }]);
  });

  it('after it was complete: a substitute aborts the transaction', () => {
    const s = session().f(F.query('begin')).b(B.complete('BEGIN'), B.ready('T'));
    denied(held(s)).cancelDone();
    s.sent();
    s.b(B.dataRow(), B.complete('SELECT 4'), B.ready('T'));
    const sent = s.sent();
    expect(sent).toEqual([expect.stringMatching(/^Q SELECT "cs:/)]);
    s.b(rejection(sent), B.ready('E'));
    expect(s.client.slice(-2)).toEqual(['E:42501 countersign: denied by an approver', 'Z:E']);
    expect(outcomes(s)).toMatchObject([{ outcome: 'executed' }, { ...REFUSED, no: 2 }]);
  });

  it('extended, Sync sent, complete: Parse of a substitute and a Sync of ours', () => {
    const s = session()
      .f(...EXTENDED, F.sync(), F.query('read 2'))
      .b(...ANSWERS);
    denied(s.opened()).cancelDone();
    s.sent();
    s.b(B.complete('SELECT 3'), B.ready('I'));
    const sent = s.sent();
    expect(sent).toEqual([expect.stringMatching(/^P:\u0001cs SELECT "cs:/), 'S']);
    s.b(rejection(sent), B.ready('I'));
    expect(s.client.slice(-2)).toEqual(['E:42501 countersign: denied by an approver', 'Z:I']);
    expect(s.sent()).toEqual(['Q read 2']);
    expect(outcomes(s)).toMatchObject([REFUSED]);
  });

  it('extended, Sync kept back, complete or suspended: Parse of a substitute, then the client\u2019s Sync', () => {
    for (const end of [B.complete('SELECT 3'), B.suspended()]) {
      const s = session()
        .f(...EXTENDED, F.parse('write 2'), F.bind(), F.execute(), F.sync())
        .b(...ANSWERS);
      denied(s.opened());
      expect(s.sent().at(-1)).toBe('H');
      s.cancelDone().b(end);
      const sent = s.sent();
      expect(sent).toEqual([expect.stringMatching(/^P:\u0001cs SELECT "cs:/)]);
      s.b(rejection(sent));
      expect(s.sent()).toEqual(['S']);
      s.b(B.ready('I'));
      expect(s.client.slice(-2)).toEqual(['E:42501 countersign: denied by an approver', 'Z:I']);
      expect(outcomes(s)).toMatchObject([REFUSED]);
    }
  });

  it('extended, Sync kept back, not complete: the error, then the client\u2019s Sync', () => {
    const s = session()
      .f(...EXTENDED, F.close('x'), F.sync())
      .b(...ANSWERS);
    denied(s.opened()).cancelDone();
    s.sent();
    s.b(B.error('57014'));
    expect(s.sent()).toEqual(['S']);
    s.b(B.ready());
    expect(s.client.slice(-2)).toEqual(['E:42501 countersign: denied by an approver', 'Z:I']);
  });

  it('in a string: its later results are thrown away', () => {
    const s = denied(held(session(), 'measured 1; read 2')).cancelDone();
    s.sent();
    s.b(B.complete('SELECT 3'), B.rowDescription(), B.dataRow(), B.complete('SELECT 1'), B.ready());
    const sent = s.sent();
    s.b(rejection(sent), B.ready());
    expect(s.client.slice(4)).toEqual(['E:42501 countersign: denied by an approver', 'Z:I']);
    expect(outcomes(s)).toMatchObject([REFUSED, { no: 2, outcome: 'failed', rows: 0 }]);
  });

  it('what has written and committed before it could be stopped: the truth, and the end', () => {
    const s = session().f(F.query('returning 1')).b(B.rowDescription(), B.dataRow(60), B.dataRow(60));
    denied(s.opened()).cancelDone().b(B.complete('INSERT 0 2'), B.ready());
    expect(s.session.phase).toBe('ended');
    expect(s.effect('close').error?.toString()).toContain('is committed');
    expect(outcomes(s)).toMatchObject([{ no: 1, outcome: 'executed', rows: 1, bytes: 60 }]);
  });

  it('what has written in an open transaction is undone with it', () => {
    const s = session().f(F.query('begin')).b(B.complete('BEGIN'), B.ready('T'));
    s.f(F.query('returning 1')).b(B.rowDescription(), B.dataRow(60), B.dataRow(60));
    denied(s.opened()).cancelDone();
    s.sent();
    s.b(B.complete('INSERT 0 2'), B.ready('T'));
    s.b(rejection(s.sent()), B.ready('E'));
    expect(s.client.slice(-1)).toEqual(['Z:E']);
    expect(outcomes(s)[1]).toMatchObject({ no: 2, outcome: 'failed', sqlstate: '42501' });
  });

  it.each([
    ['expired', { kind: 'answered', state: 'expired', ended: null }, '57014', []],
    ['hold timeout', { kind: 'holdTimeout' }, '57014', ['detach']],
    ['cancel', { kind: 'cancel' }, '57014', ['withdraw']],
    ['drain', { kind: 'drain' }, '57014', ['detach']],
  ] as const)('%s: the same sequence', (_why, event, code, told) => {
    const s = held().on(event);
    expect(s.kinds().filter((kind) => kind === 'detach' || kind === 'withdraw')).toEqual(told);
    s.on({ kind: 'cancel' });
    s.cancelDone().b(B.dataRow(), B.error('57014'), B.ready());
    expect(s.client.slice(4)).toEqual([expect.stringContaining(`E:${code} countersign: `), 'Z:I']);
    expect(s.kinds().filter((kind) => kind === 'cancelUpstream')).toHaveLength(1);
    expect(outcomes(s)).toMatchObject([{ ...REFUSED, sqlstate: code }]);
    expect(s.session.idle).toBe(true);
  });

  it('the client has gone: the request waits for others, and the server comes to its end', () => {
    const s = held().on({ kind: 'clientGone' });
    expect(s.kinds()).toContain('detach');
    s.cancelDone().b(B.error('57014'), B.ready());
    expect(s.kinds().at(-1)).toBe('close');
    expect(outcomes(s)).toMatchObject([{ no: 1, outcome: 'failed', sqlstate: '57014', rows: 2 }]);
  });

  it('nobody can be asked: the same, and the client hears why', () => {
    const s = session()
      .f(F.query('measured 1'))
      .b(...ROWS)
      .on({ kind: 'openFailed', why: 'away', limit: null });
    s.cancelDone().b(B.error('57014'), B.ready());
    expect(s.client.slice(3)).toEqual([
      expect.stringMatching(/^E:57P03 .*the rest of the result was not sent$/),
      'Z:I',
    ]);
  });

  it('cancelled while the request is opened, or the approval used', () => {
    const early = session()
      .f(F.query('measured 1'))
      .b(...ROWS)
      .on({ kind: 'cancel' })
      .on({ kind: 'opened', request: OPEN });
    expect(early.kinds()).toContain('withdraw');
    const late = held().on({ kind: 'answered', state: 'approved', ended: null }).on({ kind: 'cancel' });
    late.on({ kind: 'released', release: RELEASE });
    for (const s of [early, late]) s.cancelDone().b(B.error('57014'), B.ready());
    expect(outcomes(early)).toMatchObject([{ outcome: 'failed', sqlstate: '57014', requestId: 'req_1' }]);
    expect(outcomes(late)).toMatchObject([{ outcome: 'failed', sqlstate: '57014', requestId: 'req_1' }]);
    expect(late.effect('end')).toMatchObject({ requestId: 'req_1', outcome: 'failed' });
  });

  it('cancelled by the client just before: one cancel, nobody is asked', () => {
    const s = session()
      .f(F.query('measured 1'))
      .b(...ROWS.slice(0, 2))
      .on({ kind: 'cancel' });
    s.b(B.dataRow(), B.dataRow());
    expect(s.session.phase).toBe('stopping');
    expect(s.kinds()).toEqual(['cancelUpstream', 'pauseUpstream']);
    s.cancelDone().b(B.error('57014'), B.ready());
    expect(s.client.slice(3)).toEqual(['E:57014 canceling statement due to user request', 'Z:I']);
  });

  it('what waited behind what it waits for is judged when it is over', () => {
    const s = session().f(F.query('bounded 1'), F.query('ddl t'), F.query('read 3'));
    expect(s.session.phase).toBe('settling');
    s.b(B.rowDescription(), B.dataRow(200));
    denied(s.opened()).cancelDone();
    s.sent();
    s.b(B.error('57014'), B.ready());
    expect(s.session.phase).toBe('probing');
    s.opened().approve();
    expect(s.sent()).toEqual(['Q ddl t', 'Q read 3']);
  });
});

describe('half-closed', () => {
  it('nobody waits for the answer, so nobody is asked', () => {
    const s = session().f(F.query('measured 1'));
    s.session.inputEnded({ kind: 'eof' }, 1);
    s.b(...ROWS);
    expect(s.kinds()).toEqual(['pauseUpstream', 'cancelUpstream']);
    s.cancelDone().b(B.error('57014'), B.ready());
    expect(s.client.slice(3)).toEqual([
      expect.stringContaining('the client has ended its side of the connection'),
      'Z:I',
    ]);
  });
});
