import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RequestView } from '../../../src/approval/guard.ts';
import {
  approvableHere,
  CARD_CHARACTERS,
  fitsWhole,
  renderCard,
  renderOutcome,
  wholeText,
} from '../../../src/channels/slack/card.ts';
import { mentionsFor } from '../../../src/channels/slack/mentions.ts';
import { escapeMrkdwn, head, oneLine, tail } from '../../../src/channels/slack/text.ts';
import { readSubject, subjectValue } from '../../../src/channels/slack/values.ts';
import { visible } from '../../../src/channels/visible.ts';
import { request } from './fake-desk.ts';
import { textOf } from './harness.ts';

const NOBODY = { users: [], groups: [] };
const card = (changes: Partial<RequestView>) => renderCard(request(changes), NOBODY);
const actions = (changes: Partial<RequestView>) =>
  [...JSON.stringify(card(changes).blocks).matchAll(/"countersign_(\w+)"/g)].map(([, name]) => name);

/** The texts of the preformatted boxes: what is shown as the agent's. */
function boxes(blocks: readonly object[]): string[] {
  const found: string[] = [];
  const walk = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    if ((node as { type?: unknown }).type === 'rich_text_preformatted')
      found.push(textOf({ blocks: [node] }));
    else Object.values(node).forEach(walk);
  };
  blocks.forEach(walk);
  return found;
}

