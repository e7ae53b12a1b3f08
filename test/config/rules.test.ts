import { describe, expect, it } from 'vitest';
import { load, MINIMAL, refusal } from './sample.ts';

const SLACK = 'slack: { botToken: { env: BOT }, appToken: { env: APP }, teamId: T1, channel: C1 }\n';
const ENV = { BOT: 'bot', APP: 'app' };
const rules = (...text: string[]) =>
  `${MINIMAL}policy:\n  rules:\n${text.map((one) => `    - ${one}\n`).join('')}`;

describe('rules that are good', () => {
  it.each([
    "{ name: r, match: { column: ['public.customers.email', '*.*.ssn'] }, decision: deny }",
    '{ name: r, match: { column: [\'public."Mixed.Case"."E Mail"\'] }, decision: deny }',
    "{ name: r, match: { function: ['app.*', pg_catalog.dblink] }, decision: hold }",
    "{ name: r, match: { tag: [pii], boundary: [network, program], command: ['DROP *'] }, decision: hold }",
    '{ name: r, match: { rows: { above: 0 }, bytes: { above: 5 } }, decision: hold, mode: observe }',
    '{ name: r, match: { rows: { atMost: 5 } }, decision: allow, limits: { bytes: 5 } }',
    '{ name: r, match: { time: [{ days: [sat, sun] }, { hours: 18:00-08:00, zone: Europe/Berlin }] }, decision: hold }',
    '{ name: r, match: {}, decision: hold, limits: { rows: 5 }, expiry: 30m }',
    '{ name: r, match: { class: [ddl], command: [COMMENT] }, decision: allow }',
    '{ name: r, match: {}, decision: hold, maxPerMinute: 5, onCall: [{ hours: 18:00-08:00, zone: Europe/Berlin, approvers: [approver] }] }',
    '{ name: r, match: {}, decision: hold, onCall: [{ days: [sat], approvers: [approver] }, { days: [sun], approvers: [approver, owner] }] }',
  ])('%s', async (text) => {
    expect((await load(rules(text))).policy.rules).toHaveLength(1);
  });

  it('a channel where there is Slack', async () => {
    const config = await load(
      `${SLACK}${rules('{ name: r, match: {}, decision: hold, channel: C012AB }')}`,
      ENV,
    );
    expect(config.policy.rules[0]).toEqual({ name: 'r', match: {}, decision: 'hold', channel: 'C012AB' });
  });

  it('an escalation, and a direct message', async () => {
    const config = await load(
      `${SLACK}${rules('{ name: r, match: {}, decision: hold, channel: U012AB, escalate: { after: 10m, approvers: [approver], channel: C034CD } }')}`,
      ENV,
    );
    expect(config.policy.rules[0]).toMatchObject({
      channel: 'U012AB',
      escalate: { after: '10m', approvers: ['approver'], channel: 'C034CD' },
    });
  });

  it('a group whose members only Slack knows, where there is Slack', async () => {
    const held = rules('{ name: r, match: {}, decision: hold, approvers: [oncall] }').replace(
      'approver@example.com }',
      'approver@example.com, slack: [T1/U1] }',
    );
    const groups = 'groups: [{ name: oncall, slackUserGroup: S012AB }]\n';
    await expect(load(`${SLACK}${groups}${held}`, ENV)).resolves.toBeDefined();
    expect((await refusal(`${groups}${held}`)).message).toMatch(
      /groups\[0\]\.slackUserGroup: expected slack/,
    );
    // Nobody has an account there, so nobody could ever be in it.
    const strangers = held.replace('T1/U1', 'T2/U1');
    expect((await refusal(`${SLACK}${groups}${strangers}`, ENV)).message).toMatch(/0 may approve/);
    const twice = 'groups: [{ name: oncall, slackUserGroup: S1 }, { name: again, slackUserGroup: S1 }]\n';
    expect((await refusal(`${SLACK}${twice}${held}`, ENV)).message).toMatch(/the same user group/);
  });

  it('every condition is part of the digest', async () => {
    const base = "{ name: r, match: { relation: ['a.b'] }, decision: hold }";
    const others = [
      "{ name: r, match: { relation: ['a.b'], tag: [x] }, decision: hold }",
      "{ name: r, match: { relation: ['a.b'] }, decision: hold, mode: observe }",
      "{ name: r, match: { relation: ['a.b'] }, decision: hold, expiry: 1h }",
      "{ name: r, match: { relation: ['a.b'] }, decision: hold, limits: { rows: 5 } }",
      "{ name: r, match: { relation: ['a.b'], rows: { above: 5 } }, decision: hold }",
      "{ name: r, match: { relation: ['a.b'], time: [{ hours: 08:00-09:00 }] }, decision: hold }",
      "{ name: r, match: { relation: ['a.b'] }, decision: hold, maxPerMinute: 5 }",
      "{ name: r, match: { relation: ['a.b'] }, decision: hold, onCall: [{ hours: 08:00-09:00, approvers: [approver] }] }",
    ];
    const digests = await Promise.all(
      [base, ...others].map(async (one) => (await load(rules(one))).policy.digest),
    );
    expect(new Set(digests).size).toBe(digests.length);
  });
});

