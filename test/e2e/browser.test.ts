import pg from 'pg';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CHROMIUM, launchChromium } from '../support/chromium.ts';
import { freePort } from '../support/free-port.ts';
import { type Stack, startStack } from '../support/stack.ts';

describe.runIf(CHROMIUM !== undefined)(
  'the approval page, from the agent to the button to the result',
  () => {
    let stack: Stack;
    let browser: Browser;
    beforeAll(async () => {
      const port = await freePort();
      stack = await startStack({
        config: (config) => ({
          ...config,
          http: { ...config.http, port, publicUrl: `http://127.0.0.1:${port}` },
        }),
      });
      browser = await launchChromium();
    });
    afterAll(async () => {
      await browser?.close();
      await stack?.close();
    });

    it('approves on the page that the NOTICE names', async () => {
      const client = new pg.Client({ connectionString: stack.agentUrl });
      const hint = new Promise<string>((done) => client.on('notice', (notice) => done(notice.hint ?? '')));
      await client.connect();
      const running = client.query('CREATE TABLE asked_on_the_page (id int)');
      const address = /http:\/\/\S+/.exec(await hint)?.[0] ?? '';

      const page = await (await browser.newContext()).newPage();
      await page.goto(await stack.running.signInLink('approver'));
      await page.waitForURL(`${stack.httpUrl}/`);
      await page.goto(address);
      expect(await page.locator('pre').first().textContent()).toBe('CREATE TABLE asked_on_the_page (id int)');
      await page.getByRole('textbox').first().fill('seen on the page');
      await page.getByRole('button', { name: 'Approve' }).click();
      await running;
      await page.getByText('executed').first().waitFor();
      await client.end();
    });

    it('takes nothing from the owner of the agent', async () => {
      const client = new pg.Client({ connectionString: stack.agentUrl });
      await client.connect();
      const running = client.query('DROP TABLE payments').catch((error: pg.DatabaseError) => error.code);
      const { id } = await stack.api.waitFor('DROP TABLE payments');
      const page = await (await browser.newContext()).newPage();
      await page.goto(await stack.running.signInLink('owner'));
      await page.waitForURL(`${stack.httpUrl}/`);
      await page.goto(`${stack.httpUrl}/requests/${id}`);
      expect(await page.getByRole('button', { name: 'Approve' }).count()).toBe(0);
      await stack.api.verdict(id, 'deny');
      expect(await running).toBe('42501');
      await client.end();
    });
  },
);
