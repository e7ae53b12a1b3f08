import { describe, expect, it } from 'vitest';
import { B, F, fakeAnalysis, RELEASE, rejection, TestSession } from './harness.ts';

const CANCEL = { kind: 'cancel' } as const;
const CANCELLED = '57014 canceling statement due to user request';
const approved = { kind: 'answered', state: 'approved', ended: null } as const;

function cancelDone(s: TestSession): TestSession {
  s.session.cancelDone(++s.now);
  return s.f();
}

describe('a cancel of what runs', () => {
  it('lets nothing go upstream until it has ended', () => {
    const s = new TestSession().f(F.query('read 1')).on(CANCEL);
    expect(s.kinds()).toEqual(['cancelUpstream']);
    s.sent();
    s.b(B.error('57014'), B.ready()).f(F.query('read 2'), F.parse('read 3'), F.sync());
    expect(s.sent()).toEqual([]);
    expect(s.session.cancelling).toBe(true);
    cancelDone(s);
    expect(s.sent()).toEqual(['Q read 2', 'P: read 3', 'S']);
    expect(s.session.cancelling).toBe(false);
  });

  it('that is repeated is sent once', () => {
    const s = new TestSession().f(F.query('read 1')).on(CANCEL).on(CANCEL).f(F.query('read 2')).on(CANCEL);
    expect(s.kinds()).toEqual(['cancelUpstream']);
    s.b(B.error('57014'), B.ready());
    cancelDone(s);
    expect(s.kinds()).toEqual(['cancelUpstream']);
    expect(s.sent()).toEqual(['Q read 1', 'Q read 2']);
  });

  it('that has ended, while it is still on its way, is followed by one for what was sent since', () => {
    const s = new TestSession().f(F.query('read 1')).on(CANCEL);
    s.b(B.complete('SELECT 1'), B.ready()).f(F.query('read 2')).on(CANCEL);
    expect(s.kinds()).toEqual(['cancelUpstream']);
    s.sent();
    cancelDone(s);
    expect(s.sent()).toEqual(['Q read 2']);
    expect(s.kinds()).toEqual(['cancelUpstream', 'cancelUpstream']);
    s.f(F.query('read 3')).b(B.error('57014'), B.ready());
    expect(s.sent()).toEqual([]);
    cancelDone(s);
    expect(s.sent()).toEqual(['Q read 3']);
    expect(s.kinds()).toEqual(['cancelUpstream', 'cancelUpstream']);
  });

  it('does nothing while nothing runs, nor to what comes after', () => {
    const s = new TestSession().on(CANCEL);
    expect(s.kinds()).toEqual([]);
    s.f(F.query('read 1')).b(B.complete('SELECT 1'), B.ready()).on(CANCEL).f(F.query('read 2'));
    expect(s.kinds()).toEqual([]);
    expect(s.sent()).toEqual(['Q read 1', 'Q read 2']);
  });

  it('does nothing after the end', () => {
    expect(new TestSession().on({ kind: 'clientGone' }).on(CANCEL).kinds()).toEqual(['close']);
  });
});

describe('a cancel of what is being judged', () => {
  it('by a worker refuses it, and nothing after it', () => {
    const s = new TestSession().f(F.query('late'), F.query('read 2')).on(CANCEL);
    expect(s.kinds()).toEqual(['analyse']);
    s.on({ kind: 'analysed', analysis: fakeAnalysis('read 1') });
    s.b(rejection(s.sent().slice(0, 1)), B.ready());
    expect(s.client).toEqual([`E:${CANCELLED}`, 'Z:I']);
    s.b(B.complete('SELECT 1'), B.ready());
    expect(s.outcomes()).toEqual(['1 withdrawn', '2 executed']);
  });

  it('at Parse refuses the Parse, and the server skips its group', () => {
    const s = new TestSession().f(F.parse('late'), F.bind(), F.execute(), F.sync()).on(CANCEL);
    s.on({ kind: 'analysed', analysis: fakeAnalysis('read 1') });
    const sent = s.sent();
    expect(sent.at(-1)).toBe('S');
    expect(sent).not.toContain('E');
    s.b(rejection(sent.slice(0, 1)), B.ready());
    expect(s.client).toEqual([`E:${CANCELLED}`, 'Z:I']);
  });

  it('asks nobody', () => {
    const s = new TestSession().f(F.query('ddl t')).on(CANCEL).on({ kind: 'probed', rejection: null });
    expect(s.kinds()).toEqual(['probe']);
    s.b(rejection(s.sent()), B.ready());
    expect(s.client).toEqual([`E:${CANCELLED}`, 'Z:I']);
    expect(s.outcomes()).toEqual(['1 withdrawn']);
  });

  it('while the request is being opened withdraws it, also where the client leaves, or is to leave', () => {
    for (const more of [[], [{ kind: 'clientGone' }], [{ kind: 'drain' }]] as const) {
      const s = new TestSession().f(F.query('ddl t')).on({ kind: 'probed', rejection: null }).on(CANCEL);
      for (const event of more) s.on(event);
      s.opened();
      expect(s.effect('withdraw').requestId).toBe('req_1');
      expect(s.outcomes().length + s.sent().length).toBeGreaterThan(0);
    }
  });
});