describe('windows of those on call', () => {
  const two = (first: string, second: string) =>
    `${MINIMAL}  - { id: other, email: other@example.com }\n${rules(
      `{ name: r, match: {}, decision: hold, onCall: [{ ${first}, approvers: [approver] }, { ${second}, approvers: [other] }] }`,
    ).slice(MINIMAL.length)}`;

  it('may follow one another', async () => {
    const config = await load(two('hours: 18:00-23:00', 'hours: 23:00-08:00'));
    expect(config.policy.rules[0]?.onCall?.[1]).toEqual({ hours: '23:00-08:00', approvers: ['other'] });
  });

  it('may not leave nobody where they hold together', async () => {
    const error = await refusal(two('days: [sun]', 'hours: 22:00-06:00'));
    expect(error.problems[0]).toMatchObject({
      key: 'policy.rules[0].onCall[0].approvers',
      problem: expect.stringMatching(/0 of these may approve while onCall\[1\] hold too/),
    });
  });
});

describe('rules that cannot be', () => {
  it.each<readonly [rule: string, key: string, says: RegExp]>([
    ['{ name: r, match: { colum: [a.b.c] }, decision: deny }', 'match.colum', /did you mean column\?/],
    ['{ name: r, match: { rows: { abov: 5 } }, decision: deny }', 'match.rows.abov', /did you mean above\?/],
    [
      '{ name: r, match: { time: [{ hour: 08:00-09:00 }] }, decision: deny }',
      'match.time[0].hour',
      /mean hours\?/,
    ],
    [
      '{ name: r, match: { column: [customers.email] }, decision: deny }',
      'match.column[0]',
      /schema\.relation\.column/,
    ],
    ['{ name: r, match: { function: [dblink] }, decision: deny }', 'match.function[0]', /schema\.name/],
    [
      "{ name: r, match: { relation: ['public.\"x'] }, decision: deny }",
      'match.relation[0]',
      /quotes in pairs/,
    ],
    [
      '{ name: r, match: { boundary: [networks] }, decision: deny }',
      'match.boundary[0]',
      /did you mean network\?/,
    ],
    ['{ name: r, match: { rows: {} }, decision: deny }', 'match.rows', /exactly one of above, atMost/],
    ['{ name: r, match: { rows: { above: 1, atMost: 2 } }, decision: deny }', 'match.rows', /exactly one/],
    ['{ name: r, match: { rows: { atMost: 2 } }, decision: hold }', 'match.rows.atMost', /expected above/],
    ['{ name: r, match: { rows: { above: 2 } }, decision: allow }', 'match.rows.above', /expected atMost/],
    ['{ name: r, match: { bytes: { above: 2 } }, decision: allow }', 'match.bytes.above', /expected atMost/],
    ['{ name: r, match: { time: [{}] }, decision: hold }', 'match.time[0]', /days, hours or both/],
    ['{ name: r, match: { time: [{ hours: 8-18 }] }, decision: hold }', 'match.time[0].hours', /HH:MM-HH:MM/],
    [
      '{ name: r, match: { time: [{ hours: 08:00-08:00 }] }, decision: hold }',
      'match.time[0].hours',
      /HH:MM/,
    ],
    [
      '{ name: r, match: { time: [{ hours: 08:00-25:00 }] }, decision: hold }',
      'match.time[0].hours',
      /HH:MM/,
    ],
    [
      '{ name: r, match: { time: [{ days: [mon], zone: Europe/Berlino }] }, decision: hold }',
      'match.time[0].zone',
      /IANA name/,
    ],
    [
      '{ name: r, match: { time: [{ days: [monday] }] }, decision: hold }',
      'match.time[0].days[0]',
      /did you mean mon\?/,
    ],
    ['{ name: r, match: {}, decision: hold, expiry: 30 min }', 'expiry', /for example 30m/],
    ['{ name: r, match: {}, decision: hold, expiry: 0m }', 'expiry', /for example 30m/],
    ['{ name: r, match: {}, decision: deny, expiry: 30m }', 'expiry', /only a rule that holds has expiry/],
    ['{ name: r, match: {}, decision: deny, maxPerMinute: 5 }', 'maxPerMinute', /only a rule that holds/],
    ['{ name: r, match: {}, decision: hold, maxPerMinute: 0 }', 'maxPerMinute', /1/],
    [
      '{ name: r, match: {}, decision: allow, onCall: [{ days: [sun], approvers: [approver] }] }',
      'onCall',
      /only a rule that holds/,
    ],
    [
      '{ name: r, match: {}, decision: hold, onCall: [{ approvers: [approver] }] }',
      'onCall[0]',
      /days, hours or both/,
    ],
    [
      '{ name: r, match: {}, decision: hold, onCall: [{ days: [sun], approvers: [aprover] }] }',
      'onCall[0].approvers[0]',
      /did you mean approver\?/,
    ],
    [
      '{ name: r, match: {}, decision: hold, onCall: [{ days: [sun], approvers: [owner] }] }',
      'onCall[0].approvers',
      /for agent bot 0 of these may approve \(never its owner\), but 1 must/,
    ],
    ['{ name: r, match: {}, decision: allow, channel: C1 }', 'channel', /only a rule that holds has channel/],
    ['{ name: r, match: {}, decision: hold, channel: C1 }', 'channel', /expected slack/],
    ["{ name: r, match: {}, decision: hold, channel: '#dba' }", 'channel', /id of a Slack channel/],
    [
      '{ name: r, match: {}, decision: deny, escalate: { after: 10m, approvers: [approver] } }',
      'escalate',
      /only a rule that holds has escalate/,
    ],
    [
      '{ name: r, match: {}, decision: hold, escalate: { after: 10m } }',
      'escalate',
      /approvers, channel or both/,
    ],
    [
      '{ name: r, match: {}, decision: hold, escalate: { after: soon, approvers: [approver] } }',
      'escalate.after',
      /for example 10m/,
    ],
    [
      '{ name: r, match: {}, decision: hold, escalate: { after: 10m, approvers: [aprover] } }',
      'escalate.approvers[0]',
      /did you mean approver\?/,
    ],
    [
      '{ name: r, match: {}, decision: hold, escalate: { after: 10m, channel: C1 } }',
      'escalate.channel',
      /expected slack/,
    ],
    [
      '{ name: r, match: {}, decision: hold, expiry: 10m, escalate: { after: 10m, approvers: [approver] } }',
      'escalate.after',
      /over after 600 s, before it would escalate/,
    ],
    ['{ name: r, match: {}, decision: deny, limits: { rows: 5 } }', 'limits', /lets nothing through/],
    ['{ name: r, match: {}, decision: hold, limits: {} }', 'limits', /rows, bytes or both/],
    ['{ name: r, match: {}, decision: hold, limits: { row: 5 } }', 'limits.row', /did you mean rows\?/],
    ['{ name: r, match: {}, decision: hold, mode: observed }', 'mode', /did you mean observe\?/],
    [
      "{ name: r, match: { command: ['DROP *'] }, decision: allow }",
      'match.command',
      /expected class beside it/,
    ],
    [
      '{ name: r, match: { class: [opaque] }, decision: allow }',
      'match.class[0]',
      /no rule can allow opaque/,
    ],
    [
      '{ name: r, match: { class: [ddl, unparsed] }, decision: allow, mode: observe }',
      'match.class[1]',
      /no rule can allow unparsed/,
    ],
  ])('%s', async (text, key, says) => {
    const error = await refusal(rules('{ name: first, match: {}, decision: hold }', text));
    const line =
      rules('x')
        .split('\n')
        .findIndex((one) => one.startsWith('    - ')) + 2;
    expect(error.problems).toContainEqual(
      expect.objectContaining({ line, key: `policy.rules[1].${key}`, problem: expect.stringMatching(says) }),
    );
  });
});
