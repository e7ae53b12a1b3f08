import { describe, expect, it } from 'vitest';
import { B, F, rejection, TestSession } from './harness.ts';

/** What an agent that wants out, or an unlucky moment, can do to the core: each of these went wrong once. */
const begun = () => new TestSession().f(F.query('begin')).b(B.complete('BEGIN'), B.ready('T'));
const failed = () => {
  const s = begun().f(F.query('read 1')).b(B.error('22012'), B.ready('E'));
  s.sent();
  return s;
};

describe('every intent has one outcome', () => {
  const balanced = (s: TestSession) => {
    const intents = s.entries.flatMap((entry) => (entry.kind === 'intent' ? [entry.statementNo] : []));
    const outcomes = s.entries.flatMap((entry) => (entry.kind === 'outcome' ? [entry.statementNo] : []));
    return expect(outcomes.toSorted((a, b) => a - b)).toEqual(intents);
  };

  it('where a statement that would be held comes in a failed transaction', () => {
    const s = failed().f(F.query('ddl t'));
    s.b(B.error('25P02'), B.ready('E'));
    balanced(s);
    expect(s.outcomes().at(-1)).toBe('3 failed');
  });

  it('where the session is closed while a statement is held', () => {
    const s = new TestSession().f(F.query('ddl t')).opened();
    s.b(B.parameter('standard_conforming_strings', 'off'));
    expect(s.kinds()).toContain('close');
    expect(s.effect('detach').requestId).toBe('req_1');
    balanced(s);
  });

  it('where a bound statement is never executed', () => {
    const s = new TestSession().f(F.parse('read 1'), F.bind(), F.sync());
    s.b(B.parseComplete(), B.bindComplete(), B.ready());
    expect(s.outcomes()).toEqual(['1 withdrawn']);
  });

  it('which says executed where COMMIT came before the error of its group', () => {
    const s = new TestSession().f(F.parse('write 1'), F.bind(), F.execute());
    s.f(F.parse('commit'), F.bind(), F.execute(), F.parse('read 1'), F.bind(), F.execute(), F.sync());
    s.b(B.parseComplete(), B.bindComplete(), B.complete('INSERT 0 1'));
    s.b(B.parseComplete(), B.bindComplete(), B.complete('COMMIT'));
    s.b(B.parseComplete(), B.error('22012'), B.ready());
    expect(s.outcomes()).toEqual(['1 executed', '2 executed', '3 failed']);
  });
});

describe('an error that answers nothing', () => {
  it('makes the server skip to Sync, and so do we', () => {
    const s = new TestSession().f(F.parse('read 1'), F.flush()).b(B.parseComplete());
    s.sent();
    s.b(B.error('57014', 'canceling statement due to statement timeout'));
    s.f(F.query('read 2'), F.parse('read 3', 'x'), F.sync());
    expect(s.sent()).toEqual(['S']);
    s.b(B.ready());
    expect(s.session.idle).toBe(true);
  });

  it('ends a hold: nobody needs to be asked about what is skipped', () => {
    const s = new TestSession().f(
      F.parse('read 1'),
      F.bind(),
      F.parse('ddl t'),
      F.bind(),
      F.execute(),
      F.sync(),
    );
    s.b(B.parseComplete(), B.bindComplete()).opened();
    s.sent();
    s.b(B.error('57014', 'canceling statement due to statement timeout'));
    expect(s.effect('detach').requestId).toBe('req_1');
    expect(s.sent()).toEqual(['S']);
    s.b(B.ready());
    expect(s.outcomes().toSorted()).toEqual(['1 withdrawn', '2 withdrawn']);
  });

  it('ends a release that came too late', () => {
    const s = new TestSession().f(
      F.parse('read 1'),
      F.bind(),
      F.parse('ddl t'),
      F.bind(),
      F.execute(),
      F.sync(),
    );
    s.b(B.parseComplete(), B.bindComplete()).opened();
    s.on({ kind: 'answered', state: 'approved', ended: null }).sent();
    s.b(B.error('57014'));
    s.on({ kind: 'released', release: { requestId: 'req_1', receipt: 'jws', approvers: ['dba'] } });
    expect(s.sent()).toEqual(['S']);
    expect(s.effect('end')).toMatchObject({ requestId: 'req_1', outcome: 'failed' });
  });

  it('may have struck before a Query in mid-group: such a session ends', () => {
    const s = new TestSession().f(F.parse('read 1'), F.query('read 2')).b(B.parseComplete());
    s.b(B.error('57014'));
    expect(s.kinds()).toContain('close');
  });
});

