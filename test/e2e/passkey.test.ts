import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { Config, Passkey } from '../../src/config/config.ts';
import { makePolicy } from '../../src/config/policy.ts';
import { passkeySetFromJwks, passkeyThumbprint } from '../../src/signing/passkey.ts';
import { cli } from '../cli/in-process.ts';
import { CHROMIUM, launchChromium } from '../support/chromium.ts';
import { freePort } from '../support/free-port.ts';
import { type Stack, startStack } from '../support/stack.ts';

/** Set to a directory to keep pictures of the pages. */
const PICTURES = process.env['COUNTERSIGN_TEST_PICTURES'];

describe.runIf(CHROMIUM !== undefined)(
  'a passkey, from making it to the result of a statement',
  { timeout: 180_000 },
  () => {
    let stack: Stack;
    let second: Stack;
    let browser: Browser;
    let context: BrowserContext;
    let page: Page;
    let made: Passkey;
    const faults: string[] = [];
    const directory = mkdtempSync(join(tmpdir(), 'cs-passkey-'));

    beforeAll(async () => {
      const port = await freePort();
      stack = await startStack({ config: (config) => asking(config, port, config.people) });
      browser = await launchChromium();
      context = await browser.newContext();
      page = await context.newPage();
      page.setDefaultTimeout(60_000);
      page.on('pageerror', (error) => faults.push(error.message));
      const device = await context.newCDPSession(page);
      await device.send('WebAuthn.enable');
      await device.send('WebAuthn.addVirtualAuthenticator', {
        options: {
          protocol: 'ctap2',
          transport: 'internal',
          hasResidentKey: true,
          hasUserVerification: true,
          isUserVerified: true,
          automaticPresenceSimulation: true,
        },
      });
    });
    afterAll(async () => {
      await browser?.close();
      await stack?.close();
      rmSync(directory, { recursive: true, force: true });
    });

    /** A name, where browsers have passkeys, and a rule that asks for one. */
    function asking(config: Config, port: number, people: Config['people']): Config {
      return {
        ...config,
        http: { ...config.http, port, publicUrl: `http://localhost:${port}` },
        people,
        policy: makePolicy([{ name: 'schema', match: { class: ['ddl'] }, decision: 'hold', assurance: 3 }]),
      };
    }
    async function signIn(at: Stack, person: string): Promise<void> {
      await page.goto(await at.running.signInLink(person));
      await page.waitForURL(`${at.config.http.publicUrl}/`);
    }
    async function picture(name: string): Promise<void> {
      if (PICTURES === undefined) return;
      mkdirSync(PICTURES, { recursive: true });
      for (const [form, width] of [
        ['wide', 1280],
        ['narrow', 390],
      ] as const) {
        await page.setViewportSize({ width, height: 900 });
        await page.screenshot({ path: join(PICTURES, `${name}-${form}.png`), fullPage: true });
      }
      await page.setViewportSize({ width: 1280, height: 900 });
    }

    it('is made on the page, which shows the lines for the configuration; until then it counts nowhere', async () => {
      await signIn(stack, 'approver');
      await page.getByRole('link', { name: 'Passkeys' }).click();
      await picture('passkeys');
      await page.getByRole('button', { name: 'Make a passkey' }).click();
      await page.getByRole('heading', { name: 'A passkey was made, and counts for nothing yet' }).waitFor();
      await picture('passkey-made');
      const yaml = parse(await page.locator('pre').innerText()) as { people: Config['people'] };
      const [person] = yaml.people;
      expect(person?.id).toBe('approver');
      const [passkey] = person?.passkeys ?? [];
      if (passkey === undefined) throw new Error('the page shows no passkey');
      made = passkey;
      expect(await page.locator('code').innerText()).toBe(passkeyThumbprint(made.key));

      const running = agentSends(stack, 'CREATE TABLE too_early (id int)');
      const { id } = await stack.api.waitFor('too_early');
      await page.goto(`${stack.config.http.publicUrl}/requests/${id}`);
      await page.getByText('the configuration has none of yours').waitFor();
      await picture('passkey-lacking');
      expect(await page.getByRole('button', { name: 'Approve' }).count()).toBe(0);
      expect((await stack.api.verdict(id, 'approve')).status).toBe(403);
      await page.getByRole('button', { name: 'Deny' }).click();
      await page.getByText('denied', { exact: true }).first().waitFor();
      expect(await running).toBe('42501');
    });

    it('approves exactly the statement that is shown, once it is in the configuration', async () => {
      const people = stack.config.people.map((one) =>
        one.id === 'approver' ? { ...one, passkeys: [made] } : one,
      );
      second = await stack.second(asking(stack.config, await freePort(), people));
      await signIn(second, 'approver');
      const running = agentSends(second, 'CREATE TABLE signed_for (id int)');
      const { id } = await second.api.waitFor('signed_for');
      expect((await second.api.verdict(id, 'approve')).status).toBe(403);
      await page.goto(`${second.config.http.publicUrl}/requests/${id}`);
      expect(await page.getByRole('button', { name: 'Approve', exact: true }).count()).toBe(0);
      await page.getByLabel('Reason').fill('as agreed');
      await picture('passkey-approving');
      await page.getByRole('button', { name: 'Approve with passkey' }).click();
      expect(await running).toBe('CREATE');
      await page.getByText('executed').first().waitFor();
      await page.getByRole('cell', { name: 'console, passkey' }).waitFor();
      await picture('passkey-approved');
      expect(faults).toEqual([]);

      // Whoever has the published keys sees who approved it, without asking anybody.
      const jwks = passkeySetFromJwks(await (await fetch(`${second.httpUrl}/.well-known/jwks.json`)).json());
      expect(jwks.find(passkeyThumbprint(made.key))?.person).toBe('approver');
      const [logged] = await second.audited(
        `SELECT detail FROM audit.entries WHERE kind = 'verdict' AND request_id = $1`,
        [id],
      );
      expect(JSON.stringify(logged)).toContain(passkeyThumbprint(made.key));
    });

    it('is asked for in the list as well, and a device that does not answer leaves the request open', async () => {
      const running = agentSends(second, 'CREATE TABLE from_the_list (id int)');
      const { id } = await second.api.waitFor('from_the_list');
      await page.goto(second.config.http.publicUrl);
      const card = page.getByRole('article').filter({ hasText: 'from_the_list' });
      // What is being written is not swept away.
      await card.getByLabel('Reason').fill('now');
      // Another site's id: as if the page were opened by another name.
      await page.evaluate("document.querySelector('button[data-passkey]').dataset.rp = '127.0.0.1'");
      await card.getByRole('button', { name: 'Approve with passkey' }).click();
      await card.getByText('No passkey was used, and nothing was sent: passkeys are bound to').waitFor();
      await picture('passkey-trouble');
      expect((await second.api.open()).map((open) => open.id)).toContain(id);
      await page.goto(second.config.http.publicUrl);
      await card.getByRole('button', { name: 'Approve with passkey' }).click();
      expect(await running).toBe('CREATE');
    });

    it('is in what an auditor verifies with the published keys alone, people’s among them', async () => {
      const executed = async () =>
        (await second.audited("SELECT FROM audit.statements WHERE outcome = 'executed' AND class = 'ddl'"))
          .length;
      await expect.poll(executed, { timeout: 20_000 }).toBe(2);
      const jwks = await (await fetch(`${second.httpUrl}/.well-known/jwks.json`)).text();
      expect(JSON.parse(jwks).keys.map(({ kty }: { kty: string }) => kty)).toEqual(['OKP', 'EC']);
      const checks = await second.audited('SELECT "check", ok, detail FROM audit.verify(keys => $1)', [jwks]);
      expect(checks.length).toBeGreaterThan(4);
      expect(checks.filter(({ ok }) => !ok)).toEqual([]);
      expect(checks.map(({ detail }) => detail)).toContainEqual(
        expect.stringMatching(/^[1-9]\d* of [1-9]\d* receipts with passkeys /),
      );
      // The log brings them itself, for whoever has kept no keys.
      const alone = await second.audited('SELECT "check", ok FROM audit.verify("full" => true)');
      expect(alone.filter(({ ok }) => !ok)).toEqual([]);
      const brought = await second.audited(
        "SELECT kid, public_jwk FROM audit.signing_keys WHERE purpose = 'passkey'",
      );
      expect(brought).toEqual([
        {
          kid: passkeyThumbprint(made.key),
          public_jwk: expect.objectContaining({ countersign_person: 'approver' }),
        },
      ]);
      const file = (name: string, text: string) => {
        writeFileSync(join(directory, name), text);
        return join(directory, name);
      };
      const keys = file('jwks.json', jwks);
      const verified = await cli(['verify', '--url', second.auditorUrl, '--keys', keys]);
      expect([verified.code, verified.stderr]).toEqual([0, '']);
      expect(verified.stdout).toContain('whole');
      const [row] = await second.audited(
        "SELECT receipt FROM audit.entries WHERE kind = 'request_approved' ORDER BY at LIMIT 1",
      );
      const receipt = await cli([
        'receipt',
        'verify',
        file('receipt', String(row?.['receipt'])),
        '--jwks',
        keys,
      ]);
      expect(receipt.stdout).toContain(
        `approver has signed it with passkey ${passkeyThumbprint(made.key)}, at ${second.config.http.publicUrl}`,
      );
      expect(receipt.code).toBe(0);
    });
  },
);

/** The command tag, or the SQLSTATE of the error. */
async function agentSends(stack: Stack, sql: string): Promise<string> {
  const client = new pg.Client({ connectionString: stack.agentUrl });
  await client.connect();
  try {
    return (await client.query(sql)).command;
  } catch (error) {
    if (error instanceof pg.DatabaseError) return error.code ?? '';
    throw error;
  } finally {
    await client.end();
  }
}
