import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { B, F, fakeAnalysis, OPEN, RELEASE, rejection, TestSession } from './harness.ts';

describe('allowed statements', () => {
  it('go upstream byte for byte, with their intent recorded first', () => {
    const s = new TestSession();
    const frame = F.query('read 1');
    s.f(frame);
    const order = s.effects.map(({ kind }) => kind);
    expect(order.indexOf('record')).toBeLessThan(order.indexOf('forward'));
    expect(s.effect('forward').frame.equals(frame)).toBe(true);
    s.b(B.rowDescription(), B.dataRow(), B.complete('SELECT 1'), B.ready());
    expect(s.client).toEqual(['T', 'D', 'C', 'Z:I']);
    expect(s.outcomes()).toEqual(['1 executed']);
  });

  it('of one string have an entry each, matched to CommandComplete in order', () => {
    const s = new TestSession().f(F.query('read 1; read 2; read 3'));
    s.b(B.complete('SELECT 1'), B.error('22012', 'division by zero'), B.ready());
    // The first was in the same implicit transaction, so the error undid it; the third never ran.
    expect(s.outcomes()).toEqual(['1 failed', '2 failed', '3 failed']);
    const failed = s.entries
      .filter((entry) => entry.kind === 'outcome')
      .map((entry) => entry.kind === 'outcome' && entry.sqlstate);
    expect(failed).toEqual(['22012', '22012', null]);
  });

  it('ask for a synced record when they write', () => {
    const s = new TestSession().f(F.query('write 1'));
    expect(s.effect('forward').safety).toBe('synced');
  });

  it('keep Parse back until Bind is judged', () => {
    const s = new TestSession().f(F.parse('read 1'));
    expect(s.sent()).toEqual([]);
    s.f(F.bind(), F.execute(), F.sync());
    expect(s.sent()).toEqual(['P: read 1', 'B', 'E', 'S']);
    s.b(B.parseComplete(), B.bindComplete(), B.complete('SELECT 0'), B.ready());
    expect(s.outcomes()).toEqual(['1 executed']);
  });
});

