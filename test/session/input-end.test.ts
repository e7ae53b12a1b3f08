import { describe, expect, it } from 'vitest';
import { B, F, fakeAnalysis, TestSession } from './harness.ts';

/** The client sends nothing more, but may still read. */
function ended(s: TestSession): TestSession {
  s.session.inputEnded({ kind: 'eof' }, ++s.now);
  return s.f();
}

const order = (s: TestSession) => s.effects.map(({ kind }) => kind).filter((kind) => kind !== 'record');

describe("the end of the client's input", () => {
  it('is passed on behind what was sent before; the answers come, then the session ends', () => {
    const s = ended(new TestSession().f(F.query('read 1')));
    expect(order(s)).toEqual(['forward', 'endUpstream']);
    s.b(B.complete('SELECT 1'), B.ready());
    expect(s.client).toEqual(['C', 'Z:I']);
    expect(s.outcomes()).toEqual(['1 executed']);
    expect(s.effect('close').error).toBeNull();
  });

  it('waits behind a statement that a worker reads', () => {
    const s = ended(new TestSession().f(F.query('late read')));
    expect(order(s)).toEqual(['analyse']);
    s.on({ kind: 'analysed', analysis: fakeAnalysis('read 1') });
    expect(order(s)).toEqual(['analyse', 'forward', 'endUpstream']);
  });

  it.each([
    ['the end of the input', ended],
    ['Terminate', (s: TestSession) => s.f(F.terminate())],
  ])('%s behind a statement that turns out to need a person: nobody waits', (_name, leave) => {
    const s = leave(new TestSession().f(F.query('ddl x')));
    expect(s.session.phase).toBe('probing');
    s.opened();
    expect(s.kinds()).toEqual(expect.arrayContaining(['open', 'detach', 'close']));
    expect(s.kinds()).not.toContain('watch');
    expect(s.outcomes()).toEqual(['1 withdrawn']);
    expect(s.session.phase).toBe('ended');
  });

  it('ends an idle session at once', () => {
    const s = ended(new TestSession());
    expect(order(s)).toEqual(['endUpstream', 'close']);
  });

  it('is no end while a group is open: the server decides', () => {
    const s = ended(new TestSession().f(F.parse('read 1'), F.bind()));
    expect(s.sent()).toEqual(['P: read 1', 'B']);
    expect(order(s)).toEqual(['endUpstream']);
    expect(s.session.endExplained).toBe(true);
  });

  it('where the client is out of step, waits for the answers to what it sent before', () => {
    const s = new TestSession().f(F.query('read 1'));
    s.session.inputEnded({ kind: 'broken', code: '08P01', message: 'invalid message length' }, ++s.now);
    s.f();
    expect(s.kinds()).not.toContain('close');
    s.b(B.complete('SELECT 1'), B.ready());
    expect(s.effect('close').why).toBe('invalid message length');
    expect(s.outcomes()).toEqual(['1 executed']);
  });
});

describe('a client that is gone while its statement is cancelled', () => {
  it('leaves nothing that the server keeps back for ever', () => {
    const s = new TestSession().f(F.parse('read 1'), F.bind(), F.execute());
    s.on({ kind: 'cancel' }).on({ kind: 'clientGone' });
    s.sent();
    s.session.cancelDone(++s.now);
    s.f();
    // The cancel found nothing: without Flush the answers would never come.
    expect(s.sent()).toEqual(['H']);
  });
});

describe('a text that nobody understood', () => {
  const approved = () => new TestSession().f(F.query('mistake')).opened().approve();

  it('may take COPY data', () => {
    const s = approved();
    s.b(B.copyIn()).f(F.copyData('1'), F.copyDone(), F.query('read 1'));
    expect(s.sent()).toEqual(['Q mistake', 'd', 'c', 'H']);
    // It may have changed the catalog, too.
    s.b(B.complete('COPY 1'), B.ready()).on({ kind: 'refreshed' });
    expect(s.sent()).toEqual(['H', 'Q read 1']);
    expect(s.outcomes()).toEqual(['1 executed']);
  });

  it('may be something else: what follows waits for its end', () => {
    const s = approved().f(F.query('read 1'));
    expect(s.sent()).toEqual(['Q mistake', 'H']);
    s.b(B.complete('SELECT 1'), B.ready()).on({ kind: 'refreshed' });
    expect(s.sent()).toEqual(['Q read 1']);
  });

  it('may be a string with COPY in the middle', () => {
    const s = approved();
    s.b(B.complete('SELECT 1'), B.copyIn()).f(F.copyDone());
    s.b(B.complete('COPY 0'), B.complete('SELECT 1'), B.ready());
    expect(s.outcomes()).toEqual(['1 executed']);
    expect(s.session.idle).toBe(true);
  });
});
