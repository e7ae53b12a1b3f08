import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { RequestJson } from '../../src/channels/api/json.ts';
import { type Stack, startStack } from '../support/stack.ts';

let stack: Stack;
let client: pg.Client;
beforeAll(async () => {
  stack = await startStack();
  client = new pg.Client({ connectionString: stack.agentUrl });
  await client.connect();
});
afterAll(async () => {
  await client?.end();
  await stack?.close();
});

async function asked(sql: string, text = sql): Promise<RequestJson> {
  const running = client.query(sql).catch(() => undefined);
  const { id } = await stack.api.waitFor(text);
  const answer = await fetch(`${stack.httpUrl}/api/requests/${id}`, {
    headers: { authorization: `Bearer ${stack.approverToken}` },
  });
  const request = (await answer.json()) as RequestJson;
  await stack.api.verdict(id, 'deny');
  await running;
  return request;
}

it('x', async () => {
  const request = await asked(
    "DROP TABLE customers CASCADE /*task='clean%20up',reason='it\\'s old'*/",
    'DROP TABLE customers',
  );
  console.log(JSON.stringify(request.facts, null, 1));
  expect(request.context).not.toBeNull();
});
