/** One click, a thousand times at once, at two processes: one verdict, one receipt, one run. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../channels/slack/harness.ts';
import { connectPg, expectServed } from '../proxy/support.ts';
import { type Message, SlackStandIn } from '../support/slack-stand-in.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { Visitor } from './visitor.ts';

const REPLAYS = 1_000;

let slack: SlackStandIn;
let stack: Stack;
let other: Stack;
beforeAll(async () => {
  slack = new SlackStandIn();
  await slack.start();
  slack.users.set('U0APPROVER', { id: 'U0APPROVER', team_id: slack.teamId });
  stack = await startStack({
    sample: 'CREATE TABLE runs (id int)',
    config: (config) => ({
      ...config,
      people: config.people.map((one) => ({ ...one, slack: [`${slack.teamId}/U0${one.id.toUpperCase()}`] })),
      slack: {
        mode: 'http',
        botToken: slack.botToken,
        appToken: null,
        signingSecret: slack.signingSecret,
        teamId: slack.teamId,
        channel: slack.channel,
        apiUrl: slack.apiUrl,
      },
    }),
  });
  other = await stack.second();
}, 240_000);
afterAll(async () => {
  await stack.close();
  await slack.close();
});

/** What the log and the store have of that request. */
async function traces(id: string) {
  const { rows } = await stack.audit.query(
    `SELECT count(*) FILTER (WHERE kind = 'verdict')::int AS verdicts,
            count(*) FILTER (WHERE kind = 'request_approved')::int AS approvals,
            count(*) FILTER (WHERE kind = 'released')::int AS releases,
            count(*) FILTER (WHERE kind = 'verdict_refused')::int AS refusals,
            count(DISTINCT receipt)::int AS receipts
       FROM audit.entry WHERE request_id = $1`,
    [id],
  );
  const stored = await stack.audit.query(
    'SELECT count(*)::int AS n FROM countersign.verdict WHERE request_id = $1',
    [id],
  );
  return { ...rows[0], stored: stored.rows[0]?.n };
}

const ONCE = { verdicts: 1, approvals: 1, releases: 1, refusals: 0, receipts: 1, stored: 1 };

/** A held statement that shows how often it ran, and the same click a thousand times. */
async function replayed(text: string, click: (id: string) => Promise<() => Promise<boolean>>) {
  const client = await connectPg({ connectionString: stack.agentUrl });
  const before = (await stack.shop.query('SELECT count(*)::int AS n FROM runs')).rows[0]?.n;
  const running = client.query(`DO $$ BEGIN INSERT INTO runs VALUES (1); END $$ /* ${text} */`);
  const { id } = await stack.api.waitFor(text);
  const send = await click(id);
  const answers = await Promise.all(Array.from({ length: REPLAYS }, () => delivered(send)));
  await running;
  await client.end();
  expect(answers.filter((taken) => !taken)).toEqual([]);
  await expect.poll(() => traces(id), { timeout: 30_000 }).toEqual(ONCE);
  expect((await stack.shop.query('SELECT count(*)::int AS n FROM runs')).rows).toEqual([{ n: before + 1 }]);
  await expectServed(stack.agentUrl);
}

/** A connection that was kept and has been closed meanwhile: sent again, as every sender does. */
async function delivered(send: () => Promise<boolean>, tries = 5): Promise<boolean> {
  try {
    return await send();
  } catch (error) {
    if (tries === 0 || !(error instanceof TypeError)) throw error;
    return delivered(send, tries - 1);
  }
}

describe(`${REPLAYS} times the same answer`, () => {
  it('over the API', async () => {
    let turn = 0;
    await replayed('by api', async (id) => async () => {
      const at = turn++ % 2 === 0 ? stack : other;
      const response = await at.api.verdict(id, 'approve');
      await response.text();
      // Whoever sends too much is told so, and has changed nothing.
      return response.status === 200 || response.status === 429;
    });
  }, 240_000);

  it('on the approval page', async () => {
    let turn = 0;
    await replayed('by console', async (id) => {
      const visitors = [
        await Visitor.signIn(stack, 'approver'),
        await Visitor.signIn(other, 'approver'),
      ] as const;
      return async () => {
        const status = await visitors[turn++ % 2 === 0 ? 0 : 1].answer(id, 'approve', 'once');
        return status === 303 || status === 429;
      };
    });
  }, 240_000);

  it('in Slack', async () => {
    await replayed('by slack', async () => {
      const find = () => slack.messages.find((one) => JSON.stringify(one.blocks).includes('by slack'));
      await until(() => find() !== undefined, 20_000);
      const click = slack.clickPayload(find() as Message, 'countersign_approve', 'U0APPROVER');
      let turn = 0;
      return async () => {
        slack.requestUrl = `${(turn++ % 2 === 0 ? stack : other).httpUrl}/slack/events`;
        return (await slack.deliver(click)).status === 200;
      };
    });
  }, 240_000);
});
