import { describe, expect, it } from 'vitest';
import { B, F, fakeAnalysis, rejection, TestSession } from './harness.ts';

const harmless = { ...fakeAnalysis('read 1'), reasons: ['the server says so'] };

describe('a statement that the server can explain', () => {
  it('is asked about before a person is, and flows when the answer is harmless', () => {
    const s = new TestSession().f(F.query('vague 1'));
    expect(s.session.phase).toBe('clarifying');
    expect(s.kinds()).toEqual(['clarify']);
    expect(s.sent()).toEqual([]);
    s.on({ kind: 'clarified', analysis: harmless });
    expect(s.sent()).toEqual(['Q vague 1']);
    expect(s.entries).toMatchObject([{ kind: 'intent', class: 'read', decision: 'allow' }]);
  });

  it('is held when the server had no answer, and is asked about once', () => {
    const s = new TestSession().f(F.query('vague 1')).on({ kind: 'clarified', analysis: null });
    expect(s.kinds()).toEqual(['clarify', 'probe']);
    s.opened();
    expect(s.kinds().filter((kind) => kind === 'clarify')).toHaveLength(1);
    expect(s.sent()).toEqual([]);
    s.approve();
    expect(s.sent()).toEqual(['Q vague 1']);
  });

  it('is released as what the server said it was', () => {
    const held = { ...fakeAnalysis('ddl t'), reasons: ['an answer'] };
    const s = new TestSession().f(F.query('vague 1')).on({ kind: 'clarified', analysis: held }).opened();
    s.approve();
    expect(s.sent()).toEqual(['Q vague 1']);
    expect(s.entries).toMatchObject([{ class: 'ddl' }]);
  });

  it('is asked about with the parameters of its Bind', () => {
    const s = new TestSession().f(F.parse('vague 1'), F.bind());
    expect(s.effect('clarify')).toMatchObject({ parameters: [] });
    s.on({ kind: 'clarified', analysis: harmless }).f(F.execute(), F.sync());
    expect(s.sent()).toEqual(['P: vague 1', 'B', 'E', 'S']);
  });

  it('does not overtake what was sent before it, and lets nothing overtake it', () => {
    const s = new TestSession().f(F.query('read 1'), F.query('vague 1'), F.query('read 2'));
    expect(s.sent()).toEqual(['Q read 1']);
    s.on({ kind: 'clarified', analysis: harmless });
    expect(s.sent()).toEqual(['Q vague 1', 'Q read 2']);
  });
});

it('is asked anew when people have approved it: what was answered before their time does not count', () => {
  const plain = fakeAnalysis('ddl t');
  const calling = {
    ...plain,
    statements: plain.statements.map((one) => ({ ...one, calls: ['public.f() 1 x'] })),
  };
  const s = new TestSession().f(F.query('vague 1'));
  expect(s.effect('clarify').fresh).toBe(false);
  s.on({ kind: 'clarified', analysis: calling }).opened();
  s.on({ kind: 'answered', state: 'approved', ended: null });
  expect(s.session.phase).toBe('clarifying');
  expect(s.effects.filter((effect) => effect.kind === 'clarify').map(({ fresh }) => fresh)).toEqual([
    false,
    true,
  ]);
});

it('is asked about what it has parsed under another policy, or while tables were smaller', () => {
  let knowledge = 'one policy';
  const s = new TestSession({ knowledge: () => knowledge }).f(F.parse('vague 1', 'early'), F.flush());
  s.b(B.parseComplete());
  knowledge = 'another policy';
  s.f(F.bind('early'));
  expect(s.kinds()).toContain('clarify');
  s.on({ kind: 'clarified', analysis: harmless });
  expect(s.sent().at(-1)).toBe('B');
});

describe('the server is not asked', () => {
  it('where policy lets it run anyway', () => {
    const s = new TestSession({
      decide: ({ class: found, reasons }) => ({
        decision: 'allow',
        rule: 'all',
        policy: '',
        class: found,
        reasons,
        approval: null,
      }),
    }).f(F.query('vague 1'));
    expect(s.kinds()).toEqual([]);
    expect(s.sent()).toEqual(['Q vague 1']);
  });

  it('in a failed transaction, where nothing runs', () => {
    const s = new TestSession().f(F.query('begin')).b(B.complete('BEGIN'), B.ready('T'));
    s.f(F.query('read x')).b(B.error('42P01'), B.ready('E'));
    s.f(F.query('vague 1'));
    expect(s.kinds()).not.toContain('clarify');
    expect(s.sent().at(-1)).toContain('cs:');
  });

  it('about what it has parsed before names came to mean something else', () => {
    let objects = 'one catalog';
    const s = new TestSession({ objects: () => objects, knowledge: () => objects }).f(
      F.parse('vague 1', 'early'),
      F.flush(),
    );
    expect(s.sent()).toContain('P:early vague 1');
    s.b(B.parseComplete());
    objects = 'another catalog';
    s.f(F.bind('early'));
    expect(s.kinds()).not.toContain('clarify');
  });

  it('about names that only this session may have', () => {
    const s = new TestSession().f(F.query('ddl t')).opened().approve();
    s.b(B.complete('CREATE TABLE'), B.ready('T'));
    s.f(F.query('vague 1'));
    expect(s.kinds()).not.toContain('clarify');
  });
});

it('a cancel while the server is asked withdraws the statement', () => {
  const s = new TestSession().f(F.query('vague 1')).on({ kind: 'cancel' });
  s.on({ kind: 'clarified', analysis: harmless });
  const sent = s.sent();
  expect(sent).toHaveLength(1);
  expect(sent[0]).toContain('cs:');
  s.b(rejection(sent), B.ready());
  expect(s.client[0]).toContain('E:57014');
});

it('in mode observe the answer is recorded, and the statement runs either way', () => {
  const s = new TestSession({ mode: 'observe' }).f(F.query('vague 1'));
  expect(s.sent()).toEqual([]);
  s.on({ kind: 'clarified', analysis: harmless });
  expect(s.sent()).toEqual(['Q vague 1']);
  expect(s.entries).toMatchObject([{ class: 'read', decision: 'allow' }]);
});