describe('a malformed message', () => {
  it('Flush is refused in its place', () => {
    const s = new TestSession().f(Buffer.from([0x48, 0, 0, 0, 5, 0]), F.query('read 1'), F.sync());
    expect(s.sent()[0]).toContain('P:\u0001cs');
  });

  it('Parse leaves the unnamed statement alone, as in Postgres', () => {
    const s = new TestSession().f(F.parse('read 1'), F.sync()).b(B.parseComplete(), B.ready());
    s.f(Buffer.from([0x50, 0, 0, 0, 5, 0]), F.sync());
    s.b(rejection(s.sent()), B.ready()).sent();
    s.f(F.bind(), F.execute(), F.sync());
    expect(s.sent()).toEqual(['B', 'E', 'S']);
  });
});

describe('COPY', () => {
  it('behind another statement of its string', () => {
    const s = new TestSession().f(F.query('read 1; copyin t; read 2'));
    s.b(B.complete('SELECT 1'), B.copyIn()).f(F.copyData('1\n'), F.copyDone());
    s.b(B.complete('COPY 1'), B.complete('SELECT 1'), B.ready());
    expect(s.session.idle).toBe(true);
    expect(s.outcomes()).toEqual(['1 executed', '2 executed', '3 executed']);
  });

  it('twice in one string, its data sent ahead', () => {
    const s = new TestSession().f(F.query('copyin t; copyin u'));
    s.f(F.copyData('1\n'), F.copyDone(), F.sync(), F.copyData('2\n'), F.copyDone(), F.query('read 1'));
    // What follows the first end may be the second's data, or not.
    expect(s.session.phase).toBe('settling');
    s.b(B.copyIn(), B.complete('COPY 1'), B.copyIn(), B.complete('COPY 1'), B.ready());
    s.b(B.complete('SELECT 1'), B.ready());
    expect(s.session.idle).toBe(true);
    expect(s.outcomes()).toEqual(['1 executed', '2 executed', '3 executed']);
  });

  it('behind a Query that fails', () => {
    const s = new TestSession().f(F.query('read 1'), F.query('copyin t'), F.copyData('1\n'), F.copyDone());
    s.b(B.error('22012'), B.ready(), B.copyIn(), B.complete('COPY 1'), B.ready());
    expect(s.session.idle).toBe(true);
    expect(s.outcomes()).toEqual(['1 failed', '2 executed']);
  });

  it('behind another COPY', () => {
    const s = new TestSession().f(F.query('copyin t'), F.copyDone(), F.query('copyin u'), F.copyDone());
    s.b(B.copyIn(), B.complete('COPY 0'), B.ready(), B.copyIn(), B.complete('COPY 0'), B.ready());
    expect(s.session.idle).toBe(true);
    expect(s.outcomes()).toEqual(['1 executed', '2 executed']);
  });

  it('ends the session, and does not hang, where a Query is pipelined into it', () => {
    const s = new TestSession().f(F.query('copyin t'), F.query('read 1'));
    s.sent();
    s.b(B.copyIn());
    expect(s.sent().join()).not.toContain('read 1');
    s.b(B.error('08P01'), B.error('08P01', 'lost', 'FATAL'));
    expect(s.sent()).toEqual([]);
    expect(s.session.endExplained).toBe(true);
  });

  it('that is skipped leaves its Sync to be answered', () => {
    const s = new TestSession().f(F.parse('bad', 'x'), F.parse('copyin t'), F.bind(), F.execute(), F.sync());
    s.f(F.copyDone(), F.sync());
    s.b(B.error('42P05'), B.ready(), B.ready());
    expect(s.session.idle).toBe(true);
  });
});

