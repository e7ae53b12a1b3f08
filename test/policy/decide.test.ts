import { describe, expect, it } from 'vitest';
import { DEFAULT_TABLE, decide } from '../../src/policy/decide.ts';
import { demandAt } from '../../src/policy/escalation.ts';
import type { PolicyRule } from '../../src/policy/rule.ts';
import { STATEMENT_CLASSES } from '../../src/statement/analysis.ts';
import { globMatches } from '../../src/statement/glob.ts';
import { analysed } from '../statement/support.ts';

const CONTEXT = { agent: 'reporter', owner: 'ann', database: 'shop', role: 'agent_rw' };

const rule = (
  name: string,
  decision: PolicyRule['decision'],
  match: PolicyRule['match'],
  rest = {},
): PolicyRule => ({
  name,
  decision,
  match,
  ...rest,
});
const by = (sql: string, ...rules: PolicyRule[]) => decide(analysed(sql), CONTEXT, { digest: 'd', rules });

describe('the default table', () => {
  it('names every class, and holds all above write', () => {
    const allowed = STATEMENT_CLASSES.filter((name) => DEFAULT_TABLE[name] === 'allow');
    expect(allowed).toEqual(['session', 'read', 'write']);
    expect(Object.keys(DEFAULT_TABLE)).toEqual([...STATEMENT_CLASSES]);
  });

  it.each([
    ['', 'allow', 'default:session'],
    ['SELECT 1', 'allow', 'default:read'],
    ['DROP TABLE t', 'hold', 'default:ddl'],
    ['SELEC 1', 'hold', 'default:unparsed'],
    ['SELECT 1; DROP TABLE t', 'hold', 'default:ddl'],
  ])('%s: %s by %s', (sql, decision, name) => {
    expect(by(sql)).toMatchObject({ decision, rule: name });
  });

  it('a hold asks for one approver, by chat', () => {
    expect(by('DROP TABLE t').approval).toEqual({ approvers: [], quorum: 1, assurance: 1 });
    expect(by('SELECT 1').approval).toBeNull();
  });
});

describe('rules', () => {
  it('the first that matches decides', () => {
    const first = rule('first', 'deny', { class: ['ddl'] });
    const second = rule('second', 'allow', { class: ['ddl'] });
    expect(by('DROP TABLE t', first, second)).toMatchObject({ decision: 'deny', rule: 'first' });
    expect(by('DROP TABLE t', second, first)).toMatchObject({ decision: 'allow', rule: 'second' });
    expect(by('SELECT 1', first, second).rule).toBe('default:read');
  });

  it.each([
    [{ agent: ['reporter'] }, true],
    [{ agent: ['report*'] }, true],
    [{ agent: ['other'] }, false],
    [{ owner: ['ann'] }, true],
    [{ owner: ['other'] }, false],
    [{ database: ['shop'], role: ['agent_rw'] }, true],
    [{ database: ['shop'], role: ['agent_ro'] }, false],
    [{ relation: ['public.*'] }, true],
    [{ relation: ['*.secret'] }, true],
    [{ relation: ['app.*'] }, false],
    [{}, true],
  ])('every condition must hold: %j matches %s', (match, expected) => {
    const deny = rule('r', 'deny', match);
    expect(by('SELECT * FROM public.secret', deny).decision).toBe(expected ? 'deny' : 'allow');
  });

  it('a join does not carry another table through a rule that allows', () => {
    const allow = rule('a', 'allow', { relation: ['public.open'] });
    const deny = rule('b', 'deny', {});
    expect(by('SELECT * FROM public.open', allow, deny).decision).toBe('allow');
    expect(by('SELECT * FROM public.open, public.secret', allow, deny).decision).toBe('deny');
    expect(by('SELECT 1', allow, deny).decision).toBe('deny');
  });

  it('each statement of a string is decided by itself, the severest counts', () => {
    const allow = rule('a', 'allow', { relation: ['public.scratch'] });
    expect(by('TRUNCATE public.scratch', allow).decision).toBe('allow');
    expect(by('TRUNCATE public.scratch; TRUNCATE public.orders', allow)).toMatchObject({
      decision: 'hold',
      rule: 'default:bulk_write',
    });
  });

  it('a relation whose schema is unknown could be any: enough to hold, not to allow', () => {
    expect(by('SELECT * FROM secret', rule('r', 'hold', { relation: ['app.secret'] })).decision).toBe('hold');
    const allow = rule('a', 'allow', { relation: ['app.scratch'] });
    expect(by('TRUNCATE scratch', allow).decision).toBe('hold');
  });

  it('two holds ask for what satisfies both', () => {
    const ddl = rule('ddl', 'hold', { class: ['ddl'] }, { approvers: ['dba', 'ann'], quorum: 2 });
    const grant = rule(
      'grant',
      'hold',
      { class: ['privilege'] },
      { approvers: ['dba', 'sec'], assurance: 3 },
    );
    expect(by('DROP TABLE t; GRANT SELECT ON t TO r', ddl, grant).approval).toEqual({
      approvers: ['dba'],
      quorum: 2,
      assurance: 3,
    });
    const other = rule('grant', 'hold', { class: ['privilege'] }, { approvers: ['sec'] });
    expect(by('DROP TABLE t; GRANT SELECT ON t TO r', ddl, other)).toMatchObject({
      decision: 'deny',
      rule: 'floor:approvers',
    });
  });
});

