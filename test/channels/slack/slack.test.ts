import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Block, buttonsOf } from '../../support/slack-stand-in.ts';
import { request } from './fake-desk.ts';
import { cardsOf, type Harness, type Mode, startHarness, textOf, until } from './harness.ts';

const APPROVE = 'countersign_approve';
const DENY = 'countersign_deny';

describe.each<Mode>(['socket', 'http'])('the Slack channel, %s mode', (mode) => {
  let on: Harness;
  beforeEach(async () => {
    on = await startHarness(mode);
  });
  afterEach(() => on.close());

  it('posts a card that says who wants what, and why it is held', async () => {
    const asked = on.desk.put(request());
    const text = textOf(await on.card(asked.id));
    for (const part of [
      'Approval needed: reporting-bot: ddl',
      'owner owner, who cannot approve',
      'deputy@example.com',
      'nightly-7 (claimed by the agent)',
      'langchain (claimed by the agent)',
      'shop as shop_agent',
      'default:ddl',
      'DROP TABLE changes the schema',
      'public.payments (write)',
      'DROP TABLE payments',
      '19 bytes, 1 line',
      asked.digest,
      asked.expiresAt.toISOString(),
    ]) {
      expect(text).toContain(part);
    }
    expect(on.slack.callsOf('chat.postMessage').every(({ token }) => token === on.slack.botToken)).toBe(true);
  });

  it('posts a card in the channel that the rule names, and updates it there', async () => {
    const { otherChannel: channel } = on.slack;
    const demand = { approvers: [], quorum: 1, assurance: 1, channel } as const;
    const asked = on.desk.put(request({ demand }));
    const card = await on.card(asked.id);
    expect(card.channel).toBe(channel);
    await on.slack.deliver(on.slack.clickPayload(card, APPROVE, 'U0REVIEWER'));
    expect((await on.card(asked.id, 'Approved by ')).channel).toBe(channel);
    expect(cardsOf(on.slack)).toHaveLength(1);
  });

  it('hands an approval to the guard with the verified ids, and updates the card in place', async () => {
    const asked = on.desk.put(request());
    const card = await on.card(asked.id);
    const click = on.slack.clickPayload(card, APPROVE, 'U0REVIEWER');
    expect((await on.slack.deliver(click)).status).toBe(200);
    const after = await on.card(asked.id, 'Approved by ');
    expect(on.desk.answers).toHaveLength(1);
    expect(on.desk.answers[0]).toMatchObject({
      requestId: asked.id,
      channel: 'slack',
      verdict: 'approve',
      person: [{ kind: 'slack', value: 'T0TEST/U0REVIEWER' }],
      attestation: { assurance: 1, facts: { team: 'T0TEST', user: 'U0REVIEWER' } },
    });
    expect(after.ts).toBe(card.ts);
    expect(textOf(after)).toContain('Approved by reviewer');
    expect(buttonsOf(after).map(({ action_id: id }) => id)).toEqual(['countersign_details']);
    expect(cardsOf(on.slack)).toHaveLength(1);
    expect(on.slack.ephemerals).toHaveLength(0);
  });

  it('asks for a reason, refuses an empty one, and hands the denial on', async () => {
    const asked = on.desk.put(request());
    const card = await on.card(asked.id);
    await on.slack.deliver(on.slack.clickPayload(card, DENY, 'U0REVIEWER'));
    await until(() => on.slack.views.length === 1);
    expect(on.desk.answers).toHaveLength(0);
    for (const empty of [null, '', ' \n ']) {
      const refused = await on.slack.deliver(on.slack.submitPayload(empty, 'U0REVIEWER'));
      expect(refused.body).toMatchObject({
        response_action: 'errors',
        errors: { reason: expect.any(String) },
      });
    }
    expect(on.desk.recorded).toHaveLength(0);
    const sent = await on.slack.deliver(on.slack.submitPayload('Not on a Friday', 'U0REVIEWER'));
    expect(sent.status).toBe(200);
    expect(JSON.stringify(sent.body)).not.toContain('errors');
    expect(on.desk.recorded).toEqual([
      { id: asked.id, person: 'reviewer', verdict: 'deny', reason: 'Not on a Friday' },
    ]);
    expect(textOf(await on.card(asked.id, 'Denied by '))).toContain('Denied by reviewer: Not on a Friday');
  });

  it('tells somebody unknown why it does not count', async () => {
    const asked = on.desk.put(request());
    const card = await on.card(asked.id);
    await on.slack.deliver(on.slack.clickPayload(card, APPROVE, 'U0NOBODY'));
    await until(() => on.slack.ephemerals.length === 1);
    expect(on.slack.ephemerals[0]).toMatchObject({ user: 'U0NOBODY', channel: on.slack.channel });
    expect(on.slack.ephemerals[0]?.text).toContain('Nobody in the configuration');
    expect(on.desk.recorded).toHaveLength(0);
    expect(on.desk.requests.get(asked.id)?.state).toBe('open');
  });

  it("refuses the owner's click and the owner's form", async () => {
    const asked = on.desk.put(request());
    const card = await on.card(asked.id);
    await on.slack.deliver(on.slack.clickPayload(card, APPROVE, 'U0OWNER'));
    await until(() => on.slack.ephemerals.length === 1);
    expect(on.slack.ephemerals[0]?.text).toContain('You answer for this agent');
    await on.slack.deliver(on.slack.clickPayload(card, DENY, 'U0OWNER'));
    await until(() => on.slack.views.length === 1);
    const form = await on.slack.deliver(on.slack.submitPayload('mine', 'U0OWNER'));
    expect(form.body).toMatchObject({
      errors: { reason: expect.stringContaining('You answer for this agent') },
    });
    expect(on.desk.recorded).toHaveLength(0);
  });

  it('tells somebody whose approval counts what they should know', async () => {
    on.desk.notice = 'You have approved 20 requests within a minute.';
    const card = await on.card(on.desk.put(request()).id);
    await on.slack.deliver(on.slack.clickPayload(card, APPROVE, 'U0REVIEWER'));
    await until(() => on.slack.ephemerals.length === 1);
    expect(on.slack.ephemerals[0]).toMatchObject({
      user: 'U0REVIEWER',
      text: expect.stringContaining('20 requests within a minute'),
    });
    expect(on.desk.recorded).toHaveLength(1);
  });

  it('takes one click once, however often it comes', async () => {
    const asked = on.desk.put(request());
    const click = on.slack.clickPayload(await on.card(asked.id), APPROVE, 'U0REVIEWER');
    const delivered = await Promise.all(Array.from({ length: 50 }, () => on.slack.deliver(click)));
    expect(delivered.every(({ status }) => status === 200)).toBe(true);
    await on.card(asked.id, 'Approved by ');
    expect(on.desk.answers).toHaveLength(1);
    expect(on.desk.recorded).toHaveLength(1);
    const refused = on.slack.clickPayload(await on.card(on.desk.put(request()).id), APPROVE, 'U0NOBODY');
    await Promise.all(Array.from({ length: 50 }, () => on.slack.deliver(refused)));
    await until(() => on.slack.ephemerals.length > 0);
    expect(on.slack.ephemerals).toHaveLength(1);
  });

  it('refuses payloads of other workspaces and users of other workspaces', async () => {
    const asked = on.desk.put(request());
    const card = await on.card(asked.id);
    const foreign = [
      { team: { id: 'T0OTHER', domain: 'other' } },
      { team: null },
      { user: { id: 'U0REVIEWER', username: 'reviewer', team_id: 'T0OTHER' } },
    ];
    for (const changes of foreign) {
      await on.slack.deliver(on.slack.clickPayload(card, APPROVE, 'U0REVIEWER', changes));
    }
    await until(() => on.slack.ephemerals.length === foreign.length);
    expect(on.slack.ephemerals.every(({ text }) => text.includes('Only members of the workspace'))).toBe(
      true,
    );
    expect(on.desk.answers).toHaveLength(0);
    // Each attempt is handed on, for the log.
    expect(on.desk.refused).toEqual(['other_workspace', 'other_workspace', 'other_workspace']);
  });

  it('refuses guests from other organizations in a shared channel, whatever their payload says', async () => {
    const asked = on.desk.put(request({ session: { ...request().session, owner: null } }));
    const card = await on.card(asked.id);
    on.slack.users.set('U0REVIEWER', { id: 'U0REVIEWER', team_id: 'T0OTHER' });
    on.slack.users.set('U0OWNER', { id: 'U0OWNER', team_id: on.slack.teamId, is_stranger: true });
    for (const user of ['U0REVIEWER', 'U0OWNER'])
      await on.slack.deliver(on.slack.clickPayload(card, APPROVE, user));
    await until(() => on.slack.ephemerals.length === 2);
    for (const { text } of on.slack.ephemerals) expect(text).toContain('another workspace or organization');
    expect(on.desk.answers).toHaveLength(0);
  });

  it('does not believe a payload that names an organization which is not ours', async () => {
    const card = await on.card(on.desk.put(request()).id);
    for (const changes of [
      { user: { id: 'U0REVIEWER', username: 'r', team_id: 'E0ORG' } },
      {
        team: { id: on.slack.teamId, enterprise_id: 'E0ORG' },
        enterprise: { id: 'E0ORG' },
        user: { id: 'U0REVIEWER', username: 'r', team_id: 'E0ORG' },
      },
    ])
      await on.slack.deliver(on.slack.clickPayload(card, APPROVE, 'U0REVIEWER', changes));
    await until(() => on.slack.ephemerals.length === 2);
    expect(on.desk.answers).toHaveLength(0);
  });

  it('refuses deactivated accounts, bots and accounts that Slack does not know', async () => {
    on.slack.users.set('U0REVIEWER', { id: 'U0REVIEWER', team_id: on.slack.teamId, deleted: true });
    on.slack.users.set('U0OWNER', { id: 'U0OWNER', team_id: on.slack.teamId, is_bot: true });
    const card = await on.card(on.desk.put(request({ session: { ...request().session, owner: null } })).id);
    for (const user of ['U0REVIEWER', 'U0OWNER', 'U0GONE']) {
      await on.slack.deliver(on.slack.clickPayload(card, APPROVE, user));
    }
    await until(() => on.slack.ephemerals.length === 3);
    const told = on.slack.ephemerals.map(({ text }) => text).join();
    expect(told).toContain('deactivated');
    expect(told).toContain('a bot');
    expect(told).toContain('Nothing has changed');
    expect(on.desk.answers).toHaveLength(0);
  });

  it('refuses a click whose time cannot be right', async () => {
    const card = await on.card(on.desk.put(request()).id);
    const payload = on.slack.clickPayload(card, APPROVE, 'U0REVIEWER') as {
      actions: { action_ts: string }[];
    };
    for (const seconds of [-3_600, 3_600]) {
      const actions = payload.actions.map((action) => ({
        ...action,
        action_ts: `${Math.floor(Date.now() / 1000) + seconds}.000100`,
      }));
      await on.slack.deliver({ ...payload, actions });
    }
    await until(() => on.slack.ephemerals.length === 2);
    expect(on.desk.answers).toHaveLength(0);
  });

  it('refuses a button of one card for what the request holds now', async () => {
    const asked = on.desk.put(request());
    const click = on.slack.clickPayload(await on.card(asked.id), APPROVE, 'U0REVIEWER');
    on.desk.change(asked.id, { digest: 'f'.repeat(64), sql: 'DROP TABLE customers' });
    await on.slack.deliver(click);
    await until(() => on.slack.ephemerals.length === 1);
    expect(on.slack.ephemerals[0]?.text).toContain('another question');
    expect(on.desk.answers).toHaveLength(0);
  });

  it('does not take an approval for what it did not show whole, even if the button is forged', async () => {
    const long = `SELECT 1;${' '.repeat(10_000)}DROP TABLE payments`;
    const asked = on.desk.put(request({ sql: long, sqlLength: long.length }));
    const card = await on.card(asked.id);
    expect(buttonsOf(card).map(({ action_id: id }) => id)).toEqual([
      DENY,
      'countersign_details',
      'countersign_page',
    ]);
    expect(textOf(card)).toContain('NOT SHOWN WHOLE');
    expect(textOf(card)).toContain('DROP TABLE payments');
    await until(() => on.slack.files.length === 1);
    expect(on.slack.files[0]).toMatchObject({ content: long, threadTs: card.ts });
    const forged = on.slack.clickPayload(card, DENY, 'U0REVIEWER') as { actions: object[] };
    const actions = forged.actions.map((action) => ({ ...action, action_id: APPROVE }));
    await on.slack.deliver({ ...forged, actions });
    await until(() => on.slack.ephemerals.length === 1);
    expect(on.slack.ephemerals[0]?.text).toContain(asked.url);
    expect(on.desk.answers).toHaveLength(0);
  });

  it('says that nothing changed when the store is away, and takes the same click later', async () => {
    const asked = on.desk.put(request());
    const click = on.slack.clickPayload(await on.card(asked.id), APPROVE, 'U0REVIEWER');
    on.desk.away = true;
    await on.slack.deliver(click);
    await until(() => on.slack.ephemerals.length === 1);
    expect(on.slack.ephemerals[0]?.text).toContain('the approval was not recorded');
    on.desk.away = false;
    await on.slack.deliver(click);
    await on.card(asked.id, 'Approved by ');
    expect(on.desk.recorded).toHaveLength(1);
  });

  it('shows expiry, withdrawal and outcome in place', async () => {
    const expired = on.desk.put(request());
    const withdrawn = on.desk.put(request());
    const executed = on.desk.put(request());
    for (const { id } of [expired, withdrawn, executed]) await on.card(id);
    on.desk.change(expired.id, { state: 'expired', endedAt: new Date() });
    on.desk.change(withdrawn.id, {
      state: 'withdrawn',
      endedAt: new Date(),
      endReason: 'cancelled by the client',
    });
    on.desk.change(executed.id, {
      state: 'executed',
      endedAt: new Date(),
      outcome: { tag: 'COPY 52000', rows: 52_000n, bytes: 3_145_728n, sqlstate: null },
    });
    expect(textOf(await on.card(expired.id, 'Expired'))).toContain('nothing ran');
    expect(textOf(await on.card(withdrawn.id, 'Withdrawn'))).toContain('cancelled by the client');
    expect(textOf(await on.card(executed.id, 'Outcome'))).toContain(
      'COPY 52000, 52,000 rows, 3,145,728 bytes',
    );
    expect(cardsOf(on.slack)).toHaveLength(3);
    for (const message of cardsOf(on.slack)) expect(buttonsOf(message)).toHaveLength(1);
  });

  it('answers rubbish without a verdict', async () => {
    const card = await on.card(on.desk.put(request()).id);
    const good = on.slack.clickPayload(card, APPROVE, 'U0REVIEWER') as { actions: Block[] };
    const rubbish = [
      { actions: good.actions.map((action) => ({ ...action, value: 'req_1' })) },
      {
        actions: good.actions.map((action) => ({ ...action, value: '{"r":"req_../../etc/passwd","d":"x"}' })),
      },
      { actions: [...good.actions, ...good.actions] },
      { container: {} },
    ];
    for (const changes of rubbish) {
      expect((await on.slack.deliver({ ...good, ...changes })).status).toBe(200);
    }
    expect(on.desk.answers).toHaveLength(0);
    expect(on.logged.join('\n')).toContain('no card of ours');
  });
});

