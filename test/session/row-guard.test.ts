import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { decodeErrorFields } from '../../src/protocol/backend.ts';
import { approvedGuard, tightest } from '../../src/session/row-guard.ts';
import { B, F, fakeAnalysis, TestSession } from './harness.ts';

const limits = { ...DEFAULT_LIMITS, exportRows: 3, exportBytes: 100 };

function guarded(options: ConstructorParameters<typeof TestSession>[0] = {}): TestSession {
  return new TestSession({ limits, ...options });
}

/** The outcome that the log has once the session is over. */
function ended(s: TestSession) {
  s.session.upstreamClosed(++s.now);
  s.f();
  return s.entries.flatMap((entry) =>
    entry.kind === 'outcome'
      ? [{ no: entry.statementNo, outcome: entry.outcome, sqlstate: entry.sqlstate, rows: entry.rows }]
      : [],
  );
}

function word(s: TestSession) {
  const { error } = s.effect('close');
  return error === null ? {} : decodeErrorFields(error);
}

describe('a measured statement', () => {
  it('within its limits is nothing special', () => {
    const s = guarded().f(F.query('measured 1'));
    s.b(B.rowDescription(), B.dataRow(), B.dataRow(), B.dataRow(94), B.complete('SELECT 3'), B.ready());
    expect(s.client).toEqual(['T', 'D', 'D', 'D', 'C', 'Z:I']);
    expect(s.kinds()).toEqual([]);
    expect(s.outcomes()).toEqual(['1 executed']);
  });

  it('is asked about before the row that is one too many', () => {
    const s = guarded().f(F.query('measured 1'));
    s.b(B.rowDescription(), B.dataRow(), B.dataRow(), B.dataRow(), B.dataRow());
    expect(s.client).toEqual(['T', 'D', 'D', 'D']);
    expect(s.kinds()).toEqual(['pauseUpstream', 'open']);
    expect(s.effect('open').question).toMatchObject({
      class: 'export',
      sqlBytes: Buffer.from('measured 1'),
      reasons: ['its result is larger than 3 rows; 3 rows of 6 bytes were sent already', 'read'],
    });
  });

  it('is asked about before the row that has one byte too many', () => {
    const s = guarded().f(F.query('measured 1'));
    s.b(B.rowDescription(), B.dataRow(50), B.dataRow(51));
    expect(s.client).toEqual(['T', 'D']);
    expect(s.effect('open').question.reasons[0]).toBe(
      'its result is larger than 100 bytes; 1 rows of 50 bytes were sent already',
    );
    const first = guarded().f(F.query('measured 1')).b(B.rowDescription(), B.dataRow(101));
    expect(first.client).toEqual(['T']);
  });
});

describe('rows are counted by statement', () => {
  it('over all Executes of a portal, also across Sync in a transaction', () => {
    const s = guarded().f(F.query('begin')).b(B.complete('BEGIN'), B.ready('T'));
    s.f(F.parse('measured 1'), F.bind('', 'p'), F.execute('p', 2), F.sync());
    s.b(B.parseComplete(), B.bindComplete(), B.dataRow(), B.dataRow(), B.suspended(), B.ready('T'));
    s.f(F.execute('p', 2), F.sync());
    s.b(B.dataRow(), B.dataRow());
    expect(s.client.filter((one) => one === 'D')).toHaveLength(3);
    expect(s.session.phase).toBe('opening');
    expect(s.effect('open').question.reasons[0]).toContain('3 rows of 6 bytes were sent already');
  });

  it('each Bind anew, each statement of a string by itself', () => {
    const s = guarded().f(
      F.parse('measured 1', 's'),
      F.bind('s'),
      F.execute(),
      F.bind('s'),
      F.execute(),
      F.sync(),
    );
    s.b(B.parseComplete(), B.bindComplete(), B.dataRow(), B.dataRow(), B.complete('SELECT 2'));
    s.b(B.bindComplete(), B.dataRow(), B.dataRow(), B.complete('SELECT 2'), B.ready());
    expect(s.outcomes()).toEqual(['1 executed', '2 executed']);
    s.f(F.query('measured 1; read 2; measured 3'));
    for (const rows of [3, 9, 3]) {
      s.b(B.rowDescription());
      for (let i = 0; i < rows; i++) s.b(B.dataRow(20));
      s.b(B.complete('SELECT'));
    }
    s.b(B.ready());
    expect(s.kinds()).toEqual([]);
    expect(s.outcomes().slice(2)).toEqual(['3 executed', '4 executed', '5 executed']);
  });

  it('and over all fetches from a cursor', () => {
    const s = guarded().f(F.query('begin')).b(B.complete('BEGIN'), B.ready('T'));
    s.f(F.query('declare c bounded 1')).b(B.complete('DECLARE CURSOR'), B.ready('T'));
    for (const last of [false, true]) {
      s.f(F.query('fetch c')).b(B.rowDescription(), B.dataRow(60));
      if (!last) s.b(B.complete('FETCH 1'), B.ready('T'));
    }
    expect(s.session.phase).toBe('opening');
    expect(s.effect('open').question.reasons[0]).toContain('1 rows of 60 bytes were sent already');
  });
});