describe('a hold', () => {
  it('settles, asks, tells the client, and runs the same bytes once released', () => {
    const s = new TestSession();
    const frame = F.query('ddl t');
    s.f(frame);
    expect(s.session.phase).toBe('probing');
    s.opened();
    expect(s.client.join()).toContain('held, request req_1');
    expect(s.sent()).toEqual([]);
    s.on({ kind: 'noticeDue' });
    expect(s.client.filter((one) => one.startsWith('N:'))).toHaveLength(2);
    s.approve();
    expect(s.effect('forward').frame.equals(frame)).toBe(true);
    expect(s.effect('forward').safety).toBe('committed');
    s.b(B.complete('DROP TABLE'), B.ready());
    expect(s.effect('end')).toMatchObject({ requestId: 'req_1', outcome: 'executed', tag: 'DROP TABLE' });
    expect(s.outcomes()).toEqual(['1 executed']);
  });

  it('waits until what was sent before is answered, and is dropped when that failed', () => {
    const s = new TestSession().f(
      F.parse('read 1'),
      F.bind(),
      F.execute(),
      F.parse('ddl t'),
      F.bind(),
      F.execute(),
      F.sync(),
    );
    expect(s.session.phase).toBe('settling');
    // A Flush of our own makes the server answer.
    expect(s.sent()).toEqual(['P: read 1', 'B', 'E', 'H']);
    s.b(B.parseComplete(), B.bindComplete(), B.error('22012'));
    expect(s.kinds()).not.toContain('open');
    expect(s.sent()).toEqual(['S']);
    s.b(B.ready());
    expect(s.outcomes()).toEqual(['1 failed']);
  });

  it('at Bind releases Parse and Bind together, and what follows waits its turn', () => {
    const s = new TestSession().f(F.parse('ddl t'), F.bind(), F.execute(), F.sync());
    s.opened();
    expect(s.sent()).toEqual([]);
    s.approve();
    expect(s.sent()).toEqual(['P: ddl t', 'B', 'E', 'S']);
  });

  it('that is denied is refused by the server in our place', () => {
    const s = new TestSession().f(F.query('ddl t')).opened();
    s.on({ kind: 'answered', state: 'denied', ended: { people: ['dba'], reason: 'no' } });
    const sent = s.sent();
    expect(sent).toEqual(['Q SELECT "cs:test:1"']);
    s.b(rejection(sent), B.ready());
    expect(s.client.at(-2)).toBe('E:42501 countersign: denied by dba: no');
    expect(s.client.at(-1)).toBe('Z:I');
    expect(s.outcomes()).toEqual(['1 denied']);
  });

  it.each([
    ['expired', { kind: 'answered', state: 'expired', ended: null } as const, '57014', 'expired'],
    ['timed out', { kind: 'holdTimeout' } as const, '57014', 'send the same statement again'],
    ['cancelled', { kind: 'cancel' } as const, '57014', 'withdrawn'],
    ['drained', { kind: 'drain' } as const, '57014', 'reconnect'],
  ])('that is %s ends with its own error', (_name, event, code, word) => {
    const s = new TestSession().f(F.query('ddl t')).opened().on(event);
    const sent = s.sent();
    s.b(rejection(sent), B.ready());
    expect(s.client.at(-2)).toContain(`E:${code}`);
    expect(s.client.at(-2)).toContain(word);
  });

  it('stays open when the client goes: the request is detached, and nothing is sent', () => {
    const s = new TestSession().f(F.query('ddl t')).opened().on({ kind: 'clientGone' });
    expect(s.sent()).toEqual([]);
    expect(s.effect('detach').requestId).toBe('req_1');
    expect(s.kinds()).toContain('close');
    expect(s.outcomes()).toEqual(['1 withdrawn']);
  });

  it('whose client went during the release does not run, and the release is ended', () => {
    const s = new TestSession().f(F.query('ddl t')).opened();
    s.on({ kind: 'answered', state: 'approved', ended: null }).on({ kind: 'clientGone' });
    s.on({ kind: 'released', release: RELEASE });
    expect(s.sent()).toEqual([]);
    expect(s.effect('end')).toMatchObject({ outcome: 'failed' });
  });

  it("of a statement that the server would reject asks nobody: the client gets the server's own error", () => {
    const s = new TestSession().f(F.query('ddl t'));
    s.on({ kind: 'probed', rejection: { C: '42P01', M: 'relation "t" does not exist', P: '15', F: 'x.c' } });
    const sent = s.sent();
    expect(s.kinds()).not.toContain('open');
    s.b(rejection(sent), B.ready());
    expect(s.client).toEqual(['E:42P01 relation "t" does not exist', 'Z:I']);
  });

  it('in a failed transaction asks nobody: the server says 25P02', () => {
    const s = new TestSession().f(F.query('begin')).b(B.complete('BEGIN'), B.ready('T'));
    s.f(F.query('read 1')).b(B.error('22012'), B.ready('E')).sent();
    s.f(F.query('ddl t'));
    expect(s.kinds()).not.toContain('open');
    expect(s.sent()).toHaveLength(1);
    s.b(B.error('25P02', 'current transaction is aborted'), B.ready('E'));
    expect(s.client.at(-2)).toBe('E:25P02 current transaction is aborted');
  });

  it('keeps a shorter time in a transaction', () => {
    const s = new TestSession()
      .f(F.query('begin'))
      .b(B.complete('BEGIN'), B.ready('T'))
      .f(F.query('ddl t'))
      .opened();
    expect(s.effect('startTimers').holdMs).toBe(DEFAULT_LIMITS.holdTimeoutInTransactionMs);
  });

  it('that was approved before it was asked again is released at once', () => {
    const s = new TestSession().f(F.query('ddl t')).opened({ ...OPEN, state: 'approved', attached: true });
    expect(s.kinds()).toContain('release');
  });
});

describe('an approval', () => {
  it.each(['execute other', 'write t', 'deny t'])(
    'is for what the statement meant when it was asked about, not for %s',
    (later) => {
      let meaning = 'ddl t';
      const s = new TestSession({ analyse: () => fakeAnalysis(meaning) });
      s.f(F.query('ddl t')).opened();
      // Somebody exchanged what the name stands for while a person thought.
      meaning = later;
      s.on({ kind: 'answered', state: 'approved', ended: null });
      expect(s.kinds()).not.toContain('release');
      expect(s.effect('withdraw').requestId).toBe('req_1');
      const sent = s.sent();
      s.b(rejection(sent), B.ready());
      expect(s.client.at(-2)).toMatch(/^E:(42501|26000)/);
      expect(s.outcomes()).toEqual(['1 denied']);
    },
  );

  it('of EXECUTE holds at Execute too where something else has become known while people thought', () => {
    let knowledge = 'one';
    const s = new TestSession({ knowledge: () => knowledge });
    s.f(F.parse('ddl t', 'x'), F.sync()).b(B.parseComplete(), B.ready());
    s.f(F.parse('execute x'), F.bind(), F.execute(), F.sync()).opened();
    s.sent();
    s.on({ kind: 'answered', state: 'approved', ended: null });
    knowledge = 'two';
    s.on({ kind: 'released', release: RELEASE });
    expect(s.sent()).toEqual(['P: execute x', 'B', 'E', 'S']);
  });

  it('is put to the store with the question as it stands at the release', () => {
    let knowledge = 'one';
    const s = new TestSession({ knowledge: () => knowledge });
    s.f(F.query('ddl t')).opened().b(B.parameter('search_path', 'other'));
    knowledge = 'two';
    s.on({ kind: 'answered', state: 'approved', ended: null });
    expect(s.effect('open').question.searchPath).toBe('public');
    expect(s.effect('release').question.searchPath).toBe('other');
  });
});

