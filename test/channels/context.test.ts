import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RequestContext } from '../../src/approval/port.ts';
import type { RequestJson } from '../../src/channels/api/json.ts';
import { factLines, factText } from '../../src/channels/fact-lines.ts';
import { fitsWhole, renderCard } from '../../src/channels/slack/card.ts';
import { showLines } from '../../src/cli/requests-text.ts';
import { type ApprovalWorld, answer, approvalWorld, question } from '../approval/support.ts';
import { type HttpWorld, httpWorld } from './api/support.ts';
import { textOf } from './slack/harness.ts';

let world: ApprovalWorld;
let http: HttpWorld;
beforeAll(async () => {
  world = await approvalWorld('ctx');
  http = await httpWorld(world);
});
afterAll(() => world?.close());

const CONTEXT: RequestContext = {
  claims: [
    { key: 'task', value: 'clean up <b>' },
    { key: 'reason', value: '*urgent* & safe' },
  ],
  boundary: ['server_files', 'role'],
  relations: [
    { name: 'public.orders', mode: 'write', read: ['id'], written: ['total', 'note'], tags: ['pii', 'gdpr'] },
  ],
  findings: [
    { label: 'Drops', text: '1 object (8,192 bytes, about 5 rows)', items: ['table public.orders'], of: 1 },
    {
      label: 'CASCADE',
      text: 'drops 3 other objects too',
      items: ['table public."x<script>"', 'view public.v‹U+202E›x', 'view public.w'],
      of: 3,
    },
    {
      label: 'Lock',
      text: 'ACCESS EXCLUSIVE on table public.orders: nobody else reads it',
      items: [],
      of: 0,
    },
  ],
  sent: { rows: '1000', bytes: '2048' },
};

async function opened(context: RequestContext, text: string) {
  const { id } = await http.approvals.open(question({ text, context }));
  const view = await http.approvals.get(id);
  if (view === null) throw new Error('it was not stored');
  const reply = await http.app.request(`/api/requests/${id}`, {
    headers: { authorization: 'Bearer reviewer-token' },
  });
  return { id, view, json: (await reply.json()) as RequestJson };
}