describe('bytes of a result whose rows are bounded', () => {
  it('are counted, and rows are not', () => {
    const s = guarded().f(F.query('bounded 1')).b(B.rowDescription());
    for (let i = 0; i < 9; i++) s.b(B.dataRow(10));
    s.b(B.dataRow(11));
    expect(s.client.filter((one) => one === 'D')).toHaveLength(9);
    expect(s.session.phase).toBe('opening');
  });

  it('end the session where something was sent behind it: what has no known outcome is unknown', () => {
    const s = guarded();
    for (const text of ['read 1', 'bounded 2', 'write 3'])
      s.f(F.parse(text), F.bind(), F.execute(), F.sync());
    s.b(B.parseComplete(), B.bindComplete(), B.complete('SELECT 0'), B.ready());
    s.b(B.parseComplete(), B.bindComplete(), B.dataRow(50), B.dataRow(51));
    expect(s.kinds()).toEqual(['stopTimers', 'cancelUpstream', 'close']);
    expect(word(s)).toMatchObject({
      S: 'FATAL',
      C: '54000',
      M: 'countersign: the result is larger than 100 bytes, so it was stopped and the session ended',
      D: expect.stringMatching(
        /^Rule default:read .*: read\. 1 rows of 50 bytes .* of 51 bytes, .*exportBytes\. /,
      ),
      H: expect.stringContaining('add a LIMIT'),
    });
    expect(ended(s).map(({ no, outcome, sqlstate, rows }) => [no, outcome, sqlstate, rows])).toEqual([
      [1, 'executed', null, 0n],
      [2, 'failed', '54000', 1n],
      [3, 'unknown', null, 0n],
    ]);
  });

  it('end the session, and of what writes nobody knows whether it has committed', () => {
    const s = guarded().f(F.query('returning 1'), F.query('read 2')).b(B.rowDescription(), B.dataRow(200));
    expect(word(s)['C']).toBe('54000');
    expect(ended(s)).toEqual([
      { no: 1, outcome: 'unknown', sqlstate: '54000', rows: 0n },
      { no: 2, outcome: 'unknown', sqlstate: null, rows: 0n },
    ]);
  });

  it('pass nothing that comes later', () => {
    const s = guarded().f(F.query('bounded 1'), F.query('read 1')).b(B.rowDescription(), B.dataRow(200));
    s.b(B.dataRow(), B.complete('SELECT 9'), B.ready());
    expect(s.client).toEqual(['T']);
    s.f(F.query('read 2'));
    expect(s.sent()).toEqual(['Q bounded 1', 'Q read 1']);
  });

  it('count a hundred times as much in the catalogs', () => {
    const catalogs = (sql: Buffer) => {
      const analysis = fakeAnalysis(sql.toString());
      const use = { schema: 'pg_catalog', name: 'pg_proc', oid: 1255, mode: 'read' } as const;
      return { ...analysis, statements: analysis.statements.map((one) => ({ ...one, relations: [use] })) };
    };
    const s = guarded({ analyse: catalogs, limits: { ...limits, catalogRows: 300 } });
    s.f(F.query('bounded 1')).b(B.rowDescription(), B.dataRow(9_999));
    expect(s.client).toEqual(['T', 'D']);
    s.b(B.dataRow(2));
    expect(s.session.phase).toBe('opening');
  });
});

describe('bounds', () => {
  it('are what people have approved, where they have set some', () => {
    const guard = { rows: 3, bytes: 100, measured: true, beyond: 'ask', rule: 'r', reasons: [] } as const;
    expect(approvedGuard(undefined, guard)).toBeNull();
    expect(approvedGuard({ rows: null, bytes: null }, guard)).toBeNull();
    expect(approvedGuard({ rows: 50, bytes: null }, guard)).toMatchObject({
      rows: 50,
      bytes: Number.POSITIVE_INFINITY,
      beyond: 'stop',
    });
  });

  it('hold together', () => {
    expect(tightest({ rows: 5, bytes: 9 }, { rows: 7, bytes: 3 }, { rows: 6, bytes: 6 })).toEqual({
      rows: 5,
      bytes: 3,
    });
  });
});

describe('no guard', () => {
  const many = (s: TestSession) => {
    s.b(B.rowDescription());
    for (let i = 0; i < 20; i++) s.b(B.dataRow(200));
    s.b(B.complete('SELECT 20'), B.ready());
    expect(s.client.filter((one) => one === 'D')).toHaveLength(20);
    expect(s.outcomes()).toEqual(['1 executed']);
  };

  it('in mode observe', () => {
    many(guarded({ mode: 'observe' }).f(F.query('measured 1')));
  });

  it('for what is not measured', () => {
    many(guarded().f(F.query('read 1')));
  });

  it('for what a person let pass', () => {
    const decide = () =>
      ({ decision: 'hold', rule: 'r', policy: '', class: 'read', reasons: ['r'], approval: null }) as const;
    const s = guarded({ decide, analyse: (sql) => fakeAnalysis(sql.toString()) });
    many(s.f(F.query('measured 1')).opened().approve());
  });
});
