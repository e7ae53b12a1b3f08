import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RequestView } from '../../../src/approval/guard.ts';
import { detailsView, VIEW_BYTES } from '../../../src/channels/slack/details.ts';
import { request } from './fake-desk.ts';
import { type Harness, startHarness, textOf, until } from './harness.ts';

const DETAILS = 'countersign_details';

const texts = (changes: Partial<RequestView>) => textOf(detailsView(request(changes)));

describe('the details of a request', () => {
  it('are all that the page shows, literally, with what cannot be seen made visible', () => {
    const asked = request({
      sql: 'DROP TABLE payments -- <!channel> *x* \u202e',
      parameters: [{ typeOid: 25, format: 0, shown: 'a\n$2 = b', length: 8 }],
      verdicts: [
        {
          person: 'reviewer',
          channel: 'api',
          verdict: 'approve',
          reason: 'ticket 4711',
          assurance: 1,
          at: new Date(0),
        },
      ],
    });
    const view = detailsView(asked);
    const text = textOf(view);
    for (const part of [
      'DROP TABLE payments -- <!channel> *x* ‹U+202E›',
      '$1 = a‹U+000A›$2 = b (type 25, text, 8 bytes)',
      'Agent: reporting-bot (owner owner, who cannot approve)',
      'Data: public.payments (write)',
      'approve by reviewer through api, 1970-01-01T00:00:00.000Z: ticket 4711',
      asked.digest,
      asked.sqlSha256,
      asked.policyDigest,
    ])
      expect(text).toContain(part);
    expect(JSON.stringify(view)).not.toContain('mrkdwn');
    expect(JSON.stringify(view)).toContain(asked.url);
    expect(JSON.stringify(view)).not.toMatch(/countersign_(approve|deny)/);
  });

  it('have a long statement whole, in pieces that end with a line', () => {
    const sql = 'SELECT 1,\n'.repeat(5_000);
    const boxes = detailsView(request({ sql })).blocks.filter(({ type }) => type === 'rich_text');
    expect(textOf({ blocks: boxes }).replaceAll('\n\n', '\n')).toContain(sql);
  });

  it('say so where a text is longer than Slack takes, and have its beginning and its end', () => {
    const sql = `SELECT 'begin';\n${'-- filler\n'.repeat(100_000)}DROP TABLE payments`;
    const text = texts({ sql });
    expect(text).toContain('NOT SHOWN WHOLE');
    expect(text).toContain("SELECT 'begin'");
    expect(text).toContain('DROP TABLE payments');
    expect(text).toMatch(/[\d,]+ characters left out here/);
  });

  it('stay within the limits of a modal, whatever an agent sends', () => {
    const piece = fc.constantFrom('x', '\n', '"', '\\', '😀', '字', '\u200b', ' ', '<!here>', '\u0000');
    const long = fc
      .tuple(piece, fc.integer({ min: 0, max: 150_000 }))
      .map(([text, count]) => text.repeat(count));
    fc.assert(
      fc.property(long, long, long, (sql, shown, reason) => {
        const parameters = [{ typeOid: 25, format: 0 as const, shown, length: 1 }];
        const { blocks } = detailsView(request({ sql, parameters, reasons: [reason] }));
        expect(blocks.length).toBeLessThanOrEqual(100);
        expect(Buffer.byteLength(JSON.stringify(blocks))).toBeLessThanOrEqual(VIEW_BYTES);
        for (const block of blocks) expect(textOf({ blocks: [block] }).length).toBeLessThanOrEqual(3_000);
      }),
      { numRuns: 15 },
    );
  }, 120_000);
});

describe('a click on Details', () => {
  let on: Harness;
  beforeEach(async () => {
    on = await startHarness('socket');
  });
  afterEach(() => on.close());

  const click = async (user: string, changes: object = {}) => {
    const asked = on.desk.put(request());
    const payload = on.slack.clickPayload(await on.card(asked.id), DETAILS, user, changes);
    await on.slack.deliver(payload);
    return { asked, payload };
  };

  it('opens them for whoever the configuration knows, once, as the request stands now', async () => {
    const asked = on.desk.put(request());
    const payload = on.slack.clickPayload(await on.card(asked.id), DETAILS, 'U0OWNER');
    on.desk.change(asked.id, { state: 'withdrawn', endedAt: new Date(), endReason: 'the agent cancelled' });
    await on.slack.deliver(payload);
    await on.slack.deliver(payload);
    await until(() => on.slack.views.length === 1);
    expect(textOf(on.slack.views[0] ?? { blocks: [] })).toContain('the agent cancelled');
    expect(on.desk.answers).toHaveLength(0);
    expect(on.slack.callsOf('views.open')).toHaveLength(1);
  });

  it('shows nothing to an account that is nobody, deactivated, of elsewhere, or to an old click', async () => {
    const refusals: [string, object, string][] = [
      ['U0NOBODY', {}, 'Nobody in the configuration'],
      ['U0REVIEWER', { team: { id: 'T0OTHER' } }, 'Only members of the workspace'],
      ['U0REVIEWER', { user: { id: 'U0REVIEWER', team_id: 'T0OTHER' } }, 'Only members of the workspace'],
    ];
    for (const [place, [user, changes, words]] of refusals.entries()) {
      await click(user, changes);
      await until(() => on.slack.ephemerals.length === place + 1);
      expect(on.slack.ephemerals[place]?.text).toContain(words);
    }
    const old = on.desk.put(request());
    const payload = on.slack.clickPayload(await on.card(old.id), DETAILS, 'U0REVIEWER') as {
      actions: object[];
    };
    const actions = payload.actions.map((action) => ({
      ...action,
      action_ts: `${Math.floor(Date.now() / 1000) - 301}.000001`,
    }));
    await on.slack.deliver({ ...payload, actions });
    refusals.push(['U0REVIEWER', {}, 'too late']);
    await until(() => on.slack.ephemerals.length === refusals.length);
    expect(on.slack.ephemerals.at(-1)?.text).toContain('too late');
    on.slack.users.set('U0REVIEWER', { id: 'U0REVIEWER', team_id: on.slack.teamId, deleted: true });
    await click('U0REVIEWER');
    await until(() => on.slack.ephemerals.length === refusals.length + 1);
    expect(on.slack.ephemerals.at(-1)?.text).toContain('deactivated');
    expect(on.slack.views).toHaveLength(0);
    expect(on.desk.refused).toEqual([]);
  });

  it('names the page when Slack does not take them', async () => {
    on.slack.script('views.open', { error: 'expired_trigger_id' });
    const { asked } = await click('U0REVIEWER');
    await until(() => on.slack.ephemerals.length === 1);
    expect(on.slack.ephemerals[0]?.text).toContain(asked.url);
    expect(on.slack.views).toHaveLength(0);
  });
});