describe('a cancel and an approval in the same moment', () => {
  it('before the release withdraws the request', () => {
    const s = new TestSession().f(F.query('ddl t')).opened().on(CANCEL).on(approved);
    expect(s.effect('withdraw').requestId).toBe('req_1');
    expect(s.kinds()).not.toContain('release');
    s.b(rejection(s.sent()), B.ready());
    expect(s.client.at(-2)).toMatch(/^E:57014 countersign: withdrawn/);
  });

  it('while it is judged once more withdraws the request', () => {
    let knowledge = 'k1';
    const analyse = (sql: Buffer) => (knowledge === 'k1' ? fakeAnalysis(sql.toString()) : null);
    const s = new TestSession({ knowledge: () => knowledge, analyse }).f(F.query('ddl t')).opened();
    knowledge = 'k2';
    s.on(approved).on(CANCEL);
    expect(s.session.phase).toBe('analysing');
    s.on({ kind: 'analysed', analysis: fakeAnalysis('ddl t') });
    expect(s.kinds()).not.toContain('release');
    expect(s.effect('withdraw').requestId).toBe('req_1');
    s.b(rejection(s.sent()), B.ready());
    expect(s.client.at(-2)).toMatch(/^E:57014 countersign: withdrawn/);
  });

  it('during the release runs nothing: the approval is used up', () => {
    const s = new TestSession().f(F.query('ddl t')).opened().on(approved).on(CANCEL);
    expect(s.kinds()).not.toContain('withdraw');
    s.on({ kind: 'released', release: RELEASE });
    expect(s.effect('end')).toMatchObject({ requestId: 'req_1', outcome: 'failed', sqlstate: '57014' });
    expect(s.kinds()).not.toContain('withdraw');
    const sent = s.sent();
    expect(sent.filter((one) => one.includes('ddl t'))).toEqual([]);
    s.b(rejection(sent), B.ready());
    expect(s.client.at(-2)).toMatch(/^E:57014 countersign: canceling statement/);
    expect(s.outcomes()).toEqual(['1 withdrawn']);
    expect(s.kinds().filter((kind) => kind === 'end')).toHaveLength(1);
  });

  it('during a release that fails withdraws the request', () => {
    const s = new TestSession().f(F.query('ddl t')).opened().on(approved).on(CANCEL);
    s.on({ kind: 'releaseFailed', why: 'away' });
    expect(s.effect('withdraw').requestId).toBe('req_1');
    expect(s.kinds()).not.toContain('detach');
    s.b(rejection(s.sent()), B.ready());
    expect(s.client.at(-2)).toMatch(/^E:57014 countersign: withdrawn/);
  });

  it('after the release goes upstream', () => {
    const s = new TestSession().f(F.query('ddl t')).opened().approve().on(CANCEL);
    expect(s.sent()).toEqual(['Q ddl t']);
    expect(s.kinds()).toContain('cancelUpstream');
    s.b(B.error('57014'), B.ready());
    expect(s.effect('end')).toMatchObject({ outcome: 'failed', sqlstate: '57014' });
  });
});

describe('a client that leaves while something runs', () => {
  it.each([
    ['a plain read stops it', [F.query('read 1')], true],
    ['reads in one group stops them', [F.parse('read 1'), F.bind(), F.execute()], true],
    ['a write lets it run', [F.query('write 1')], false],
    ['a read behind a write lets both run', [F.query('write 1'), F.query('read 1')], false],
    ['a read before what ends a transaction lets both run', [F.query('read 1'), F.query('begin')], false],
  ])('%s', (_what, frames, stopped) => {
    const s = new TestSession().f(...frames).on({ kind: 'clientGone' });
    expect(s.kinds().includes('cancelUpstream')).toBe(stopped);
    expect(s.kinds()).not.toContain('close');
  });

  it('a read that is stopped has an outcome, and its session an end', () => {
    const s = new TestSession().f(F.query('read 1')).on({ kind: 'clientGone' });
    s.b(B.error('57014'), B.ready());
    cancelDone(s);
    expect(s.outcomes()).toEqual(['1 failed']);
    expect(s.kinds().at(-1)).toBe('close');
  });
});