describe('the Slack channel of a workspace in an organization', () => {
  it('takes an answer of a member whose team is the organization, and of nobody else', async () => {
    const on = await startHarness('socket', undefined, (slack) => {
      slack.enterpriseId = 'E0ORG';
      const member = (id: string, ...teams: string[]) =>
        slack.users.set(id, { id, team_id: 'E0ORG', enterprise_user: { id, enterprise_id: 'E0ORG', teams } });
      member('U0REVIEWER', 'T0TEST');
      member('U0NOBODY', 'T0OTHER');
    });
    const card = await on.card(on.desk.put(request()).id);
    const click = (user: string, team: string) =>
      on.slack.deliver(
        on.slack.clickPayload(card, APPROVE, user, { user: { id: user, username: user, team_id: team } }),
      );
    await click('U0NOBODY', 'E0ORG');
    await click('U0REVIEWER', 'E0ELSE');
    await until(() => on.slack.ephemerals.length === 2);
    expect(on.desk.answers).toHaveLength(0);
    await click('U0REVIEWER', 'E0ORG');
    await until(() => on.desk.recorded.length === 1);
    expect(on.desk.answers[0]?.person).toEqual([{ kind: 'slack', value: 'T0TEST/U0REVIEWER' }]);
    await on.close();
  });
});