describe('escalation', () => {
  const BOTH = 'DROP TABLE t; GRANT SELECT ON t TO r';
  const ddl = (more: object) => rule('ddl', 'hold', { class: ['ddl'] }, more);
  const grant = (more: object) => rule('grant', 'hold', { class: ['privilege'] }, more);

  it('is part of the demand', () => {
    const escalate = { after: '10m', approvers: ['sec'], channel: 'C1' };
    expect(by('DROP TABLE t', ddl({ approvers: ['dba'], escalate })).approval).toEqual({
      approvers: ['dba'],
      quorum: 1,
      assurance: 1,
      escalation: { afterMs: 600_000, approvers: ['sec'], channel: 'C1' },
    });
  });

  it('of two holds brings in only whom both would have, at the later time', () => {
    const first = ddl({ approvers: ['dba'], escalate: { after: '10m', approvers: ['sec', 'ops'] } });
    const second = grant({ approvers: ['dba', 'sec'], escalate: { after: '1h', approvers: ['boss'] } });
    expect(by(BOTH, first, second).approval).toMatchObject({
      approvers: ['dba'],
      escalation: { afterMs: 3_600_000, approvers: ['sec'] },
    });
    // The second names nobody, so everybody may; but only the first brings anybody in.
    expect(by(BOTH, first, grant({})).approval).toMatchObject({
      approvers: ['dba'],
      escalation: { afterMs: 600_000, approvers: ['sec', 'ops'] },
    });
    expect(by(BOTH, first, grant({ approvers: ['dba'] })).approval).toEqual({
      approvers: ['dba'],
      quorum: 1,
      assurance: 1,
    });
  });

  it('counts from its moment on, and not where there is none', () => {
    const demand = {
      approvers: ['dba'],
      quorum: 1,
      assurance: 1,
      escalation: { afterMs: 10, approvers: ['sec', 'dba'] },
    } as const;
    expect(demandAt(demand, 100, 99)).toBe(demand);
    expect(demandAt(demand, 100, 100).approvers).toEqual(['dba', 'sec']);
    for (const [from, now] of [
      [null, 1e15],
      [Number.NaN, 1e15],
      [100, Number.NaN],
    ] as const)
      expect(demandAt(demand, from, now)).toBe(demand);
    const everybody = { ...demand, approvers: [] };
    expect(demandAt(everybody, 100, 200).approvers).toEqual([]);
  });
});

