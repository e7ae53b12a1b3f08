/** What was seen of real servers about order, replies and names: one test a rule. */
import { describe, expect, it } from 'vitest';
import { B, F, rejection, TestSession } from './harness.ts';

const begun = () => {
  const s = new TestSession().f(F.query('begin')).b(B.complete('BEGIN'), B.ready('T'));
  s.sent();
  return s;
};
const prepared = (text: string, name: string) => {
  const s = new TestSession().f(F.parse(text, name), F.sync()).b(B.parseComplete(), B.ready());
  s.sent();
  return s;
};

describe('Parse', () => {
  it('and Describe of the statement run nothing, so nobody is asked', () => {
    const s = new TestSession().f(F.parse('ddl t', 'x'), F.describe('x'), F.sync());
    expect(s.session.phase).toBe('ready');
    expect(s.sent()).toEqual(['P:x ddl t', 'D', 'S']);
  });

  it.each([
    ['Flush', F.flush(), 'H'],
    ['Sync', F.sync(), 'S'],
  ])('is not kept back any longer where %s asks for its answer', (_name, frame, shown) => {
    const s = new TestSession().f(F.parse('ddl t', 'x'));
    expect(s.sent()).toEqual([]);
    expect(s.f(frame).sent()).toEqual(['P:x ddl t', shown]);
  });

  it('of a statement that is held goes upstream with its Bind, at the release', () => {
    const s = new TestSession().f(F.parse('ddl t', 'x'), F.bind('x'), F.execute(), F.sync()).opened();
    expect(s.sent()).toEqual([]);
    s.approve();
    expect(s.sent()).toEqual(['P:x ddl t', 'B', 'E', 'S']);
  });
});

describe('Execute', () => {
  it('of what was judged at Bind asks nobody again, as often as it comes', () => {
    const s = new TestSession().f(F.parse('ddl t'), F.bind(), F.execute('', 1), F.execute('', 1), F.sync());
    s.opened().approve();
    expect(s.sent()).toEqual(['P: ddl t', 'B', 'E', 'E', 'S']);
  });

  it('that is refused leaves the portal that SQL made, and is judged again', () => {
    const s = begun().f(F.query('declare c ddl t')).opened().approve();
    s.b(B.complete('DECLARE CURSOR'), B.ready('T')).sent();
    for (let i = 0; i < 2; i++) {
      s.f(F.execute('c'), F.sync()).opened();
      s.on({ kind: 'answered', state: 'denied', ended: null });
      const sent = s.sent();
      expect(sent[0]).toMatch(/^P:\u0001cs SELECT/);
      s.b(rejection(sent), B.ready('E'));
      s.f(F.query('rollback')).b(B.complete('ROLLBACK'), B.ready('T')).sent();
    }
    expect(s.client.filter((one) => one.startsWith('E:42501'))).toHaveLength(2);
  });
});

