import { afterAll, beforeAll, expect, test } from 'vitest';
import { openKeys } from '../../src/signing/keys.ts';
import { withClient } from '../support/postgres.ts';
import { type Stack, startStack } from '../support/stack.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ limits: { checkpointMs: 300 } });
});
afterAll(() => stack.close());

const checkpoints = () => stack.audited('SELECT size::int, note FROM audit.checkpoints ORDER BY size');
const read = () =>
  withClient({ connectionString: stack.agentUrl }, (client) =>
    client.query('SELECT 1 FROM customers LIMIT 1'),
  );

test('after the key that signed the last checkpoint was revoked, the log still grows out of that one', async () => {
  await read();
  await expect.poll(async () => (await checkpoints()).length, { timeout: 30_000 }).toBeGreaterThan(0);
  const { directory } = stack.config.keys;
  if (directory === null) throw new Error('the keys of a stack are in a directory');
  const keys = await openKeys(directory);
  const now = Math.floor(Date.now() / 1000);
  await keys.directory?.revoke(keys.signer.kid, { at: now, reason: 'compromised' }, now);
  await stack.restart();
  const before = (await checkpoints()).length;
  await read();
  await expect.poll(async () => (await checkpoints()).length, { timeout: 30_000 }).toBeGreaterThan(before);
  const response = await fetch(`${stack.httpUrl}/readyz`);
  expect(await response.json()).toMatchObject({ checks: { checkpoints: 'ok' } });
}, 120_000);
