/** Every cell of the reply ledger: which answer may come to which message, and what each does to it. */
import { describe, expect, it } from 'vitest';
import { encodeFrame } from '../../src/protocol/backend.ts';
import { ANY_TIME, Cells, HEAD_NAMES, type Head, LEGAL, legalCells } from '../wire/programs/cells.ts';
import { B, F, rejection, TestSession } from './harness.ts';

const bound = () => new TestSession({ mode: 'observe' }).f(F.parse('read 1'), F.bind());
/** Sessions whose oldest unanswered message is of that kind. */
const OLDEST: Readonly<Record<Head, () => TestSession>> = {
  parse: () => new TestSession().f(F.parse('read 1'), F.flush()),
  bind: () => bound().b(B.parseComplete()),
  describe: () => bound().f(F.describe()).b(B.parseComplete(), B.bindComplete()),
  execute: () => bound().f(F.execute()).b(B.parseComplete(), B.bindComplete()),
  close: () => new TestSession().f(F.close('x')),
  query: () => new TestSession().f(F.query('read 1')),
  sync: () => new TestSession().f(F.sync()),
  functionCall: () => new TestSession({ mode: 'observe' }).f(encodeFrame(0x46, Buffer.alloc(10))),
  copyProbe: () =>
    new TestSession().f(F.query('copyin t')).b(B.copyIn()).f(F.sync()).b(B.error('22P04'), B.ready()),
  nothing: () => new TestSession(),
};
/** COPY data are expected only of COPY. */
const OF_COPY: Readonly<Partial<Record<Head, () => TestSession>>> = {
  query: () => new TestSession().f(F.query('copyin t')),
  execute: () =>
    new TestSession().f(F.parse('copyin t'), F.bind(), F.execute()).b(B.parseComplete(), B.bindComplete()),
};

const ANSWERS: Readonly<Record<string, Buffer>> = {
  '1': B.parseComplete(),
  '2': B.bindComplete(),
  '3': B.closeComplete(),
  t: encodeFrame(0x74, Buffer.from([0, 0])),
  T: B.rowDescription(),
  n: encodeFrame(0x6e, Buffer.alloc(0)),
  D: B.dataRow(),
  C: B.complete('SELECT 1'),
  s: B.suspended(),
  I: B.empty(),
  G: B.copyIn(),
  H: encodeFrame(0x48, Buffer.from([0, 0, 0])),
  d: encodeFrame(0x64, Buffer.from('x')),
  c: encodeFrame(0x63, Buffer.alloc(0)),
  V: encodeFrame(0x56, Buffer.from([255, 255, 255, 255])),
  E: B.error('57014'),
  Z: B.ready(),
  N: encodeFrame(0x4e, Buffer.from('SNOTICE\0\0')),
  S: B.parameter('TimeZone', 'UTC'),
  A: encodeFrame(0x41, Buffer.from('\0\0\0\x01channel\0payload\0')),
};
/** The answer ends its message; others leave it the oldest. */
const ENDS: Readonly<Record<Head, string>> = {
  parse: '1E',
  bind: '2E',
  describe: 'TnE',
  execute: 'CsIE',
  close: '3E',
  query: 'Z',
  sync: 'Z',
  functionCall: 'Z',
  copyProbe: '',
  nothing: '',
};

function started(head: Head, type: string): TestSession {
  const session = ((type === 'G' ? OF_COPY[head] : undefined) ?? OLDEST[head])();
  // A bare message of ours was answered: only then can an error come here.
  if (head === 'copyProbe' && type === 'E')
    return new TestSession()
      .f(F.query('copyin t'))
      .b(B.copyIn())
      .f(F.query('read 1'))
      .b(B.error('22P04'), B.ready());
  return head === 'copyProbe' && type === '3' ? session.b(B.ready()) : session;
}

