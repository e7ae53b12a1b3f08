import { afterEach, describe, expect, it } from 'vitest';
import type { RequestView } from '../../../src/approval/guard.ts';
import { startSlack } from '../../../src/channels/slack/slack.ts';
import { buttonsOf, type Message } from '../../support/slack-stand-in.ts';
import { request } from './fake-desk.ts';
import { cardsOf, configFor, type Harness, memoryLog, startHarness, textOf, until } from './harness.ts';

const APPROVE = 'countersign_approve';
const OTHER = 'C0OTHER';

/** A request that escalates at that moment, milliseconds from now. */
function escalating(ms: number, changes: Partial<RequestView> = {}): RequestView {
  const demand = {
    approvers: ['reviewer'],
    quorum: 1,
    assurance: 1,
    escalation: { afterMs: ms, approvers: ['dba-oncall'], channel: OTHER },
  } as const;
  return request({ demand, escalatesAt: new Date(Date.now() + ms), ...changes });
}

describe('where cards go', () => {
  const closing: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });
  const start = async (): Promise<Harness> => {
    const on = await startHarness('socket');
    closing.push(on.close);
    return on;
  };
  const cardsIn = (on: Harness, channel: string): Message[] =>
    cardsOf(on.slack).filter((message) => message.channel === channel);

  it('one channel that does not take cards does not hold up another', async () => {
    const on = await start();
    on.slack.channels.set('C0CLOSED', { is_member: false });
    const demand = { approvers: [], quorum: 1, assurance: 1, channel: 'C0CLOSED' } as const;
    const stuck = on.desk.put(request({ demand }));
    await until(() => !on.channel.healthy());
    expect(on.channel.trouble()).toBe('channel C0CLOSED: not_in_channel');
    const asked = on.desk.put(request());
    const card = await on.card(asked.id);
    await on.slack.deliver(on.slack.clickPayload(card, APPROVE, 'U0REVIEWER'));
    await on.card(asked.id, 'Approved by ');
    expect(on.channel.trouble()).toContain('C0CLOSED');
    on.slack.channels.set('C0CLOSED', { is_member: true });
    await on.card(stuck.id);
    await until(() => on.channel.healthy());
  });

  it('a user gets a direct message, which is updated in place, and answers there', async () => {
    const on = await start();
    const demand = { approvers: [], quorum: 1, assurance: 1, channel: 'U0REVIEWER' } as const;
    const asked = on.desk.put(request({ demand }));
    const card = await on.card(asked.id);
    expect(card.channel).toBe('D0REVIEWER');
    await on.slack.deliver(on.slack.clickPayload(card, APPROVE, 'U0REVIEWER'));
    expect((await on.card(asked.id, 'Approved by ')).channel).toBe('D0REVIEWER');
    expect(cardsOf(on.slack)).toHaveLength(1);
  });

  it('an escalation has a card of its own from its time on, with whom it brings in, and both are kept', async () => {
    const on = await start();
    const asked = on.desk.put(escalating(700));
    const card = await on.card(asked.id);
    expect(card.channel).toBe(on.slack.channel);
    const from = asked.escalatesAt?.toISOString().slice(0, 19).replace('T', ' ');
    expect(textOf(card)).toContain(`Escalation: from ${from} UTC also: dba-oncall`);
    expect(cardsIn(on, OTHER)).toHaveLength(0);
    // Our clock says so, the store does not yet.
    await new Promise((done) => setTimeout(done, 1_000));
    expect(cardsIn(on, OTHER)).toHaveLength(0);
    on.desk.requests.set(asked.id, { ...(on.desk.requests.get(asked.id) ?? asked), escalated: true });
    await until(() => cardsIn(on, OTHER).length === 1);
    const [second] = cardsIn(on, OTHER);
    if (second === undefined) throw new Error('no card');
    expect(textOf(second)).toContain('Escalated, approval needed: reporting-bot: ddl');
    await on.slack.deliver(on.slack.clickPayload(second, APPROVE, 'U0REVIEWER'));
    await on.card(asked.id, 'Approved by ');
    await until(() => textOf(cardsIn(on, OTHER)[0] ?? { blocks: [] }).includes('Approved by reviewer'));
    for (const message of cardsOf(on.slack)) expect(buttonsOf(message)).toHaveLength(1);
    expect(cardsOf(on.slack)).toHaveLength(2);
  });

  it('what was answered before its time does not escalate', async () => {
    const on = await start();
    const asked = on.desk.put(escalating(400));
    await on.card(asked.id);
    on.desk.change(asked.id, { state: 'denied', endedAt: new Date(), escalated: true });
    await on.card(asked.id, 'Denied');
    await new Promise((done) => setTimeout(done, 1_500));
    expect(cardsIn(on, OTHER)).toHaveLength(0);
  });

  it('escalates after a restart, and once where two processes wait for it', async () => {
    const on = await start();
    const asked = on.desk.put(escalating(600));
    await on.card(asked.id);
    const logged: string[] = [];
    const setup = { desk: on.desk, people: [], groups: [], log: memoryLog(logged) };
    const second = await startSlack({ config: configFor(on.slack, 'socket'), ...setup });
    closing.push(() => second.close());
    on.desk.requests.set(asked.id, { ...(on.desk.requests.get(asked.id) ?? asked), escalated: true });
    await until(() => cardsIn(on, OTHER).length === 1);
    await new Promise((done) => setTimeout(done, 1_500));
    expect(cardsIn(on, OTHER)).toHaveLength(1);
    // A third one that starts only now finds it posted.
    await second.close();
    const third = await startSlack({ config: configFor(on.slack, 'socket'), ...setup });
    closing.push(() => third.close());
    await new Promise((done) => setTimeout(done, 1_000));
    expect(cardsOf(on.slack)).toHaveLength(2);
  });

  it('asks again when the store is away at that moment', async () => {
    const on = await start();
    const asked = on.desk.put(escalating(300));
    await on.card(asked.id);
    on.desk.away = true;
    await new Promise((done) => setTimeout(done, 600));
    on.desk.requests.set(asked.id, { ...(on.desk.requests.get(asked.id) ?? asked), escalated: true });
    on.desk.away = false;
    await until(() => cardsIn(on, OTHER).length === 1);
  });

  it('says the outcome in the thread, once', async () => {
    const on = await start();
    const asked = on.desk.put(request());
    const card = await on.card(asked.id);
    const outcome = { tag: 'COPY 52000', rows: 52_000n, bytes: 3_145_728n, sqlstate: null };
    on.desk.change(asked.id, { state: 'executed', endedAt: new Date(), outcome, elapsedMs: 1_234 });
    await until(() => on.slack.messages.some(({ threadTs }) => threadTs === card.ts));
    const replies = () => on.slack.messages.filter(({ threadTs }) => threadTs !== null);
    expect(replies().map(textOf)).toEqual(['Outcome: COPY 52000, 52,000 rows, 3,145,728 bytes, 1.234 s']);
    // Told again, as it is after a notification and a poll.
    on.desk.change(asked.id, {});
    await new Promise((done) => setTimeout(done, 1_500));
    expect(replies()).toHaveLength(1);
    const failed = on.desk.put(request());
    await on.card(failed.id);
    on.desk.change(failed.id, {
      state: 'failed',
      endedAt: new Date(),
      outcome: { tag: null, rows: 0n, bytes: 0n, sqlstate: '23505' },
    });
    await until(() => replies().length === 2);
    expect(textOf(replies()[1] ?? { blocks: [] })).toContain('failed with SQLSTATE 23505');
  });

  it('waits with all updates when Slack limits them, and does them all', async () => {
    const on = await start();
    const one = on.desk.put(request());
    const demand = { approvers: [], quorum: 1, assurance: 1, channel: OTHER } as const;
    const two = on.desk.put(request({ demand }));
    await on.card(one.id);
    await on.card(two.id);
    on.slack.script('chat.update', { status: 429, retryAfter: 1 });
    const began = Date.now();
    on.desk.change(one.id, { state: 'withdrawn', endedAt: new Date() });
    await until(() => on.slack.callsOf('chat.update').length === 1);
    await new Promise((done) => setTimeout(done, 100));
    on.desk.change(two.id, { state: 'expired', endedAt: new Date() });
    await on.card(two.id, 'Expired');
    expect(Date.now() - began).toBeGreaterThanOrEqual(900);
    await on.card(one.id, 'Withdrawn');
    expect(on.slack.callsOf('chat.update')).toHaveLength(3);
  });
});