describe('escalation in quiet hours', () => {
  const BOTH = 'DROP TABLE t; GRANT SELECT ON t TO r';
  const ddl = (more: object) => rule('ddl', 'hold', { class: ['ddl'] }, more);
  const grant = (more: object) => rule('grant', 'hold', { class: ['privilege'] }, more);
  const night = { hours: '00:00-24:00', approvers: ['night'] };
  const escalate = { after: '10m', approvers: ['boss'] };
  const demandOf = (...rules: Parameters<typeof by>[1][]) => {
    const { approval } = by(rules.length === 1 ? 'DROP TABLE t' : BOTH, ...rules);
    if (approval === null) throw new Error('no demand');
    return approval;
  };
  const windowsAt = (demand: ReturnType<typeof demandOf>, now: number) =>
    demandAt(demand, 1_000, now).onCall?.map(({ approvers }) => approvers);

  it('brings its people into the hours of its own rule, from its time on', () => {
    const demand = demandOf(ddl({ approvers: ['dba', 'night'], onCall: [night], escalate }));
    expect(demand.onCall).toEqual([{ ...night, later: ['boss'] }]);
    expect(windowsAt(demand, 999)).toEqual([['night']]);
    expect(windowsAt(demand, 1_000)).toEqual([['night', 'boss']]);
    expect(demandAt(demand, 1_000, 1_000).approvers).toEqual(['dba', 'night', 'boss']);
  });

  it('does so too where everybody may answer otherwise', () => {
    const demand = demandOf(ddl({ onCall: [night], escalate }));
    expect(windowsAt(demand, 1_000)).toEqual([['night', 'boss']]);
    expect(demandAt(demand, 1_000, 1_000).approvers).toEqual([]);
  });

  it('widens no hours of another rule', () => {
    const day = { hours: '00:00-24:00', approvers: ['day'] };
    const both = demandOf(ddl({ onCall: [night], escalate }), grant({ onCall: [day] }));
    expect(both.escalation).toMatchObject({ afterMs: 600_000, approvers: [] });
    expect(windowsAt(both, 1_000)).toEqual([['night', 'boss'], ['day']]);
    expect(windowsAt(both, 999)).toEqual([['night'], ['day']]);
  });

  it('of two rules comes at the later time, each into its own hours', () => {
    const other = { after: '1h', approvers: ['chief'] };
    const both = demandOf(ddl({ onCall: [night], escalate }), grant({ onCall: [night], escalate: other }));
    expect(both.escalation).toMatchObject({ afterMs: 3_600_000 });
    expect(windowsAt(both, 1_000)).toEqual([
      ['night', 'boss'],
      ['night', 'chief'],
    ]);
  });

  it('brings nobody into the approvers of a rule that does not', () => {
    const both = demandOf(
      ddl({ approvers: ['dba'], onCall: [night], escalate }),
      grant({ approvers: ['dba'] }),
    );
    expect(demandAt(both, 1_000, 1_000).approvers).toEqual(['dba']);
  });
});

describe('floors', () => {
  const everything = rule('everything', 'allow', {});
  it.each([
    ['SELEC 1', 'hold', 'floor:unparsed'],
    ['SELECT nobody_knows()', 'hold', 'floor:opaque'],
    ['SELECT 1; DO $$ BEGIN END $$', 'hold', 'floor:opaque'],
    ["SET client_encoding = 'BIG5'", 'deny', 'floor:pinned'],
    ["SELECT 1; SELECT set_config('standard_conforming_strings', 'off', true)", 'deny', 'floor:pinned'],
    ['DROP TABLE t', 'allow', 'everything'],
  ])('%s under a rule that allows everything: %s by %s', (sql, decision, name) => {
    expect(by(sql, everything)).toMatchObject({ decision, rule: name });
  });

  it('a rule may still deny what is unknown', () => {
    expect(by('SELEC 1', rule('no', 'deny', { class: ['unparsed'] }))).toMatchObject({
      decision: 'deny',
      rule: 'no',
    });
  });

  it('nothing is less than deny for a pinned setting, not even a rule that holds', () => {
    expect(by("SET client_encoding = 'BIG5'", rule('h', 'hold', {})).decision).toBe('deny');
  });
});

describe('globs', () => {
  it.each([
    ['public.*', 'public.orders', true],
    ['public.*', 'publicXorders', false],
    ['*.order?', 'app.orders', true],
    ['a.b', 'a.b.c', false],
    ['*', 'line\nbreak', true],
    ['a+(b)', 'a+(b)', true],
  ])('%s and %s: %s', (glob, value, expected) => {
    expect(globMatches(glob, value)).toBe(expected);
  });
});
