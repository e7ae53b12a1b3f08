import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Ended, RequestState } from '../../../src/approval/port.ts';
import type { ApprovalHandle } from '../../../src/approval/store.ts';
import { type SlackChannel, startSlack } from '../../../src/channels/slack/slack.ts';
import type { Person } from '../../../src/config/config.ts';
import { type ApprovalWorld, approvalWorld, question } from '../../approval/support.ts';
import { buttonsOf, type Message, SlackStandIn } from '../../support/slack-stand-in.ts';
import { cardsOf, configFor, type Mode, memoryLog, textOf, until } from './harness.ts';

const APPROVE = 'countersign_approve';
const DENY = 'countersign_deny';
/** The owner owns the agent that asks. */
const PEOPLE: readonly Person[] = ['owner', 'reviewer', 'deputy'].map((id) => ({
  id,
  email: `${id}@shop.example`,
  slack: [`T0TEST/U0${id.toUpperCase()}`],
  oidc: [],
  groups: [],
}));

/** One Countersign process: a store of its own on the shared database, and its Slack channel. */
type Process = {
  readonly approvals: ApprovalHandle;
  readonly channel: SlackChannel;
  readonly url: string | null;
  readonly close: () => Promise<void>;
};

describe('Slack with the real guard and store', () => {
  let world: ApprovalWorld;
  let slack: SlackStandIn;
  const running = new Set<Process>();
  let n = 0;
  beforeAll(async () => {
    world = await approvalWorld('slk');
  });
  afterAll(() => world?.close());
  beforeEach(async () => {
    n += 1;
    slack = new SlackStandIn();
    await slack.start();
    for (const id of ['U0OWNER', 'U0REVIEWER', 'U0DEPUTY', 'U0NOBODY'])
      slack.users.set(id, { id, team_id: slack.teamId });
  });
  afterEach(async () => {
    for (const process of running) await process.close();
    await slack.close();
  });

  async function start(mode: Mode): Promise<Process> {
    const approvals = await world.open({ people: PEOPLE });
    const setup = { config: configFor(slack, mode), people: PEOPLE, groups: [], log: memoryLog([]) };
    const channel = await startSlack({ ...setup, desk: approvals });
    const server =
      channel.requestListener === null ? null : await listening(createServer(channel.requestListener));
    await until(() => channel.healthy());
    const url =
      server === null ? null : `http://127.0.0.1:${(server.address() as AddressInfo).port}/slack/events`;
    slack.requestUrl = url;
    const process: Process = {
      approvals,
      channel,
      url,
      close: async () => {
        running.delete(process);
        await channel.close();
        server?.closeAllConnections();
        server?.close();
        await approvals.close();
      },
    };
    running.add(process);
    return process;
  }

  async function card(id: string, saying = ''): Promise<Message> {
    const find = () => slack.messages.find((message) => JSON.stringify(message.blocks).includes(id));
    await until(() => find() !== undefined && JSON.stringify(find()?.blocks).includes(saying));
    return find() as Message;
  }

  function heard(process: Process, id: string): { state: RequestState; ended: Ended | null }[] {
    const states: { state: RequestState; ended: Ended | null }[] = [];
    process.approvals.watch(id, (state, ended) => states.push({ state, ended }));
    return states;
  }

  it.each<Mode>(['socket', 'http'])('approves by a click, and shows the outcome (%s)', async (mode) => {
    const process = await start(mode);
    const asked = question({ text: `DROP TABLE orders_${n}` });
    const { id } = await process.approvals.open(asked);
    const states = heard(process, id);
    const posted = await card(id);
    const { ts } = posted;
    expect(textOf(posted)).toContain(`DROP TABLE orders_${n}`);
    await slack.deliver(slack.clickPayload(posted, APPROVE, 'U0REVIEWER'));
    await until(() => states.some(({ state }) => state === 'approved'));
    await card(id, 'Approved by ');
    const release = await process.approvals.release(id, asked);
    expect(release.approvers).toEqual(['reviewer']);
    await process.approvals.end(id, 'executed', { tag: 'DROP TABLE', rows: 0n, bytes: 0n, sqlstate: null });
    const after = await card(id, 'Outcome');
    expect(after.ts).toBe(ts);
    expect(textOf(after)).toContain('DROP TABLE, 0 rows');
    expect(cardsOf(slack)).toHaveLength(1);
    const view = await process.approvals.get(id);
    expect(view?.verdicts).toMatchObject([
      { person: 'reviewer', channel: 'slack', verdict: 'approve', assurance: 1 },
    ]);
  });

  it('denies with a reason that reaches the one who waits', async () => {
    const process = await start('socket');
    const { id } = await process.approvals.open(question({ text: `DROP TABLE orders_${n}` }));
    const states = heard(process, id);
    await slack.deliver(slack.clickPayload(await card(id), DENY, 'U0REVIEWER'));
    await until(() => slack.views.length === 1);
    await slack.deliver(slack.submitPayload('Use the archive instead', 'U0REVIEWER'));
    await until(() => states.some(({ state }) => state === 'denied'));
    expect(states.at(-1)?.ended).toEqual({ people: ['reviewer'], reason: 'Use the archive instead' });
    expect(textOf(await card(id, 'Denied by '))).toContain('Use the archive instead');
  });

  it('refuses the owner and strangers, and says why', async () => {
    const process = await start('socket');
    const { id } = await process.approvals.open(question({ text: `DROP TABLE orders_${n}` }));
    const posted = await card(id);
    for (const user of ['U0OWNER', 'U0NOBODY'])
      await slack.deliver(slack.clickPayload(posted, APPROVE, user));
    await until(() => slack.ephemerals.length === 2);
    expect((await process.approvals.get(id))?.state).toBe('open');
    const refused = (await world.entries()).filter(
      ({ kind, request_id: of }) => kind === 'verdict_refused' && of === id,
    );
    expect(refused.map(({ detail }) => detail['code']).sort()).toEqual(['self_approval', 'unknown_person']);
    await slack.deliver(slack.clickPayload(posted, APPROVE, 'U0REVIEWER'));
    await card(id, 'Approved by ');
  });

  it('counts two people of a quorum, in place', async () => {
    const process = await start('socket');
    const demand = { approvers: [], quorum: 2, assurance: 1 as const };
    const { id } = await process.approvals.open(question({ text: `DROP TABLE orders_${n}`, demand }));
    const posted = await card(id);
    await slack.deliver(slack.clickPayload(posted, APPROVE, 'U0REVIEWER'));
    const half = await card(id, '1 of 2 approvals');
    expect(buttonsOf(half).map(({ action_id: action }) => action)).toContain(APPROVE);
    await slack.deliver(slack.clickPayload(half, APPROVE, 'U0DEPUTY'));
    expect(textOf(await card(id, 'waiting for release'))).toContain('Approved by deputy');
  });

  it('gives one verdict for a thousand replays of one click, at two processes', async () => {
    const one = await start('http');
    const two = await start('http');
    const { id } = await one.approvals.open(question({ text: `DROP TABLE orders_${n}` }));
    const click = slack.clickPayload(await card(id), APPROVE, 'U0REVIEWER');
    const replays = Array.from({ length: 1_000 }, (_value, index) => {
      slack.requestUrl = index % 2 === 0 ? one.url : two.url;
      return slack.deliver(click);
    });
    expect((await Promise.all(replays)).every(({ status }) => status === 200)).toBe(true);
    await card(id, 'Approved by ');
    const verdicts = (await world.entries()).filter(
      ({ kind, request_id: of }) => kind === 'verdict' && of === id,
    );
    expect(verdicts).toHaveLength(1);
    const { rows } = await world.database.query('SELECT * FROM countersign.verdict WHERE request_id = $1', [
      id,
    ]);
    expect(rows).toHaveLength(1);
    expect(slack.ephemerals).toHaveLength(0);
    expect(cardsOf(slack)).toHaveLength(1);
  }, 240_000);

  it('gives one verdict for clicks of one person on both cards of an escalated request', async () => {
    const one = await start('http');
    const two = await start('http');
    const demand = {
      approvers: ['reviewer'],
      quorum: 2,
      assurance: 1 as const,
      escalation: { afterMs: 1, approvers: ['deputy', 'owner'], channel: slack.otherChannel },
    };
    const { id } = await one.approvals.open(question({ text: `DROP TABLE orders_${n}`, demand }));
    const cards = () => cardsOf(slack).filter(({ blocks }) => JSON.stringify(blocks).includes(id));
    await until(() => cards().length === 2, 15_000);
    const clicks = cards().flatMap((posted) =>
      Array.from({ length: 100 }, (_value, index) => {
        slack.requestUrl = index % 2 === 0 ? one.url : two.url;
        return slack.deliver(slack.clickPayload(posted, APPROVE, 'U0REVIEWER'));
      }),
    );
    await Promise.all(clicks);
    await card(id, '1 of 2 approvals');
    const view = await one.approvals.get(id);
    expect(view).toMatchObject({ state: 'open', verdicts: [{ person: 'reviewer' }] });
    for (const posted of cards()) await slack.deliver(slack.clickPayload(posted, APPROVE, 'U0OWNER'));
    await until(() => slack.ephemerals.length === 2, 15_000);
    for (const posted of cards().slice(0, 1))
      await slack.deliver(slack.clickPayload(posted, APPROVE, 'U0DEPUTY'));
    await until(() => cards().every((posted) => textOf(posted).includes('Approved by deputy')), 15_000);
    expect(cards()).toHaveLength(2);
  }, 60_000);

  it('takes the click after a restart between question and answer', async () => {
    const first = await start('socket');
    const asked = question({ text: `DROP TABLE orders_${n}` });
    const { id } = await first.approvals.open(asked);
    const before = await card(id);
    await first.close();
    const second = await start('socket');
    await slack.deliver(slack.clickPayload(before, APPROVE, 'U0REVIEWER'));
    expect((await card(id, 'Approved by ')).ts).toBe(before.ts);
    expect(await second.approvals.open(asked)).toMatchObject({ id, state: 'approved', attached: true });
  });
});

function listening(server: Server): Promise<Server> {
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}
