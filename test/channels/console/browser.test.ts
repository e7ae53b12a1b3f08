import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type HttpServer, listenHttp } from '../../../src/channels/api/server.ts';
import { type ApprovalWorld, answer, approvalWorld, question, until } from '../../approval/support.ts';
import { CHROMIUM, launchChromium } from '../../support/chromium.ts';
import { type HttpWorld, httpWorld } from '../api/support.ts';

/** Set to a directory to keep pictures of the pages. */
const PICTURES = process.env['COUNTERSIGN_TEST_PICTURES'];

describe.runIf(CHROMIUM !== undefined)('the console in a browser', () => {
  let world: ApprovalWorld;
  let http: HttpWorld;
  let server: HttpServer;
  let browser: Browser;
  let url: string;
  const errors: string[] = [];

  beforeAll(async () => {
    world = await approvalWorld('apweb');
    // The port is known only when it is bound, and the links need it: the application is put behind it then.
    let app: HttpWorld['app'] | null = null;
    server = await listenHttp(
      { fetch: (...call) => app?.fetch(...call) ?? new Response(null, { status: 503 }) },
      { host: '127.0.0.1', port: 0 },
    );
    url = `http://127.0.0.1:${server.port}`;
    http = await httpWorld(world, url);
    app = http.app;
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
    await world?.close();
  });

  async function signedIn(
    options: { javaScriptEnabled?: boolean; colorScheme?: 'light' | 'dark' } = {},
  ): Promise<Page> {
    const page = await (await browser.newContext(options)).newPage();
    page.on('console', (message) => void (message.type() === 'error' && errors.push(message.text())));
    page.on('pageerror', (error) => errors.push(error.message));
    await page.goto(`${url}/sign-in?token=${await http.sessions.issueLink('reviewer')}`);
    await page.waitForURL(`${url}/`);
    return page;
  }
  async function picture(page: Page, name: string): Promise<void> {
    if (PICTURES === undefined) return;
    mkdirSync(PICTURES, { recursive: true });
    await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
  }

  it('shows a new request by itself, takes a denial with its reason, and shows the end', async () => {
    const page = await signedIn();
    await page.getByRole('heading', { name: 'Nothing waits for an answer' }).waitFor();
    await picture(page, 'empty');
    const { id } = await http.approvals.open(question({ text: 'DROP TABLE browser_1' }));
    const card = page.getByRole('article').filter({ hasText: 'browser_1' });
    await card.waitFor();
    await card.getByLabel('Reason').fill('not now');
    await picture(page, 'list');
    // What is being written is not swept away by the refresh.
    await http.approvals.open(question({ text: 'DROP TABLE browser_2' }));
    await page.waitForTimeout(3_500);
    expect(await card.getByLabel('Reason').inputValue()).toBe('not now');
    await card.getByRole('button', { name: 'Deny' }).click();
    await page.waitForURL(`${url}/requests/${id}`);
    await page.getByText('denied', { exact: true }).first().waitFor();
    expect(await http.approvals.get(id)).toMatchObject({ state: 'denied', endReason: 'not now' });
    expect(errors).toEqual([]);
  });

  it('shows requests for the very same once, and answers and puts off by the keyboard alone', async () => {
    const demand = { approvers: ['dba', 'security'], quorum: 2, assurance: 1 } as const;
    const asked = question({ text: 'DROP TABLE browser_alike', command: 'DROP TABLE', demand });
    const ids: string[] = [];
    for (let i = 0; i < 3; i += 1) ids.push((await http.approvals.open(asked)).id);
    const later = await http.approvals.open(question({ text: 'DROP TABLE browser_later' }));
    await http.approvals.guard.decide(answer(ids[0] ?? '', 'deputy'));
    const page = await signedIn();
    const card = page.getByRole('article').filter({ hasText: 'browser_alike' });
    expect(await card.count()).toBe(1);
    await card.getByText('3 waiting').waitFor();
    // As a screen reader finds them.
    const progress = card.getByRole('progressbar', { name: 'Approvals' });
    expect([await progress.getAttribute('value'), await progress.getAttribute('max')]).toEqual(['1', '2']);
    await card.getByText('1 of 2 approvals: deputy').waitFor();
    for (const name of ['Deny all 3', 'Approve all 3', 'Approve one', 'Put off'])
      expect(await card.getByRole('button', { name, exact: true }).count()).toBe(1);
    await picture(page, 'alike');
    // From the reason on: Tab leads to Deny, both ways to approve, then to how long to put off.
    await card.getByLabel('Reason').focus();
    const reached: string[] = [];
    for (let i = 0; i < 5; i += 1) {
      await page.keyboard.press('Tab');
      reached.push(await page.evaluate('document.activeElement.textContent.trim().slice(0, 13)'));
    }
    expect(reached.slice(0, 3)).toEqual(['Deny all 3', 'Approve all 3', 'Approve one']);
    expect(reached[4]).toBe('Put off');
    await card.getByRole('button', { name: 'Approve one' }).focus();
    await page.keyboard.press('Enter');
    await page.waitForURL(`${url}/requests/${ids[0]}`);
    expect(await http.approvals.get(ids[0] ?? '')).toMatchObject({ state: 'approved' });
    expect(await http.approvals.get(ids[1] ?? '')).toMatchObject({ state: 'open' });
    await page.goto(url);
    const other = page.getByRole('article').filter({ hasText: 'browser_later' });
    await other.getByLabel('Not now: put it off').selectOption('an hour');
    await other.getByRole('button', { name: 'Put off' }).click();
    await page.getByRole('heading', { name: 'Put off by you' }).waitFor();
    await page.getByText('You have put it off until').waitFor();
    await picture(page, 'put-off');
    expect((await http.approvals.get(later.id))?.state).toBe('open');
    const rest = page.getByRole('article').filter({ hasText: 'browser_alike' });
    await rest.getByRole('button', { name: 'Deny all 2' }).click();
    await until(async () => (await http.approvals.get(ids[2] ?? ''))?.state === 'denied');
    expect(errors).toEqual([]);
  });

  it('works without JavaScript, in the dark, and shows the whole of a request', async () => {
    const asked = question({
      text: 'UPDATE customers SET email = $1\nWHERE id = $2 -- \u202esdrawkcab',
      command: 'UPDATE',
      class: 'bulk_write',
      reasons: ['may change more than 1,000 rows', 'public.customers has a trigger that calls user code'],
      parameters: [
        { typeOid: 25, format: 0, value: Buffer.from('a@b.example'), shown: 'a@b.example' },
        { typeOid: 23, format: 0, value: null, shown: null },
      ],
      inTransaction: true,
      demand: { approvers: ['dba'], quorum: 2, assurance: 1 },
      context: {
        claims: [{ key: 'task', value: 'fix addresses' }],
        boundary: [],
        relations: [],
        findings: [
          { label: 'Estimate', text: '1,200 rows updated in public.customers', items: [], of: 0 },
          {
            label: 'Foreign keys',
            text: 'a change of its keys reaches 2 other tables',
            items: ['public.orders (update, at most 2,000 rows)', 'public.notes (update, rows not known)'],
            of: 2,
          },
        ],
        sent: null,
      },
    });
    const { id } = await http.approvals.open(asked);
    const page = await signedIn({ javaScriptEnabled: false, colorScheme: 'dark' });
    await page.getByRole('link', { name: 'See all of it, and answer' }).click();
    await picture(page, 'request-dark');
    expect(await page.locator('pre').first().innerText()).toContain('‹U+202E›sdrawkcab');
    const listed = page.locator('dd', { hasText: 'reaches 2 other tables' }).getByRole('listitem');
    expect(await listed.allInnerTexts()).toEqual([
      'public.orders (update, at most 2,000 rows)',
      'public.notes (update, rows not known)',
    ]);
    await page.getByLabel('Reason').fill('checked');
    await page.getByRole('button', { name: 'Approve' }).click();
    await until(async () => ((await http.approvals.get(id))?.verdicts.length ?? 0) === 1);
    await page
      .getByText('already')
      .or(page.getByRole('cell', { name: 'checked' }))
      .first()
      .waitFor();
    await picture(page, 'request-answered-dark');
  });
});