describe('refusals', () => {
  it("at Parse keep the name, and skip to Sync is the server's own", () => {
    const s = new TestSession().f(F.parse('pinned x', 'n'), F.bind('n'), F.execute(), F.sync());
    const sent = s.sent();
    expect(sent[0]).toBe('P:n SELECT "cs:test:1"');
    s.b(rejection(sent.slice(0, 1)), B.ready());
    expect(s.client[0]).toContain('E:42501');
    expect(s.client.at(-1)).toBe('Z:I');
  });

  it('at Bind leave the unnamed statement alone', () => {
    const s = new TestSession().f(F.parse('deny x'), F.bind(), F.execute(), F.sync());
    expect(s.sent()).toEqual([
      'P: deny x',
      'C',
      'P:\u0001cs SELECT $1::pg_catalog.int4',
      'B "cs:test:1"',
      'P:\u0001cs "cs:test:2"',
      'S',
      // Our own statement goes again.
      'C',
      'H',
    ]);
    s.b(B.parseComplete(), B.closeComplete(), B.parseComplete(), rejection(['B "cs:test:1"']));
    s.b(B.ready(), B.closeComplete());
    expect(s.client.map((one) => one.slice(0, 7))).toEqual(['1', 'E:42501', 'Z:I']);
    expect(s.session.idle).toBe(true);
  });

  it('of names that were never seen say what Postgres says', () => {
    const s = new TestSession().f(F.bind('ghost'), F.sync());
    const sent = s.sent();
    s.b(rejection(sent), B.ready());
    expect(s.client[0]).toBe('E:26000 prepared statement "ghost" does not exist');
    s.f(F.query('execute ghost'));
    s.b(rejection(s.sent()), B.ready());
    expect(s.client.at(-2)).toBe('E:26000 prepared statement "ghost" does not exist');
  });

  it('rewrite only the marked answer', () => {
    const s = new TestSession().f(F.query('deny x'));
    s.b(B.error('57014', 'canceling statement due to user request'), B.ready());
    expect(s.client[0]).toBe('E:57014 canceling statement due to user request');
  });

  it('end the session when the server accepts a substitute', () => {
    const s = new TestSession().f(F.query('deny x')).b(B.rowDescription());
    expect(s.kinds()).toContain('close');
  });
});

describe('names', () => {
  it('do not take a Close and a Parse that the server skipped', () => {
    // The first version of this design ran an unapproved statement here.
    const s = new TestSession().f(F.parse('ddl t', 'x'), F.sync()).b(B.parseComplete(), B.ready());
    s.f(F.parse('bad'), F.close('x'), F.parse('read 1', 'x'), F.sync());
    s.b(B.error('42601'));
    s.b(B.ready()).sent();
    s.f(F.bind('x'), F.execute(), F.sync());
    expect(s.session.phase).toBe('probing');
    expect(s.sent()).toEqual([]);
  });

  it('of an earlier group settle first', () => {
    const s = new TestSession().f(F.parse('read 1', 'x'), F.sync());
    s.f(F.bind('x'), F.execute(), F.sync());
    expect(s.session.phase).toBe('settling');
    s.b(B.parseComplete(), B.ready());
    expect(s.session.phase).toBe('ready');
    expect(s.sent().at(-1)).toBe('S');
  });

  it('made by SQL are seen by the protocol, and survive a failed string', () => {
    const s = new TestSession().f(F.query('prepare p ddl t; read 1'));
    s.opened().approve();
    s.b(B.complete('PREPARE'), B.error('22012'), B.ready()).sent();
    s.f(F.bind('p'), F.execute(), F.sync());
    // One approval, one release: what PREPARE was approved for is asked again at its use.
    expect(s.session.phase).toBe('probing');
  });

  it('of portals that DECLARE made are judged at Execute', () => {
    const s = new TestSession().f(F.query('begin')).b(B.complete('BEGIN'), B.ready('T'));
    s.f(F.query('declare c ddl t')).opened().approve();
    s.b(B.complete('DECLARE CURSOR'), B.ready('T')).sent();
    s.f(F.execute('c'), F.sync());
    expect(s.session.phase).toBe('probing');
  });

  it('are destroyed: the unnamed statement by a Query, portals at the end of a transaction', () => {
    const s = new TestSession().f(F.parse('read 1'), F.sync()).b(B.parseComplete(), B.ready());
    s.f(F.query('')).b(B.empty(), B.ready()).sent();
    s.f(F.bind(), F.sync());
    expect(s.sent()[0]).toContain('cs:test');
  });
});