async function page(path: string): Promise<string> {
  const link = await http.app.request(`/sign-in?token=${await http.sessions.issueLink('reviewer')}`);
  const cookie = (link.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
  const html = await (await http.app.request(path, { headers: { cookie } })).text();
  return html
    .replace(/<li>/g, '|')
    .replace(/<[^>]*>/g, '')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&amp;', '&');
}

describe('the context of a request', () => {
  it('is the same in the API, on the page, on the card and on the command line', async () => {
    const { id, view, json } = await opened(CONTEXT, 'DROP TABLE orders /* 1 */');
    expect(view.context).toEqual(CONTEXT);
    expect(json.context).toEqual(CONTEXT);
    const lines = factLines(view);
    expect(json.facts).toEqual(lines);
    expect(lines.map(({ label }) => label)).toEqual(
      expect.arrayContaining([
        'Agent',
        'Run',
        'Program',
        'Agent says',
        'Database',
        'From',
        'Class',
        'Why held',
        'Crosses to',
        'Data',
        'Search path',
        'Already sent',
        'Drops',
        'CASCADE',
        'Lock',
      ]),
    );
    expect(lines.flatMap((line) => (line.label === 'Data' ? [factText(line, 9)] : [])).join()).toBe(
      'public.orders (write; reads id; writes total note; tags pii gdpr)',
    );
    const card = textOf(renderCard(view, { users: [], groups: [] }));
    const cli = showLines(json);
    const html = await page(`/requests/${id}`);
    for (const line of lines) {
      const text = factText(line, line.items.length);
      expect(card).toContain(`${line.label}: ${text}\n`);
      expect(cli).toContain(`${line.label.padEnd(20)} ${text}`);
      for (const part of [line.label, line.text, ...line.items]) expect(html).toContain(part);
    }
    expect(fitsWhole(view)).toBe(true);
    // What would be touched stands by the buttons of the list as well.
    const list = await page('/');
    expect(list).toContain('drops 3 other objects too: table public."x<script>", view public.v‹U+202E›x');
  });

  it('has no approve button in Slack, nor in the list, where something must be left out', async () => {
    const items = Array.from({ length: 100 }, (_, i) => `table public.t${i}`);
    const many = {
      ...CONTEXT,
      findings: [{ label: 'CASCADE', text: 'drops 300 other objects', items, of: 300 }],
    };
    const { id, view, json } = await opened(many, 'DROP TABLE orders /* 2 */');
    expect(fitsWhole(view)).toBe(false);
    const card = renderCard(view, { users: [], groups: [] });
    expect(textOf(card)).toContain('and 280 more');
    expect(JSON.stringify(card.blocks)).not.toContain('countersign_approve');
    expect(await page('/')).toContain('See all of it, and answer');
    expect(await page(`/requests/${id}`)).toContain('|table public.t99|and 200 more');
    expect(showLines(json).join('\n')).toContain('table public.t99 and 200 more');
  });

  it('keeps a card within its size, whatever was found', async () => {
    const findings = Array.from({ length: 150 }, (_, i) => ({
      label: `L${i}`.repeat(30),
      text: 'ü‹U+202E›"\\'.repeat(60),
      items: Array.from({ length: 100 }, () => '"'.repeat(240)),
      of: 100,
    }));
    const { view } = await opened({ ...CONTEXT, findings }, 'DROP TABLE orders /* 3 */');
    const card = renderCard(view, { users: [], groups: [] });
    expect(JSON.stringify(card.blocks).length).toBeLessThan(13_000);
    expect(card.blocks.length).toBeLessThan(50);
    expect(textOf(card)).toMatch(/And: \d+ more lines of facts/);
  });

  it('is bound: another one is another question, and nobody answers that', async () => {
    const { id, view } = await opened(CONTEXT, 'DROP TABLE orders /* 4 */');
    const entries = await world.entries();
    const entry = entries.find(({ kind, request_id }) => kind === 'request_opened' && request_id === id);
    expect(JSON.parse(entry?.detail['context'] ?? 'null')).toEqual(CONTEXT);
    await world.database.query(
      `UPDATE countersign.request SET shown = replace(shown, 'drops 3 other', 'drops 0 other') WHERE id = $1`,
      [id],
    );
    expect((await http.approvals.get(id))?.context?.findings[1]?.text).toBe('drops 0 other objects too');
    expect(await http.approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({
      code: 'request_altered',
    });
    expect(view.digest).toMatch(/^[0-9a-f]{64}$/);
  });

  it('does not keep the same statement from attaching, nor an approval from its release', async () => {
    const { id } = await opened(CONTEXT, 'DROP TABLE orders /* 5 */');
    await http.approvals.detach(id);
    const other = { ...CONTEXT, findings: [], claims: [] };
    const again = question({ text: 'DROP TABLE orders /* 5 */', context: other });
    expect(await http.approvals.open(again)).toMatchObject({ id, attached: true });
    expect((await http.approvals.get(id))?.context).toEqual(CONTEXT);
    expect(await http.approvals.guard.decide(answer(id, 'reviewer'))).toMatchObject({ state: 'approved' });
    const { context: _context, ...bare } = again;
    expect(await http.approvals.release(id, bare)).toMatchObject({ requestId: id });
  });

  it('cannot be exchanged between approval and release', async () => {
    const { id } = await opened(CONTEXT, 'DROP TABLE orders /* 6 */');
    await http.approvals.guard.decide(answer(id, 'reviewer'));
    await world.database.query(
      `UPDATE countersign.request SET shown = replace(shown, 'drops 3 other', 'drops 0 other') WHERE id = $1`,
      [id],
    );
    await expect(
      http.approvals.release(id, question({ text: 'DROP TABLE orders /* 6 */' })),
    ).rejects.toThrow();
  });
});

describe('an escalation', () => {
  it('is told in each channel, from the beginning', async () => {
    const demand = {
      approvers: ['reviewer'],
      quorum: 1,
      assurance: 1,
      escalation: { afterMs: 600_000, approvers: ['security', 'deputy'] },
    } as const;
    const { id } = await http.approvals.open(question({ text: 'DROP TABLE escalating', demand }));
    const view = await http.approvals.get(id);
    if (view?.escalatesAt == null) throw new Error('no view');
    const words = `from ${view.escalatesAt.toISOString().slice(0, 19).replace('T', ' ')} UTC also: deputy, security`;
    expect(textOf(renderCard(view, { users: [], groups: [] }))).toContain(`Escalation: ${words}`);
    const reply = await http.app.request(`/api/requests/${id}`, {
      headers: { authorization: 'Bearer reviewer-token' },
    });
    const json = (await reply.json()) as RequestJson;
    expect(await page(`/requests/${id}`)).toContain(words.replace(': ', '|').replace(', ', '|'));
    expect(json.escalation).toEqual({
      at: view.escalatesAt.toISOString(),
      approvers: ['deputy', 'security'],
    });
    expect(showLines(json).join('\n')).toContain(words);
    const opened = (await world.entries()).find(
      ({ kind, request_id: of }) => kind === 'request_opened' && of === id,
    );
    expect(opened?.detail).toMatchObject({
      escalation: 'deputy, security',
      escalates_at: view.escalatesAt.toISOString(),
    });
  });
});