describe('the reply ledger', () => {
  const cells = new Cells();

  it.each(legalCells())('takes $type where $head is the oldest', ({ head, type }) => {
    const s = started(head, type);
    const before = s.client.length;
    s.b(ANSWERS[type] ?? Buffer.alloc(0));
    expect(s.session.phase).not.toBe('ended');
    expect(s.kinds()).not.toContain('close');
    const stays = head === 'copyProbe' && LEGAL[head].includes(type);
    expect(s.client.length - before).toBe(stays ? 0 : 1);
    if (head !== 'nothing' && head !== 'copyProbe') expect(s.session.idle).toBe(ENDS[head].includes(type));
    cells.add(head, type);
  });

  const illegal = HEAD_NAMES.flatMap((head) =>
    Object.keys(ANSWERS)
      .filter((type) => !`${LEGAL[head]}${ANY_TIME}`.includes(type))
      .map((type) => ({ head, type })),
  );
  it.each(illegal)('ends the session on $type where $head is the oldest', ({ head, type }) => {
    const s = OLDEST[head]().b(ANSWERS[type] ?? Buffer.alloc(0));
    expect(s.session.phase).toBe('ended');
  });

  it('has no cell that was not played', () => {
    expect(legalCells().filter(({ head, type }) => !cells.has(head, type))).toEqual([]);
  });

  it('skips nothing after an error that comes unasked, between two groups', () => {
    const s = new TestSession().f(F.query('read 1')).b(B.complete('SELECT 1'), B.ready());
    s.sent();
    s.b(B.error('57014')).f(F.query('read 2'));
    expect(s.sent()).toEqual(['Q read 2']);
  });

  it('keeps the portal that runs CLOSE ALL, and the unnamed one where a Query is empty', () => {
    const s = new TestSession().f(F.query('begin')).b(B.complete('BEGIN'), B.ready('T'));
    s.f(F.parse('closeall'), F.bind('', 'p'), F.execute('p'), F.parse('read 1'), F.bind(), F.sync());
    s.b(B.parseComplete(), B.bindComplete(), B.complete('CLOSE CURSOR ALL'));
    s.b(B.parseComplete(), B.bindComplete(), B.ready('T'));
    s.f(F.query('')).b(B.empty(), B.ready('T'));
    s.sent();
    s.f(F.execute(''), F.execute('p'), F.sync());
    expect(s.sent()).toEqual(['E', 'E', 'S']);
  });

  it('waits with a name while all of them may be deleted', () => {
    const s = new TestSession().f(F.parse('deny x', 'n'), F.sync()).b(B.parseComplete(), B.ready());
    s.f(F.query('discardall'), F.bind('n'), F.sync());
    expect(s.session.phase).toBe('settling');
    s.sent();
    s.b(B.complete('DISCARD ALL'), B.ready());
    const sent = s.sent();
    s.b(rejection(sent), B.ready());
    expect(s.client.at(-2)).toBe('E:26000 prepared statement "n" does not exist');
  });

  it('keeps the unnamed statement where SQL deallocates all', () => {
    const s = new TestSession().f(F.query('begin')).b(B.complete('BEGIN'), B.ready('T'));
    s.f(F.parse('read 1'), F.parse('discardall', 'a'), F.bind('a'), F.execute(''), F.bind(), F.sync());
    s.sent();
    s.b(B.parseComplete(), B.parseComplete(), B.bindComplete(), B.complete('DISCARD ALL'));
    expect(s.sent()).toEqual(['B', 'S']);
  });

  it('forgets the names of a portal that was executed again, and skipped', () => {
    const s = new TestSession().f(F.query('begin')).b(B.complete('BEGIN'), B.ready('T'));
    s.f(F.parse('prepare n read 1'), F.bind('', 'p'), F.execute('p'), F.sync());
    s.b(B.parseComplete(), B.bindComplete(), B.complete('PREPARE'), B.ready('T'));
    s.f(F.parse('bad', 'x'), F.execute('p'), F.sync()).b(B.error('42601'), B.ready('E'));
    s.f(F.query('rollback')).b(B.complete('ROLLBACK'), B.ready());
    s.sent();
    s.f(F.bind('n'), F.sync());
    expect(s.sent()).toEqual(['B', 'S']);
  });
});

it('a COPY that fails before Terminate gives the client each ReadyForQuery that came', () => {
  const s = new TestSession().f(F.parse('copyin t'), F.bind(), F.execute(), F.sync(), F.terminate());
  s.b(B.parseComplete(), B.bindComplete(), B.copyIn(), B.error('22P04'), B.ready());
  s.session.upstreamClosed(1);
  s.f();
  expect(s.client.at(-1)).toBe('Z:I');
});

describe('a COPY that fails after a Sync among its data', () => {
  const failing = (extended: boolean) => {
    const s = new TestSession();
    if (extended)
      s.f(F.parse('copyin t'), F.bind(), F.execute(), F.sync()).b(B.parseComplete(), B.bindComplete());
    else s.f(F.query('copyin t'), F.sync());
    s.b(B.copyIn()).f(F.copyData('x'), F.copyDone());
    s.f(F.query('read 1'));
    // It waits: whether it is skipped is not known.
    expect(s.sent().join()).not.toContain('read 1');
    s.b(B.error('22P04'));
    if (!extended) s.b(B.ready());
    expect(s.sent().join()).not.toContain('read 1');
    return s;
  };

  it.each([
    ['eaten, in a Query', false, 0],
    ['not eaten, in a Query', false, 1],
    ['eaten, in a group', true, 0],
    ['not eaten, in a group', true, 1],
  ] as const)('asks whether it was eaten: %s', (_name, extended, uneaten) => {
    const s = failing(extended);
    const before = s.client.length;
    s.b(...Array.from({ length: uneaten + 1 }, () => B.ready()), B.closeComplete());
    expect(s.client.length).toBe(before + (uneaten > 0 ? 1 : 0));
    const skipped = extended && uneaten === 0;
    expect(s.sent().join()).toBe(skipped ? '' : 'Q read 1');
  });
});
