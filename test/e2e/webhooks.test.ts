import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { cli } from '../cli/in-process.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { stackFile } from '../support/stack-file.ts';
import { type Receiver, startReceiver } from '../support/webhook-receiver.ts';

const SECRET = `whsec_${randomBytes(32).toString('base64')}`;
const directory = mkdtempSync(join(tmpdir(), 'cs-hooks-'));

let receiver: Receiver;
let stack: Stack;
beforeAll(async () => {
  receiver = await startReceiver([SECRET]);
  stack = await startStack({
    limits: { webhookAttempts: 2, webhookFirstRetryMs: 100 },
    config: (config) => ({
      ...config,
      webhooks: [
        {
          name: 'pager',
          url: receiver.url,
          secrets: [SECRET],
          events: [
            'request.opened',
            'request.approved',
            'request.denied',
            'request.released',
            'request.ended',
          ],
          include: 'summary',
        },
      ],
    }),
  });
}, 60_000);
afterAll(async () => {
  await stack?.close();
  await receiver?.close();
  rmSync(directory, { recursive: true, force: true });
});

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 400 && !holds(); i++) await new Promise((done) => setTimeout(done, 50));
  expect(holds()).toBe(true);
}

/** From a client's statement to its end, answered by a person. */
async function held(sql: string, verdict: 'approve' | 'deny'): Promise<string> {
  const client = new pg.Client({ connectionString: stack.agentUrl });
  await client.connect();
  const running = client.query(sql).catch(() => null);
  const { id } = await stack.api.waitFor(sql);
  expect((await stack.api.verdict(id, verdict)).status).toBe(200);
  await running;
  await client.end();
  return id;
}

const typesOf = (id: string) => receiver.taken.filter((one) => one.requestId === id).map(({ type }) => type);
const WHOLE = ['request.opened', 'request.approved', 'request.released', 'request.ended'];

it('tells of a statement from psql to its result, also by two processes, each message once', async () => {
  const second = await stack.second();
  const approved = await held('CREATE TABLE hooked (a int)', 'approve');
  const denied = await held('DROP TABLE hooked', 'deny');
  await until(() => typesOf(approved).length + typesOf(denied).length === 6);
  expect(typesOf(approved)).toEqual(WHOLE);
  expect(typesOf(denied)).toEqual(['request.opened', 'request.denied']);
  expect(receiver.calls).toHaveLength(6);
  expect(receiver.refused).toEqual([]);
  const ended = receiver.taken.find(({ type }) => type === 'request.ended');
  expect(ended?.payload.data).toMatchObject({
    agent: 'agent',
    state: 'executed',
    outcome: { tag: 'CREATE TABLE' },
  });
  expect(receiver.calls.map(({ body }) => body).join()).not.toContain('hooked');
  const metrics = (url: string) => fetch(`${url}/metrics`).then((response) => response.text());
  const sent = [await metrics(stack.httpUrl), await metrics(second.httpUrl)].map((text) =>
    Number(
      /countersign_webhook_attempts_total\{webhook="pager",result="delivered"\} (\d+)/.exec(text)?.[1] ?? 0,
    ),
  );
  expect(sent.reduce((sum, one) => sum + one, 0)).toBe(6);
}, 60_000);

it('keeps what was given up over a restart, lists it, and sends it again when told to', async () => {
  receiver.script = () => 500;
  const id = await held('CREATE TABLE given_up (a int)', 'approve');
  const { path, env } = stackFile(stack, directory);
  const listed = async () => (await cli(['webhooks', 'list', '--config', path], env)).stdout;
  for (let i = 0; i < 200 && (await listed()).split('\n').length < 5; i++)
    await new Promise((done) => setTimeout(done, 50));
  await stack.restart();
  const lines = (await listed()).trim().split('\n');
  expect(lines).toHaveLength(4);
  expect(lines.at(-1)).toMatch(
    new RegExp(`^msg_[0-9a-f]{32} pager request.opened ${id} dead .* 2 attempts: 500$`),
  );
  receiver.script = () => 204;
  const [message = ''] = lines.at(-1)?.split(' ') ?? [];
  expect(await cli(['webhooks', 'retry', message, '--config', path], env)).toMatchObject({
    code: 0,
    stdout: '1 to be sent again\n',
  });
  await until(() => typesOf(id).length === 1);
  expect(await cli(['webhooks', 'retry', '--dead', '--config', path], env)).toMatchObject({
    stdout: '3 to be sent again\n',
  });
  await until(() => typesOf(id).length === 4);
  expect(await listed()).toBe('No messages.\n');
  expect(await cli(['webhooks', 'retry', message, '--config', path], env)).toMatchObject({ code: 1 });
  expect(await cli(['webhooks', 'retry', '--config', path], env)).toMatchObject({ code: 2 });
  expect((await cli(['webhooks', 'secret'])).stdout).toMatch(/^whsec_[A-Za-z0-9+/]{43}=\n$/);
}, 60_000);