describe('the reply ledger', () => {
  it('lets notices, settings and notifications come anywhere and match nothing', () => {
    const s = new TestSession().f(F.parse('read 1'), F.bind(), F.execute(), F.sync());
    const any = [B.parameter('application_name', 'x'), B.parameter('TimeZone', 'UTC')];
    for (const frame of [B.parseComplete(), B.bindComplete(), B.complete('SELECT 0'), B.ready()])
      s.b(...any, frame, ...any);
    expect(s.session.idle).toBe(true);
    expect(s.client.filter((one) => one === 'S')).toHaveLength(16);
  });

  it('says executed at ReadyForQuery, not at CommandComplete: COMMIT may still fail', () => {
    const s = new TestSession().f(F.parse('write 1'), F.bind(), F.execute(), F.sync());
    s.b(B.parseComplete(), B.bindComplete(), B.complete('INSERT 0 1'));
    expect(s.outcomes()).toEqual([]);
    // A deferred constraint fails at Sync.
    s.b(B.error('23503'));
    expect(s.outcomes()).toEqual([]);
    s.b(B.ready());
    expect(s.outcomes()).toEqual(['1 failed']);
    expect(s.session.idle).toBe(true);
  });

  it.each([
    ['Parse', [F.parse('read 1', 'x'), F.flush()], []],
    ['Bind', [F.parse('read 1', 'x'), F.bind('x')], [B.parseComplete()]],
    ['Describe', [F.parse('read 1', 'x'), F.describe('x'), F.flush()], [B.parseComplete()]],
    ['Execute', [F.parse('read 1', 'x'), F.bind('x'), F.execute()], [B.parseComplete(), B.bindComplete()]],
    ['Close', [F.close('x')], []],
  ])(
    'takes an error at %s for the end of everything up to the next Sync, Queries too',
    (_at, sent, answers) => {
      const s = new TestSession().f(
        ...sent,
        F.query('read 2'),
        F.parse('read 3', 'y'),
        F.sync(),
        F.query('read 4'),
      );
      s.b(...answers, B.error('XX000'), B.ready());
      expect(s.session.idle).toBe(false);
      s.b(B.complete('SELECT 1'), B.ready());
      expect(s.session.idle).toBe(true);
      // The Query in the skip had no ReadyForQuery of its own, and did not run.
      expect(s.outcomes().at(-1)).toMatch(/executed$/);
      expect(s.outcomes().filter((one) => one.endsWith('executed'))).toHaveLength(1);
    },
  );

  it('drops what comes where no Sync is there yet, until Sync', () => {
    const s = new TestSession().f(F.parse('bad', 'x'), F.flush()).b(B.error('42601'));
    s.sent();
    s.f(F.query('write 2'), F.bind('x'), F.execute(), F.flush());
    expect(s.sent()).toEqual([]);
    s.f(F.sync());
    expect(s.sent()).toEqual(['S']);
    s.b(B.ready()).f(F.query('read 3'));
    expect(s.sent()).toEqual(['Q read 3']);
  });

  it('lets Terminate through while it drops', () => {
    const s = new TestSession().f(F.parse('bad', 'x'), F.flush()).b(B.error('42601'));
    s.sent();
    expect(s.f(F.terminate()).sent()).toEqual(['X']);
  });

  it('waits, after an error at Query or Sync, for its ReadyForQuery, and skips nothing', () => {
    const s = new TestSession().f(F.query('read 1'), F.query('read 2'));
    s.b(B.error('22012'), B.ready(), B.complete('SELECT 1'), B.ready());
    expect(s.outcomes()).toEqual(['1 failed', '2 executed']);
  });

  it.each([
    ['Parse', F.parse('read 1', 'x')],
    ['Bind', F.bind('x')],
    ['Close', F.close('x')],
  ])('ends the session at ReadyForQuery in answer to %s', (_name, frame) => {
    const s = prepared('read 1', 'x').f(frame, F.flush()).b(B.ready());
    expect(s.kinds()).toContain('close');
  });

  it('relays a FATAL error as it is', () => {
    const s = new TestSession().f(F.query('read 1')).b(B.error('57P01', 'shutting down', 'FATAL'));
    expect(s.client).toEqual(['E:57P01 shutting down']);
    s.session.upstreamClosed(++s.now);
    expect(s.f().outcomes()).toEqual(['1 unknown']);
  });
});

describe('COPY FROM STDIN', () => {
  it('asks the server, before anything else is sent, who ate the Sync between data that fail', () => {
    const s = new TestSession().f(F.parse('copyin t'), F.bind(), F.execute());
    s.f(F.copyData('1\n'), F.sync(), F.copyData('x\n'));
    s.sent();
    s.b(B.parseComplete(), B.bindComplete(), B.copyIn(), B.error('22P02'));
    expect(s.sent()).toEqual(['S', 'H']);
    expect(s.f(F.query('read 1')).sent()).not.toContain('Q');
    expect(s.kinds()).not.toContain('close');
  });

  it('that was ended before the server took data needs no answer to the end', () => {
    const s = new TestSession().f(F.query('copyin t'), F.copyData('1\n'), F.copyDone());
    s.b(B.copyIn(), B.complete('COPY 1'), B.ready());
    expect(s.session.idle).toBe(true);
  });

  it('leaves data that nobody waits for without an answer', () => {
    const s = new TestSession().f(F.copyData('1\n'), F.copyDone());
    expect(s.sent()).toEqual(['d', 'c']);
    expect(s.session.idle).toBe(true);
  });
});

