import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ApprovalHandle } from '../../../src/approval/store.ts';
import { type SlackChannel, startSlack } from '../../../src/channels/slack/slack.ts';
import type { Person } from '../../../src/config/config.ts';
import { type ApprovalWorld, approvalWorld, question } from '../../approval/support.ts';
import { buttonsOf, type Message, SlackStandIn } from '../../support/slack-stand-in.ts';
import { cardsOf, configFor, memoryLog, textOf, until } from './harness.ts';

const APPROVE = 'countersign_approve';
const APPROVE_ALL = 'countersign_approve_all';
const DENY = 'countersign_deny';
const WAIT_MS = 20_000;
const PEOPLE: readonly Person[] = ['owner', 'reviewer', 'deputy'].map((id) => ({
  id,
  email: `${id}@shop.example`,
  slack: [`T0TEST/U0${id.toUpperCase()}`],
  oidc: [],
  groups: [],
}));

describe('requests for the very same, in Slack', { timeout: 90_000 }, () => {
  let world: ApprovalWorld;
  let slack: SlackStandIn;
  let approvals: ApprovalHandle;
  let channel: SlackChannel;
  let n = 0;
  beforeAll(async () => {
    world = await approvalWorld('slm');
  });
  afterAll(() => world?.close());
  beforeEach(async () => {
    n += 1;
    slack = new SlackStandIn();
    await slack.start();
    for (const id of ['U0OWNER', 'U0REVIEWER', 'U0DEPUTY'])
      slack.users.set(id, { id, team_id: slack.teamId });
    approvals = await world.open({ people: PEOPLE });
    const setup = { config: configFor(slack, 'socket'), people: PEOPLE, groups: [], log: memoryLog([]) };
    channel = await startSlack({ ...setup, desk: approvals });
    await until(() => channel.healthy(), WAIT_MS);
  });
  afterEach(async () => {
    await channel.close();
    await approvals.close();
    await slack.close();
  });

  /** Three connections that wait for one and the same statement. */
  async function three(): Promise<readonly string[]> {
    const ids: string[] = [];
    for (let i = 0; i < 3; i++)
      ids.push((await approvals.open(question({ text: `DROP TABLE same_${n}` }))).id);
    expect(new Set(ids).size).toBe(3);
    return ids;
  }
  /** Cards of this test: what others left open has cards as well. */
  const mine = () => cardsOf(slack).filter((message) => textOf(message).includes(`same_${n}`));
  async function card(saying: string, place = 0): Promise<Message> {
    const find = () => mine()[place];
    await until(() => textOf(find() ?? { blocks: [] }).includes(saying), WAIT_MS);
    return find() as Message;
  }
  const labels = (message: Message) => buttonsOf(message).map(({ action_id: action }) => action);
  const states = async (ids: readonly string[]) =>
    Promise.all(ids.map(async (id) => (await approvals.get(id))?.state));

  it('are one card that says how many wait; an approval is for the oldest, and the next has its turn', async () => {
    const ids = await three();
    const first = await card('(3 waiting)');
    expect(textOf(first)).toContain(ids[0]);
    expect(labels(first)).toEqual([APPROVE, APPROVE_ALL, DENY, 'countersign_details']);
    expect(mine()).toHaveLength(1);
    await slack.deliver(slack.clickPayload(first, APPROVE, 'U0REVIEWER'));
    await card('Approved by reviewer');
    const second = await card('(2 waiting)', 1);
    expect(textOf(second)).toContain(ids[1]);
    expect(await states(ids)).toEqual(['approved', 'open', 'open']);
  });

  it('are approved together by one click, each with a verdict and a receipt of its own', async () => {
    const ids = await three();
    const first = await card('(3 waiting)');
    // Joined after the card was shown: not among the three.
    const click = slack.clickPayload(first, APPROVE_ALL, 'U0REVIEWER');
    const { id: late } = await approvals.open(question({ text: `DROP TABLE same_${n}` }));
    await Promise.all(Array.from({ length: 20 }, () => slack.deliver(click)));
    const end = Date.now() + WAIT_MS;
    while ((await states(ids)).includes('open') && Date.now() < end)
      await new Promise((done) => setTimeout(done, 50));
    expect(await states([...ids, late])).toEqual(['approved', 'approved', 'approved', 'open']);
    await until(() => textOf(first).includes('Approved by reviewer'), WAIT_MS);
    const receipts = await Promise.all(ids.map(async (id) => (await approvals.get(id))?.receipt));
    expect(new Set(receipts).size).toBe(3);
    const verdicts = (await world.entries()).filter(
      ({ kind, request_id: of }) => kind === 'verdict' && ids.includes(of ?? ''),
    );
    expect(verdicts).toHaveLength(3);
    expect(textOf(await card('Approval needed', 1))).toContain(late);
    expect(mine()).toHaveLength(2);
  });

  it('are denied together, and refuse the owner all at once', async () => {
    const ids = await three();
    const first = await card('(3 waiting)');
    await slack.deliver(slack.clickPayload(first, APPROVE_ALL, 'U0OWNER'));
    await until(() => slack.ephemerals.length === 1, WAIT_MS);
    expect(await states(ids)).toEqual(['open', 'open', 'open']);
    await slack.deliver(slack.clickPayload(first, DENY, 'U0REVIEWER'));
    await until(() => slack.views.length === 1, WAIT_MS);
    expect(JSON.stringify(slack.views[0]?.blocks)).toContain('and 2 more for the very same');
    await slack.deliver(slack.submitPayload('not today', 'U0REVIEWER'));
    await card('Denied by reviewer');
    expect(await states(ids)).toEqual(['denied', 'denied', 'denied']);
    await new Promise((done) => setTimeout(done, 3_000));
    expect(mine()).toHaveLength(1);
  });
});