describe('a Query in the middle of a group', () => {
  it('that had begun may be cancelled, or its COPY be given up', () => {
    const s = new TestSession().f(F.parse('read 1'), F.query('copyin t')).b(B.parseComplete(), B.copyIn());
    s.f(F.copyDone()).b(B.error('57014', 'COPY from stdin failed: no'), B.ready());
    expect(s.session.idle).toBe(true);
  });
});

describe('the client leaves', () => {
  it('in the middle of a group: the server is made to answer, so that nothing stays open for ever', () => {
    const s = new TestSession().f(F.parse('write 1'), F.bind(), F.execute());
    s.sent();
    s.on({ kind: 'clientGone' });
    expect(s.sent()).toEqual(['H']);
    s.b(B.parseComplete(), B.bindComplete(), B.complete('INSERT 0 1'));
    expect(s.kinds()).toContain('close');
  });
});

describe('names', () => {
  it('of a Parse that is still kept back are known to SQL EXECUTE', () => {
    const s = new TestSession().f(
      F.parse('read 1', 'a'),
      F.parse('execute a'),
      F.bind(),
      F.execute(),
      F.sync(),
    );
    expect(s.sent()).toEqual(['P:a read 1', 'P: execute a', 'B', 'E', 'S']);
  });

  it('that are not there are missed at Execute, not at Bind', () => {
    const s = new TestSession().f(F.parse('execute ghost'), F.bind(), F.execute(), F.sync());
    const sent = s.sent();
    expect(sent.slice(0, 2)).toEqual(['P: execute ghost', 'B']);
    s.b(B.parseComplete(), B.bindComplete(), rejection(sent), B.ready());
    expect(s.client).toEqual(['1', '2', 'E:26000 prepared statement "ghost" does not exist', 'Z:I']);
  });

  it('are shown to the people who are asked with what they stand for', () => {
    const s = new TestSession().f(F.parse('ddl t', 'x'), F.sync()).b(B.parseComplete(), B.ready());
    s.f(F.query('execute x')).on({ kind: 'probed', rejection: null });
    expect(s.effect('open').question.sql).toContain('ddl t');
  });

  it('bound by a command mean the same when it is executed, or it does not run', () => {
    const s = new TestSession().f(F.parse('read 1', 'x'), F.parse('execute x', 'e'), F.bind('e', 'p'));
    s.f(F.close('x'), F.parse('ddl t', 'x'), F.execute('p'), F.sync());
    expect(s.sent().slice(-2)).toEqual(['P:\u0001cs SELECT "cs:test:1"', 'S']);
  });
});

describe('very many messages', () => {
  it('behind a hold cost memory by number too, and are taken in linear time', () => {
    const s = new TestSession().f(F.query('ddl t')).opened();
    const flush = F.flush();
    for (let i = 0; i < 200_000; i++) s.session.frontend(0x48, flush, ++s.now);
    expect(s.session.pendingBytes).toBeGreaterThan(200_000 * 100);
    const began = performance.now();
    s.on({ kind: 'holdTimeout' });
    expect(performance.now() - began).toBeLessThan(2_000);
  });

  it('with names of their own under way are answered in linear time', () => {
    const s = new TestSession();
    const count = 60_000;
    const sync = F.sync();
    for (let i = 0; i < count; i++) {
      const frame = F.close(`n${i}`);
      s.session.frontend(0x43, frame, ++s.now);
    }
    s.f(sync);
    const began = performance.now();
    const done = B.closeComplete();
    for (let i = 0; i < count; i++) s.session.backend(0x33, done, ++s.now);
    expect(performance.now() - began).toBeLessThan(2_000);
  });
});
