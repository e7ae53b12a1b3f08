/** The MCP server for Postgres: a tool for reading, guarded by a read-only transaction that any COMMIT leaves. */
import assert from 'node:assert/strict';
import { startMcpServer } from './mcp-server.mjs';
import { feature, productNames, TAG, URL } from './report.mjs';

const server = await startMcpServer(URL);
const rows = async (sql) => JSON.parse(await server.query(sql));
const backendPid = async () => (await rows('SELECT pg_backend_pid() AS pid'))[0].pid;
const pid = await backendPid();
const goesOn = async () => assert.equal(await backendPid(), pid);

await feature('read', async () => {
  const { tools } = await server.call('tools/list');
  assert.deepEqual(
    tools.map(({ name }) => name),
    ['query'],
  );
  const ten = await rows('SELECT name FROM products WHERE id <= 10 ORDER BY id');
  assert.deepEqual(
    ten.map(({ name }) => name),
    productNames(10),
  );
  const write = `INSERT INTO ${TAG}_work VALUES (1, 'new')`;
  await assert.rejects(server.query(write), /cannot execute INSERT in a read-only transaction/);
  await goesOn();
});

await feature('introspect', async () => {
  const { resources } = await server.call('resources/list');
  const { uri } = resources.find(({ name }) => name === '"products" database schema');
  const { contents } = await server.call('resources/read', { uri });
  assert.deepEqual(
    JSON.parse(contents[0].text)
      .map(({ column_name: name }) => name)
      .sort(),
    ['id', 'name', 'price'],
  );
  await goesOn();
});

const create = (suffix) => server.query(`COMMIT; CREATE TABLE ${TAG}_${suffix} (id integer)`);

await feature('approved', async () => {
  await create('approved');
  await goesOn();
});

await feature('denied', async () => {
  await assert.rejects(create('denied'), /countersign: denied by approver/);
  await goesOn();
  return 'the tool passes on the message, not the SQLSTATE';
});

await feature('timed-out', async () => {
  await assert.rejects(create('timed_out'), /countersign: no answer yet/);
  await goesOn();
  return 'the tool passes on the message, not the SQLSTATE';
});

server.stop();
