/**
 * From a real client to the verdict to the result, by every channel: also over a restart of the proxy between question
 * and answer, and where the answer comes to another process than the one that holds the statement.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../channels/slack/harness.ts';
import { connectPg } from '../proxy/support.ts';
import { hasPsql, psql } from '../support/psql.ts';
import { type Message, SlackStandIn } from '../support/slack-stand-in.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { Visitor } from './visitor.ts';

const PSQL = hasPsql();
const APPROVE = 'countersign_approve';

let slack: SlackStandIn;
let stack: Stack;
let other: Stack;

/** Answers the request with this text in its way, at the process given. */
type Answer = (text: string, at: Stack) => Promise<void>;

const CHANNELS: Readonly<Record<'api' | 'console' | 'slack', Answer>> = {
  api: async (text, at) => {
    const { id } = await at.api.waitFor(text);
    expect((await at.api.verdict(id, 'approve', 'seen')).status).toBe(200);
  },
  console: async (text, at) => {
    const { id } = await at.api.waitFor(text);
    const visitor = await Visitor.signIn(at, 'approver', other);
    expect(await visitor.answer(id, 'approve', 'seen')).toBe(303);
  },
  slack: async (text) => {
    const find = () => slack.messages.findLast((one) => JSON.stringify(one.blocks).includes(text));
    await until(() => find() !== undefined, 20_000);
    const message = find() as Message;
    await slack.deliver(slack.clickPayload(message, APPROVE, 'U0APPROVER'));
  },
};

beforeAll(async () => {
  slack = new SlackStandIn();
  await slack.start();
  for (const id of ['U0OWNER', 'U0APPROVER']) slack.users.set(id, { id, team_id: slack.teamId });
  stack = await startStack({
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
afterEach(() => {
  slack.requestUrl = `${stack.httpUrl}/slack/events`;
});

/** psql where there is one, else node-postgres: what a person's or an agent's program would see. */
async function run(sql: string): Promise<{ readonly code: number | null; readonly said: string }> {
  if (PSQL) {
    const { stdout, stderr, code } = await psql(stack.agentUrl, sql).done;
    return { code, said: stdout + stderr };
  }
  const client = await connectPg({ connectionString: stack.agentUrl });
  const result = await client.query(sql).then(
    ({ command }) => ({ code: 0, said: command }),
    (error: Error) => ({ code: 1, said: error.message }),
  );
  await client.end().catch(() => {});
  return result;
}

async function trail(table: string) {
  const rows = await stack.audited(
    `SELECT a.verdict, a.approvers, a.released, a.outcome,
            (SELECT array_agg(DISTINCT e.detail ->> 'channel') FROM audit.events e
              WHERE e.request_id = a.request_id AND e.kind = 'verdict') AS channels
       FROM audit.approvals a WHERE a.sql LIKE '%' || $1 || ' (%'`,
    [table],
  );
  return rows;
}

const exists = async (table: string) =>
  (await stack.shop.query('SELECT to_regclass($1) IS NOT NULL AS there', [table])).rows[0]?.['there'];

describe.each(Object.entries(CHANNELS))('%s', (channel, answer) => {
  /** Of all that happened to the request there is one trail, and it names the channel. */
  async function expectTrail(table: string) {
    const whole = {
      verdict: 'approve',
      approvers: ['approver'],
      released: true,
      outcome: 'executed',
      channels: [channel],
    };
    await expect.poll(() => trail(table), { timeout: 20_000 }).toEqual([whole]);
  }

  it('from the client to the verdict to the result', async () => {
    const table = `by_${channel}`;
    const running = run(`CREATE TABLE ${table} (id int)`);
    await answer(table, stack);
    expect(await running).toMatchObject({ code: 0, said: expect.stringContaining('CREATE TABLE') });
    expect(await exists(table)).toBe(true);
    await expectTrail(table);
  }, 60_000);

  it('the answer comes to another process', async () => {
    const table = `elsewhere_by_${channel}`;
    slack.requestUrl = `${other.httpUrl}/slack/events`;
    const running = run(`CREATE TABLE ${table} (id int)`);
    await answer(table, other);
    expect(await running).toMatchObject({ code: 0, said: expect.stringContaining('CREATE TABLE') });
    expect(await exists(table)).toBe(true);
    await expectTrail(table);
  }, 60_000);

  it('the proxy restarts between question and answer', async () => {
    const table = `restarted_by_${channel}`;
    const sql = `CREATE TABLE ${table} (id int)`;
    const running = run(sql);
    await stack.api.waitFor(table);
    // The card must be there before, as it was for whoever looked at it.
    if (channel === 'slack')
      await until(() => slack.messages.some((one) => JSON.stringify(one.blocks).includes(table)), 20_000);
    await stack.restart();
    const told = await running;
    expect(told.code).not.toBe(0);
    await answer(table, stack);
    // The approval of a hold that is gone runs nothing by itself.
    expect(await exists(table)).toBe(false);
    expect(await run(sql)).toMatchObject({ code: 0, said: expect.stringContaining('CREATE TABLE') });
    expect(await exists(table)).toBe(true);
    await expectTrail(table);
  }, 120_000);
});