describe('the card', () => {
  it('keeps a statement in its box, whatever is in it', () => {
    const sql =
      "SELECT '```' -- </pre> *bold* <!channel> <@U0REVIEWER> `x`\n-- approved by reviewer, :white_check_mark:";
    const { blocks } = card({ sql });
    expect(boxes(blocks)).toEqual([sql]);
    expect(JSON.stringify(blocks)).not.toContain('mrkdwn');
  });

  it('lets nothing that an agent says be a mention, a link, an emoji or a word without end', () => {
    const bad =
      '<!channel> <!here> <@U0OWNER> <https://evil.example|Approve> https://evil.example :tada: ' +
      `*Approved by reviewer* ${'w'.repeat(3_000)}`;
    const context = {
      claims: [{ key: 'reason', value: bad }],
      boundary: [],
      relations: [],
      findings: [{ label: bad, text: bad, items: [bad], of: 1 }],
      sent: null,
    };
    const view = request({
      sql: `-- ${bad}\nSELECT 1`,
      reasons: [bad],
      class: bad,
      rule: bad,
      relations: [{ name: bad, mode: 'read' }],
      session: { ...request().session, agent: bad, applicationName: bad, run: bad, onBehalfOf: bad },
    });
    for (const { text, blocks } of [
      renderCard({ ...view, context }, NOBODY),
      renderCard({ ...view, context }, NOBODY, 'slack-escalation'),
      renderOutcome({
        ...view,
        state: 'failed',
        outcome: { tag: bad, rows: 0n, bytes: 0n, sqlstate: '<!channel>' },
      }),
    ]) {
      // Mentions and links are elements of their own; all text is plain, or escaped in the notification.
      const kinds = [...JSON.stringify(blocks).matchAll(/"type":"([a-z_]+)"/g)].map(([, kind]) => kind);
      for (const kind of ['mrkdwn', 'link', 'user', 'usergroup', 'broadcast', 'emoji', 'channel', 'markdown'])
        expect(kinds).not.toContain(kind);
      expect(text).not.toMatch(/<[!@#h]/);
      expect(JSON.stringify(blocks).length).toBeLessThan(CARD_CHARACTERS + 1_200);
      for (const header of blocks.filter(({ type }) => type === 'header'))
        expect(textOf({ blocks: [header] }).length).toBeLessThanOrEqual(150);
    }
  });

  it('shows what a screen would hide', () => {
    const hidden = 'a\u202Eb\u200Bc\u0000d\re\u00A0f\u{E0041}g\u3164h';
    const [box] = boxes(card({ sql: hidden }).blocks);
    expect(box).toBe('a‹U+202E›b‹U+200B›c‹U+0000›d‹U+000D›e‹U+00A0›f‹U+E0041›g‹U+3164›h');
    const session = {
      ...request().session,
      agent: 'bot\u202E\nApproved by reviewer',
      applicationName: 'x\u200B',
    };
    const text = textOf(card({ session }));
    expect(text).toContain('bot‹U+202E›‹U+000A›Approved by reviewer');
    expect(text).toContain('x‹U+200B›');
  });

  it('says that a secret is hidden, and bound all the same', () => {
    expect(textOf(card({ sql: "ALTER ROLE a PASSWORD '‹secret, 12 bytes›'" }))).toContain(
      'the digest binds the real text',
    );
    expect(textOf(card({}))).not.toContain('real text');
  });

  it('leaves no raw invisible character anywhere, for any text', () => {
    const nasty = fc.string({
      unit: fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('`', '\u202E', '\u200B', '\n')),
      maxLength: 400,
    });
    fc.assert(
      fc.property(nasty, nasty, nasty, (sql, agent, reason) => {
        const view = request({
          sql,
          reasons: [reason],
          session: { ...request().session, agent, run: agent },
        });
        const raw = JSON.stringify(renderCard(view, NOBODY));
        expect(raw).not.toMatch(/[\u0080-\u00A0\u200B-\u200F\u202A-\u202E\u2060-\u2069\uFEFF]|\\u/);
        expect(raw.length).toBeLessThan(13_200);
      }),
      { numRuns: 300 },
    );
  });

  it('says what an approval allows, where that is limited', () => {
    expect(textOf(card({ limits: { rows: 1_000, bytes: null } }))).toContain(
      'Result: at most 1,000 rows; then the result is stopped',
    );
    expect(textOf(card({ limits: { rows: 5, bytes: 20_000 } }))).toContain('at most 5 rows and 20,000 bytes');
    expect(textOf(card({}))).toContain('Result: without a limit');
  });

  it('has an approve button only where all of it is shown', () => {
    expect(actions({})).toEqual(['approve', 'deny', 'details']);
    const parameter = { typeOid: 25, format: 0 as const, shown: 'p'.repeat(5_000), length: 5_000 };
    const cases: [string, Partial<RequestView>][] = [
      ['long', { sql: 'x'.repeat(4_001) }],
      ['tall', { sql: 'x\n'.repeat(61) }],
      ['wraps to tall', { sql: `${'x'.repeat(66)}\n`.repeat(61) }],
      ['pushed right', { sql: `SELECT 1${' '.repeat(150)}; DROP TABLE payments` }],
      ['pushed down', { sql: `SELECT 1;${'\n'.repeat(12)}DROP TABLE payments` }],
      ['grows by being made visible', { sql: '\u200B'.repeat(1_000) }],
      ['long parameter', { parameters: [parameter] }],
    ];
    for (const [name, changes] of cases) {
      expect([name, fitsWhole(request(changes))]).toEqual([name, false]);
      expect([name, actions(changes)]).toEqual([name, ['deny', 'details', 'page']]);
      expect(textOf(card(changes))).toContain('NOT SHOWN WHOLE');
    }
  });

  it('shows head, tail and size of a long statement, and gives the whole as a file', () => {
    const sql = `SELECT 'begin';\n${'-- filler\n'.repeat(2_000)}DROP TABLE payments`;
    const view = request({ sql, sqlLength: Buffer.byteLength(sql) });
    const text = textOf(renderCard(view, NOBODY));
    expect(text).toContain("SELECT 'begin'");
    expect(text).toContain('DROP TABLE payments');
    expect(text).toContain('20,035 bytes, 2,002 lines');
    expect(text).toContain(view.digest);
    expect(wholeText(view)).toBe(sql);
  });

  it('has a link instead of a button where the rule asks for more than a click', () => {
    for (const assurance of [2, 3] as const) {
      const view = request({ demand: { approvers: [], quorum: 1, assurance } });
      expect(approvableHere(view)).toBe(false);
      expect(actions(view)).toEqual(['deny', 'details', 'page']);
      expect(textOf(renderCard(view, NOBODY))).toContain(assurance === 3 ? 'passkey' : 'fresh log-in');
    }
  });

  it('has no deciding button once it has ended', () => {
    const ended = [
      'approved',
      'denied',
      'expired',
      'withdrawn',
      'consumed',
      'executed',
      'failed',
      'unknown',
    ] as const;
    for (const state of ended) expect([state, actions({ state })]).toEqual([state, ['details']]);
  });

  it('lists parameters one a line, and one cannot pass for two', () => {
    const shown = ['1', "x\n$3 = 'harmless'", null];
    const parameters = shown.map((value) => ({ typeOid: 25, format: 0 as const, shown: value, length: 1 }));
    const [, box] = boxes(card({ parameters }).blocks);
    expect(box).toBe("$1 = 1\n$2 = x‹U+000A›$3 = 'harmless'\n$3 = NULL");
  });

  it('counts approvals towards the quorum, and says when a hold keeps locks', () => {
    const verdict = {
      person: 'reviewer',
      channel: 'api',
      verdict: 'approve',
      reason: 'ok',
      assurance: 1,
      at: new Date(),
    } as const;
    const text = textOf(
      card({ demand: { approvers: [], quorum: 2, assurance: 1 }, verdicts: [verdict], inTransaction: true }),
    );
    expect(text).toContain('1 of 2 approvals');
    expect(text).toContain('Approved by reviewer: ok');
    expect(text).toContain('keeps its locks');
  });

  it('stays within its size with many relations and reasons', () => {
    const name = `${'s'.repeat(63)}.${'t'.repeat(63)}`;
    const view = request({
      relations: Array.from({ length: 500 }, () => ({ name, mode: 'read' as const })),
      reasons: Array.from({ length: 200 }, () => 'r'.repeat(1_000)),
      sql: 'x'.repeat(3_900),
    });
    const size = JSON.stringify(renderCard(view, NOBODY).blocks).length;
    expect(size).toBeLessThan(CARD_CHARACTERS + 1_200);
    expect(textOf(renderCard(view, NOBODY))).toMatch(/Data: .* and 4[89]\d more/);
  });

  it('escapes the notification, which is mrkdwn', () => {
    const session = { ...request().session, agent: '<!channel> & co' };
    expect(card({ session }).text).toContain('&lt;!channel&gt; &amp; co');
  });
});

describe('text', () => {
  it('cuts without half a character', () => {
    expect(head('a😀', 2)).toBe('a');
    expect(tail('😀a', 2)).toBe('a');
    expect(oneLine('a'.repeat(20), 10)).toBe(`${'a'.repeat(9)}…`);
  });
  it('leaves what can be seen', () => {
    const plain = "SELECT\t\"ä\", '日本語', '😀'\n-- ÿ";
    expect(visible(plain)).toBe(plain);
    expect(escapeMrkdwn('a<b>&')).toBe('a&lt;b&gt;&amp;');
  });
});

describe('button values', () => {
  it('are read back, and nothing else is', () => {
    const subject = { requestId: request().id, digest: 'd'.repeat(64), alike: [] as string[] };
    expect(readSubject(subjectValue(subject))).toEqual(subject);
    // As many as there can be fit into a button's value.
    const many = { ...subject, alike: Array.from({ length: 50 }, () => `req_${'a'.repeat(26)}`) };
    expect(readSubject(subjectValue(many))).toEqual(many);
    expect(subjectValue(many).length).toBeLessThan(2_000);
    const more = { ...many, alike: [...many.alike, subject.requestId] };
    expect(readSubject(subjectValue(more))).toBeNull();
    for (const bad of [
      '',
      'null',
      '{}',
      '[]',
      JSON.stringify({ r: subject.requestId, d: 'x', e: 1 }),
      '{"r":"x","d":"y"}',
    ]) {
      expect(readSubject(bad)).toBeNull();
    }
  });
});

describe('mentions', () => {
  const person = (id: string, ...slack: string[]) => ({
    id,
    email: `${id}@example.com`,
    slack,
    oidc: [],
    groups: [],
  });
  const people = [
    person('reviewer', 'T0TEST/U0REVIEWER', 'T0OTHER/U0X'),
    person('owner', 'T0TEST/U0OWNER'),
    person('deputy'),
  ];
  const groups = [
    { name: 'dba', slackUserGroup: 'S0DBA' },
    { name: 'ops', slackUserGroup: null },
  ];
  it('name whom the rule names, in this workspace, and not the owner', () => {
    const demand = {
      approvers: ['reviewer', 'owner', 'deputy', 'dba', 'ops'],
      quorum: 1,
      assurance: 1 as const,
    };
    expect(mentionsFor(request({ demand }), 'slack', people, groups, 'T0TEST', 0)).toEqual({
      users: ['U0REVIEWER'],
      groups: ['S0DBA'],
    });
    expect(
      JSON.stringify(renderCard(request({ demand }), { users: ['U0REVIEWER'], groups: ['S0DBA'] })),
    ).toContain('{"type":"user","user_id":"U0REVIEWER"}');
  });
});
