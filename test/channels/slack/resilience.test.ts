import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { startSlack } from '../../../src/channels/slack/slack.ts';
import { SlackStandIn } from '../../support/slack-stand-in.ts';
import { FakeDesk, request } from './fake-desk.ts';
import { configFor, type Harness, memoryLog, startHarness, textOf, until } from './harness.ts';

const APPROVE = 'countersign_approve';

describe('when Slack is not well', () => {
  const closing: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });
  const start = async (desk?: FakeDesk): Promise<Harness> => {
    const on = await startHarness('socket', desk);
    closing.push(on.close);
    return on;
  };

  it('waits as long as a 429 says, and keeps the order', async () => {
    const on = await start();
    on.slack.script('chat.postMessage', { status: 429, retryAfter: 1 }, { status: 429, retryAfter: 1 });
    const began = Date.now();
    const asked = ['one', 'two', 'three'].map((name) => on.desk.put(request({ sql: `DROP TABLE ${name}` })));
    await until(() => on.slack.messages.length === 3, 12_000);
    expect(Date.now() - began).toBeGreaterThanOrEqual(2_000);
    const order = on.slack.messages.map((message) =>
      asked.findIndex(({ id }) => textOf(message).includes(id)),
    );
    expect(order).toEqual([0, 1, 2]);
    // The limited call was repeated, none behind it was tried meanwhile.
    const tried = on.slack
      .callsOf('chat.postMessage')
      .map(({ args }) => /DROP TABLE (one|two|three)/.exec(args['blocks'] ?? '')?.[1]);
    expect(tried).toEqual(['one', 'one', 'one', 'two', 'three']);
  });

  it.each([
    ['answers 5xx', { status: 503 }],
    ['cuts the connection', 'cut'],
    ['has an internal error', { error: 'internal_error' }],
    ['has not invited the app', { error: 'not_in_channel' }],
  ] as const)('posts the card later when Slack %s', async (_what, answer) => {
    const on = await start();
    on.slack.script('chat.postMessage', answer, answer);
    const asked = on.desk.put(request());
    await until(() => !on.channel.healthy());
    expect(on.channel.trouble()).toBeTruthy();
    expect(on.desk.requests.get(asked.id)?.state).toBe('open');
    await on.card(asked.id);
    await until(() => on.channel.healthy());
    expect(on.slack.messages).toHaveLength(1);
  });

  it('is not healthy with a token of another workspace, nor with one that was revoked', async () => {
    const slack = new SlackStandIn();
    await slack.start();
    closing.push(() => slack.close());
    for (const changes of [{ teamId: 'T0OTHER' }, { botToken: 'xoxb-revoked-1' }]) {
      const logged: string[] = [];
      const config = { ...configFor(slack, 'socket'), ...changes };
      const channel = await startSlack({
        config,
        desk: new FakeDesk(),
        people: [],
        groups: [],
        log: memoryLog(logged),
      });
      closing.push(channel.close);
      await until(() => logged.some((line) => line.includes('not usable')));
      expect(channel.healthy()).toBe(false);
      expect(channel.trouble()).toMatch('teamId' in changes ? /T0TEST/ : /invalid_auth/);
      expect(logged.join('\n')).not.toContain('revoked-1');
    }
  });

  it('refuses a configuration that lacks what the mode needs', async () => {
    const slack = new SlackStandIn();
    const start = (mode: 'socket' | 'http') =>
      startSlack({
        config: { ...configFor(slack, mode), appToken: null, signingSecret: null },
        desk: new FakeDesk(),
        people: [],
        groups: [],
        log: memoryLog([]),
      });
    await expect(start('socket')).rejects.toMatchObject({ name: 'SlackConfigError', key: 'slack.appToken' });
    await expect(start('http')).rejects.toMatchObject({
      name: 'SlackConfigError',
      key: 'slack.signingSecret',
    });
  });

  it('does not post a card for what ended while Slack was away', async () => {
    const on = await start();
    on.slack.script('chat.postMessage', { status: 500 });
    const gone = on.desk.put(request());
    await until(() => on.slack.callsOf('chat.postMessage').length === 1);
    on.desk.change(gone.id, { state: 'expired', endedAt: new Date() });
    const next = on.desk.put(request());
    await on.card(next.id);
    expect(on.slack.messages).toHaveLength(1);
  });

  it('starts without Slack, and has the open requests posted once it is there', async () => {
    const slack = new SlackStandIn();
    await slack.start();
    const config = configFor(slack, 'socket');
    const { port } = slack;
    await slack.close();
    const desk = new FakeDesk();
    const before = desk.put(request());
    const logged: string[] = [];
    const channel = await startSlack({ config, desk, people: [], groups: [], log: memoryLog(logged) });
    closing.push(channel.close);
    await until(() => logged.some((line) => line.includes('not connected to Slack')));
    expect(channel.healthy()).toBe(false);
    const back = new SlackStandIn(slack);
    closing.push(() => back.close());
    await back.start(port);
    await until(() => back.messages.length === 1 && channel.healthy(), 15_000);
    expect(textOf({ blocks: back.messages[0]?.blocks ?? [] })).toContain(before.id);
  });

  it.each(['cut', 'refresh'] as const)('connects again after a disconnect (%s)', async (how) => {
    const on = await start();
    const asked = on.desk.put(request());
    const card = await on.card(asked.id);
    for (const round of [1, 2]) {
      on.slack.disconnect(how);
      await until(() => on.slack.callsOf('apps.connections.open').length === round + 1);
      await until(() => on.channel.healthy() && on.slack.connections === 1);
    }
    await on.slack.deliver(on.slack.clickPayload(card, APPROVE, 'U0REVIEWER'));
    await on.card(asked.id, 'Approved by ');
    expect(on.desk.recorded).toHaveLength(1);
  });

  it('survives a reconnection that fails at first', async () => {
    const on = await start();
    on.slack.script('apps.connections.open', { status: 500 }, 'cut', { error: 'internal_error' });
    on.slack.disconnect('cut');
    await until(() => !on.channel.healthy());
    await until(() => on.channel.healthy(), 15_000);
    const asked = on.desk.put(request());
    await on.slack.deliver(on.slack.clickPayload(await on.card(asked.id), APPROVE, 'U0REVIEWER'));
    await on.card(asked.id, 'Approved by ');
  });

  it('finds its cards again after a restart, and posts none twice', async () => {
    const first = await start();
    const asked = first.desk.put(request());
    const card = await first.card(asked.id);
    await first.channel.close();
    // What happens while no process runs is on the card afterwards.
    const verdict = {
      person: 'reviewer',
      channel: 'api',
      verdict: 'approve',
      reason: null,
      assurance: 1,
      at: new Date(),
    } as const;
    first.desk.change(asked.id, { state: 'approved', verdicts: [verdict] });
    const config = configFor(first.slack, 'socket');
    const again = await startSlack({ config, desk: first.desk, people: [], groups: [], log: memoryLog([]) });
    closing.push(again.close);
    const after = await first.card(asked.id, 'Approved by ');
    expect(after.ts).toBe(card.ts);
    expect(first.slack.messages).toHaveLength(1);
  });

  it('has one card when two processes hear of a request', async () => {
    const on = await start();
    const config = configFor(on.slack, 'socket');
    const other = await startSlack({ config, desk: on.desk, people: [], groups: [], log: memoryLog([]) });
    closing.push(other.close);
    await until(() => other.healthy());
    const asked = on.desk.put(request());
    const card = await on.card(asked.id);
    await on.slack.deliver(on.slack.clickPayload(card, APPROVE, 'U0REVIEWER'));
    await on.card(asked.id, 'Approved by ');
    await sleep(200);
    expect(on.slack.callsOf('chat.postMessage')).toHaveLength(1);
  });

  it('brings both cards up to date when the answer to the first was lost', async () => {
    const on = await start();
    on.slack.script('chat.postMessage', { lost: true });
    const asked = on.desk.put(request());
    await until(() => on.slack.messages.length === 2);
    const [lost, known] = on.slack.messages;
    if (lost === undefined || known === undefined) throw new Error('two messages were there');
    await until(() => on.channel.healthy());
    await on.slack.deliver(on.slack.clickPayload(lost, APPROVE, 'U0REVIEWER'));
    await until(() => [lost, known].every((message) => textOf(message).includes('Approved by reviewer')));
    expect(on.desk.recorded).toHaveLength(1);
    expect(asked.id).toBe(on.desk.recorded[0]?.id);
  });

  it('does not post again because the store could not keep where the card is', async () => {
    const on = await start();
    const { save } = on.desk.cards;
    let failures = 2;
    Object.assign(on.desk.cards, {
      save: async (...saved: Parameters<typeof save>) => {
        if (failures-- > 0) throw new Error('the store is away');
        await save(...saved);
      },
    });
    const asked = on.desk.put(request());
    await on.card(asked.id);
    await until(() => failures < 0);
    on.desk.change(asked.id, { state: 'expired', endedAt: new Date() });
    await on.card(asked.id, 'Expired');
    expect(on.slack.callsOf('chat.postMessage')).toHaveLength(1);
  });

  it('gives agents their turns, and does not let updates wait behind new cards', async () => {
    const on = await start();
    const session = request().session;
    const first = on.desk.put(request({ session: { ...session, agent: 'flood' } }));
    await on.card(first.id);
    for (let i = 0; i < 20; i++) on.desk.put(request({ session: { ...session, agent: 'flood' } }));
    const other = on.desk.put(request({ session: { ...session, agent: 'other' } }));
    const began = Date.now();
    on.desk.change(first.id, { state: 'withdrawn', endedAt: new Date() });
    await on.card(first.id, 'Withdrawn');
    expect(Date.now() - began).toBeLessThan(900);
    await on.card(other.id);
    expect(on.slack.messages.length).toBeLessThanOrEqual(4);
  });

  it('answers a form in time when the guard is slow, and tells the outcome afterwards', async () => {
    const on = await start();
    const asked = on.desk.put(request());
    await on.slack.deliver(on.slack.clickPayload(await on.card(asked.id), 'countersign_deny', 'U0OWNER'));
    await until(() => on.slack.views.length === 1);
    on.slack.script('users.info', { delayMs: 3_000 });
    const began = Date.now();
    await on.slack.deliver(on.slack.submitPayload('no', 'U0OWNER'));
    expect(Date.now() - began).toBeLessThan(2_900);
    await until(() => on.slack.ephemerals.length === 1);
    expect(on.slack.ephemerals[0]?.text).toContain('You answer for this agent');
  });

  it('posts a bare link when Slack refuses the blocks', async () => {
    const on = await start();
    on.slack.script('chat.postMessage', { error: 'invalid_blocks' });
    const asked = on.desk.put(request());
    const card = await on.card(asked.id);
    expect(textOf(card)).toContain('cannot be shown in Slack');
    expect(JSON.stringify(card.blocks)).toContain(asked.url);
    expect(JSON.stringify(card.blocks)).not.toContain(APPROVE);
  });
});
