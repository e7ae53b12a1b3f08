import { afterAll, beforeAll, expect, it } from 'vitest';
import type { RequestView } from '../../src/approval/guard.ts';
import { QuestionTooLong } from '../../src/approval/port.ts';
import type { ApprovalHandle } from '../../src/approval/store.ts';
import { visible } from '../../src/channels/visible.ts';
import { type ApprovalWorld, answer, approvalWorld, NOTHING, question, until } from './support.ts';

/** What channels build on: views, their changes in every process, and which message shows which request. */
let world: ApprovalWorld;
let here: ApprovalHandle;
let there: ApprovalHandle;
beforeAll(async () => {
  world = await approvalWorld('apch');
  here = await world.open();
  there = await world.open();
});
afterAll(() => world?.close());

it('every process hears of every change once, in order, and a listener that throws hurts nobody', async () => {
  const heard: string[] = [];
  there.onRequestChanged(() => {
    throw new Error('a faulty channel');
  });
  const stop = there.onRequestChanged((view) => heard.push(`${view.state} ${view.verdicts.length}`));
  const asked = question({ text: 'DROP TABLE heard', demand: { approvers: [], quorum: 2, assurance: 1 } });
  const { id } = await here.open(asked);
  for (const count of [1, 2, 3, 4, 5]) {
    await until(() => heard.length === count);
    if (count === 1) await here.guard.decide(answer(id, 'reviewer'));
    if (count === 2) await here.guard.decide(answer(id, 'deputy'));
    if (count === 3) await here.release(id, asked);
    if (count === 4) await here.end(id, 'executed', NOTHING);
  }
  // Several rounds of polling repeat nothing.
  await new Promise((resolve) => setTimeout(resolve, 700));
  expect(heard).toEqual(['open 0', 'open 1', 'approved 2', 'consumed 2', 'executed 2']);
  stop();
});

it('a view has all that a card shows', async () => {
  const asked = question({
    text: 'UPDATE t SET a = $1',
    parameters: [{ typeOid: 25, format: 1, value: Buffer.from('x'), shown: 'x' }],
    inTransaction: true,
    holdMs: 60_000,
  });
  const { id } = await here.open(asked);
  const view = await there.get(id);
  expect(view).toMatchObject({
    id,
    state: 'open',
    session: asked.session,
    sql: 'UPDATE t SET a = $1',
    sqlLength: 19,
    parameters: [{ typeOid: 25, format: 1, shown: 'x', length: 1 }],
    relations: [{ name: 'public.orders', mode: 'write' }],
    demand: asked.demand,
    inTransaction: true,
    waiting: true,
    waitsUntil: expect.any(Date),
    url: `http://127.0.0.1:8080/requests/${id}`,
  });
  await here.detach(id);
  expect((await there.get(id))?.waiting).toBe(false);
});

it('a listing cuts what is long and says so; the request itself is whole', async () => {
  const text = `SELECT '${'x'.repeat(30_000)}'; DROP TABLE hidden`;
  const { id } = await here.open(question({ text }));
  const listed = (await here.list({ state: 'live', limit: 200 })).find((view: RequestView) => view.id === id);
  expect(listed?.cut).toBe(true);
  expect(listed?.sql.length).toBe(20_000);
  const whole = await here.get(id);
  expect(whole?.sql).toBe(text);
  expect(whole).not.toHaveProperty('cut');
});

it('a question too long for anybody to read is refused', async () => {
  const small = await world.open({ limits: { shownCharacters: 1_000 } });
  await expect(small.open(question({ text: `SELECT '${'x'.repeat(1_000)}'` }))).rejects.toBeInstanceOf(
    QuestionTooLong,
  );
});

it('a denial is not repeated once the same statement was answered otherwise since', async () => {
  const asked = question({ text: 'DROP TABLE twice' });
  const [first, second] = [await here.open(asked), await here.open(asked)];
  await here.guard.decide(answer(first.id, 'reviewer', { verdict: 'deny' }));
  expect(await here.open(asked)).toMatchObject({ id: first.id, state: 'denied' });
  await here.guard.decide(answer(second.id, 'reviewer'));
  await here.release(second.id, asked);
  await here.end(second.id, 'executed', NOTHING);
  expect(await here.open(asked)).toMatchObject({ state: 'open', attached: false });
});

it('one process posts a card; when it dies before it has, another may', async () => {
  const { id } = await here.open(question({ text: 'DROP TABLE card' }));
  const claims = await Promise.all(
    [here, there, here, there].map(({ cards }) => cards.claim(id, 'slack', 300)),
  );
  expect(claims.filter(Boolean)).toHaveLength(1);
  expect(await there.cards.claim(id, 'teams', 300)).toBe(true);
  await until(() => there.cards.claim(id, 'slack', 60_000));
  expect(await here.cards.load(id, 'slack')).toBeNull();
  await there.cards.save(id, 'slack', '{"ts":"1.2"}');
  expect(await here.cards.load(id, 'slack')).toBe('{"ts":"1.2"}');
  expect(await here.cards.claim(id, 'slack', 0)).toBe(false);
});

it('from a verdict in one process to the hold in another it takes little time', async () => {
  const slow = { limits: { pollMs: 60_000 } };
  const [here, there] = [await world.open(slow), await world.open(slow)];
  const times: number[] = [];
  for (let i = 0; i < 15; i += 1) {
    const asked = question({ text: `DROP TABLE quick_${i}` });
    const { id } = await there.open(asked);
    const released = new Promise<void>((resolve, reject) => {
      there.watch(id, (state) => {
        if (state === 'approved') there.release(id, asked).then(() => resolve(), reject);
      });
    });
    const start = performance.now();
    await here.guard.decide(answer(id, 'reviewer'));
    await released;
    times.push(performance.now() - start);
  }
  const median = times.sort((a, b) => a - b)[7] ?? 0;
  console.info(`verdict to release in another process: median ${median.toFixed(1)} ms`);
  // By notification, not by the next poll; the machine may be busy.
  expect(median).toBeLessThan(1_000);
});

it('what an agent writes is made visible', () => {
  expect(visible('a\tb\nc')).toBe('a\tb\nc');
  expect(visible('x\u202ey\u200bz\u0000\r\u001b[0m\u00ad\u2028\ufeff')).toBe(
    'x‹U+202E›y‹U+200B›z‹U+0000›‹U+000D›‹U+001B›[0m‹U+00AD›‹U+2028›‹U+FEFF›',
  );
  expect(visible('\u{e0041}\u3164\u00a0\ufe0f')).toBe('‹U+E0041›‹U+3164›‹U+00A0›‹U+FE0F›');
  expect(visible('größe 数据 🙂')).toBe('größe 数据 🙂');
  expect(visible(visible('\u202e'))).toBe(visible('\u202e'));
});