describe('names', () => {
  it('made by SQL survive a rolled back transaction', () => {
    const s = begun().f(F.query('prepare p read 1')).b(B.complete('PREPARE'), B.ready('T'));
    s.f(F.query('rollback')).b(B.complete('ROLLBACK'), B.ready());
    s.sent();
    expect(s.f(F.bind('p'), F.sync()).sent()).toEqual(['B', 'S']);
  });

  it.each([
    ['fails', [B.error('22012'), B.ready()]],
    ['is empty', [B.empty(), B.ready()]],
    ['runs', [B.complete('SELECT 1'), B.ready()]],
  ])('without a name are destroyed by a Query that %s', (_how, answers) => {
    const s = prepared('read 1', '')
      .f(F.query('read 2'))
      .b(...answers);
    s.sent();
    expect(s.f(F.bind(), F.sync()).sent()[0]).toContain('cs:test');
  });

  it('without a name are destroyed by a Parse that fails, those with a name are not', () => {
    for (const name of ['', 'x']) {
      const s = prepared('read 1', name).f(F.parse('read 2', name), F.sync());
      s.b(B.error('42P05'), B.ready()).sent();
      const sent = s.f(F.bind(name), F.sync()).sent();
      expect(sent[0]?.includes('cs:test')).toBe(name === '');
    }
  });

  it('of portals end with the transaction', () => {
    const s = prepared('read 1', 'x').f(F.query('begin')).b(B.complete('BEGIN'), B.ready('T'));
    s.f(F.bind('x', 'p'), F.sync()).b(B.bindComplete(), B.ready('T')).sent();
    expect(s.f(F.execute('p'), F.sync()).sent()).toEqual(['E', 'S']);
    s.b(B.complete('SELECT 0'), B.ready('T')).f(F.query('commit')).b(B.complete('COMMIT'), B.ready()).sent();
    expect(s.f(F.execute('p'), F.sync()).sent()[0]).toContain('cs:test');
  });

  it('of a group under way count in that group only', () => {
    const s = new TestSession().f(F.parse('read 1', 'x'), F.bind('x'), F.execute(), F.sync(), F.bind('x'));
    expect(s.session.phase).toBe('settling');
    expect(s.sent()).toEqual(['P:x read 1', 'B', 'E', 'S', 'H']);
  });
});

describe('a cancel', () => {
  it('that comes while the server waits for more of a group goes nowhere', () => {
    const s = new TestSession().f(F.parse('read 1'), F.bind(), F.execute(), F.flush());
    s.b(B.parseComplete(), B.bindComplete(), B.complete('SELECT 0')).on({ kind: 'cancel' });
    expect(s.kinds()).not.toContain('cancelUpstream');
    s.sent();
    expect(s.f(F.sync()).sent()).toEqual(['S']);
  });

  it('stops everything that would go upstream until it has ended', () => {
    const s = new TestSession().f(F.query('read 1')).on({ kind: 'cancel' });
    s.sent();
    s.b(B.error('57014'), B.ready());
    s.f(F.parse('read 2'), F.bind(), F.execute(), F.sync(), F.query('read 3'));
    expect(s.sent()).toEqual([]);
    s.session.cancelDone(++s.now);
    s.f();
    expect(s.sent()).toEqual(['P: read 2', 'B', 'E', 'S', 'Q read 3']);
  });
});

it('a portal that ran nothing and dies at a Sync on its way is as unknown as any other', () => {
  const s = new TestSession().f(F.parse('execute a'), F.bind('', 'a'), F.flush());
  s.b(B.parseComplete(), B.bindComplete());
  s.f(F.execute('gone'), F.sync(), F.execute('a'), F.sync());
  // Whether it is still there is known when the first group is over.
  const first = s.sent();
  s.b(rejection(first), B.ready());
  const second = s.sent();
  s.b(rejection(second), B.ready());
  expect(s.client.filter((one) => one.startsWith('E:'))).toEqual([
    'E:34000 portal "gone" does not exist',
    'E:34000 portal "a" does not exist',
  ]);
});