describe('a prepared statement', () => {
  it('is analysed again when what is known has changed, once', () => {
    let knowledge = 'one';
    let analysed = 0;
    const s = new TestSession({
      knowledge: () => knowledge,
      analyse: (sql) => {
        analysed += 1;
        return fakeAnalysis(knowledge === 'one' ? sql.toString() : sql.toString().replace('read', 'deny'));
      },
    });
    s.f(F.parse('read 1', 'x'), F.sync()).b(B.parseComplete(), B.ready()).sent();
    s.f(F.bind('x'), F.sync());
    expect(s.sent()).toHaveLength(2);
    s.b(B.bindComplete(), B.ready());
    expect(analysed).toBe(1);
    knowledge = 'two';
    s.f(F.bind('x'), F.sync());
    const refused = s.sent();
    expect(refused[2]).toContain('cs:test');
    s.b(B.closeComplete(), B.parseComplete(), rejection(refused), B.ready(), B.closeComplete());
    const before = analysed;
    s.f(F.bind('x'), F.sync());
    expect(s.sent()[2]).toContain('cs:test');
    expect(analysed).toBe(before);
  });
});

describe('COPY FROM STDIN', () => {
  it('takes data, and a Sync that the server eats', () => {
    const s = new TestSession().f(F.parse('copyin t'), F.bind(), F.execute(), F.sync());
    s.b(B.parseComplete(), B.bindComplete(), B.copyIn());
    s.f(F.copyData('1\n'), F.copyDone(), F.sync());
    s.b(B.complete('COPY 1'), B.ready());
    expect(s.session.idle).toBe(true);
    expect(s.outcomes()).toEqual(['1 executed']);
  });

  it('never sends a Query in the middle of it', () => {
    const s = new TestSession().f(F.query('copyin t')).b(B.copyIn());
    s.sent();
    s.f(F.query('read 1'));
    // One without its text, for which the server ends the session.
    expect(s.sent().join()).not.toContain('read 1');
    s.b(B.error('08P01', 'unexpected message type 0x51 during COPY from stdin'));
    s.b(B.error('08P01', 'protocol synchronization was lost', 'FATAL'));
    expect(s.client.map((one) => one.slice(0, 7))).toEqual(['G', 'E:08P01', 'E:08P01']);
    expect(s.sent()).toEqual([]);
  });

  it('waits with a message whose place is not known until the server has answered', () => {
    const s = new TestSession().f(F.query('copyin t'), F.query('read 1'));
    expect(s.sent()).toEqual(['Q copyin t', 'H']);
    s.b(B.error('42501'), B.ready());
    expect(s.sent()).toEqual(['Q read 1']);
  });
});

describe('the end', () => {
  it('of upstream makes what ran unknown', () => {
    const s = new TestSession().f(F.query('ddl t')).opened().approve();
    s.session.upstreamClosed(++s.now);
    s.f();
    expect(s.outcomes()).toEqual(['1 unknown']);
    expect(s.effect('end')).toMatchObject({ outcome: 'unknown' });
  });

  it('comes when a pinned setting was changed behind our back', () => {
    const s = new TestSession().b(B.parameter('standard_conforming_strings', 'off'));
    expect(s.kinds()).toContain('close');
  });

  it('of the client lets what was sent finish, and records it', () => {
    const s = new TestSession().f(F.query('write 1')).on({ kind: 'clientGone' });
    expect(s.kinds()).not.toContain('close');
    s.b(B.complete('UPDATE 1'), B.ready());
    expect(s.outcomes()).toEqual(['1 executed']);
    expect(s.kinds()).toContain('close');
  });
});
