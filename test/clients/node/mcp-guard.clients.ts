import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Stack, startStack } from '../../support/stack.ts';
import { exists, startApprover } from '../frame/approver.ts';
import { isPresent, runClient } from '../frame/run-client.ts';
import { nodeClients } from './clients.ts';

const mcp = nodeClients.find(({ command }) => command.includes('with-mcp.mjs'));
if (mcp === undefined) throw new Error('the MCP server is not among the clients');
const guard = { ...mcp, command: ['node', 'mcp-guard.mjs'] } as const;

let stack: Stack;
beforeAll(async () => {
  // The agent's role owns the schema that it works in.
  stack = await startStack({ sample: 'SELECT 1' });
});
afterAll(() => stack.close());

/** Its tool says that it is read-only; a COMMIT ends the transaction that makes it so. */
it.skipIf(!isPresent(mcp))(
  'the MCP server falls to COMMIT on Postgres itself, not through the proxy',
  async () => {
    const direct = await runClient(guard, stack.directUrl, 'direct');
    expect(direct.stdout, direct.stderr).toBe('done\n');
    expect(await exists(stack, 'direct_denied')).toBe(true);

    const approver = startApprover(stack);
    const proxied = await runClient(guard, stack.agentUrl, 'proxied');
    await approver.stop();
    expect(proxied.stdout, proxied.stderr).toMatch(/^countersign: denied by approver/);
    expect(await exists(stack, 'proxied_denied')).toBe(false);
  },
  120_000,
);
