import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { decodeErrorFields } from '../../src/protocol/backend.ts';
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

  it('ends the session before the row that is one too many', () => {
    const s = guarded().f(F.query('measured 1'));
    s.b(B.rowDescription(), B.dataRow(), B.dataRow(), B.dataRow(), B.dataRow());
    expect(s.client).toEqual(['T', 'D', 'D', 'D']);
    expect(s.kinds()).toEqual(['stopTimers', 'cancelUpstream', 'close']);
    expect(word(s)).toMatchObject({
      S: 'FATAL',
      C: '54000',
      M: 'countersign: the result is larger than 3 rows, so it was stopped and the session ended',
      D: expect.stringMatching(
        /^Rule default:read .*: read\. 3 rows of 6 bytes .* of 2 bytes, .*exportRows\.$/,
      ),
      H: expect.stringContaining('add a LIMIT'),
    });
    expect(ended(s)).toEqual([{ no: 1, outcome: 'failed', sqlstate: '54000', rows: 3n }]);
  });

  it('ends the session before the row that has one byte too many', () => {
    const s = guarded().f(F.query('measured 1'));
    s.b(B.rowDescription(), B.dataRow(50), B.dataRow(51));
    expect(s.client).toEqual(['T', 'D']);
    expect(word(s)).toMatchObject({
      C: '54000',
      D: expect.stringMatching(/1 rows of 50 bytes .* of 51 bytes/),
    });
    expect(ended(s)).toEqual([{ no: 1, outcome: 'failed', sqlstate: '54000', rows: 1n }]);
    const first = guarded().f(F.query('measured 1')).b(B.rowDescription(), B.dataRow(101));
    expect(first.client).toEqual(['T']);
  });

  it('passes nothing that comes later', () => {
    const s = guarded().f(F.query('measured 1')).b(B.rowDescription(), B.dataRow(200));
    s.b(B.dataRow(), B.complete('SELECT 9'), B.ready());
    expect(s.client).toEqual(['T']);
    s.f(F.query('read 2'));
    expect(s.sent()).toEqual(['Q measured 1']);
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
    expect(word(s)['C']).toBe('54000');
    expect(ended(s).find(({ no }) => no === 2)).toMatchObject({ outcome: 'failed', rows: 3n });
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

  it('in a pipeline: what was sent after it has no known outcome', () => {
    const s = guarded();
    for (const text of ['read 1', 'measured 2', 'write 3'])
      s.f(F.parse(text), F.bind(), F.execute(), F.sync());
    s.b(B.parseComplete(), B.bindComplete(), B.complete('SELECT 0'), B.ready());
    s.b(B.parseComplete(), B.bindComplete(), B.dataRow(200));
    expect(ended(s).map(({ no, outcome, sqlstate }) => [no, outcome, sqlstate])).toEqual([
      [1, 'executed', null],
      [2, 'failed', '54000'],
      [3, 'unknown', null],
    ]);
  });

  it('and what waits for a person meanwhile is given up', () => {
    const s = guarded().f(F.query('measured 1'));
    s.f(F.query('ddl t'));
    expect(s.session.phase).toBe('settling');
    s.b(B.rowDescription(), B.dataRow(200));
    expect(s.session.phase).toBe('ended');
    expect(s.kinds()).not.toContain('open');
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
