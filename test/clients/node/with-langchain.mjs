/** LangChain's SqlDatabase, what its SQL agents use: statements as text over typeorm, and its description of tables. */
import assert from 'node:assert/strict';
import { SqlDatabase } from 'langchain/sql_db';
import { DataSource } from 'typeorm';
import { CONNECTION, failsWith, feature, held, productNames, TAG } from './report.mjs';

const { user: username, ...connection } = CONNECTION;
const appDataSource = new DataSource({ type: 'postgres', ...connection, username, extra: { max: 1 } });
const db = await SqlDatabase.fromDataSourceParams({ appDataSource });

const run = async (sql) => JSON.parse(await db.run(sql));
const backendPid = async () => (await run('SELECT pg_backend_pid() AS pid'))[0].pid;
const pid = await backendPid();
const goesOn = async () => assert.equal(await backendPid(), pid);

await feature('read', async () => {
  assert.deepEqual(await run('SELECT name FROM products WHERE id = 17'), [{ name: 'Product 17' }]);
  const ten = await run('SELECT name FROM products WHERE id <= 10 ORDER BY id');
  assert.deepEqual(
    ten.map(({ name }) => name),
    productNames(10),
  );
});

await feature('write', async () => {
  await db.run(`INSERT INTO ${TAG}_work VALUES (1, 'new'), (2, 'new')`);
  await db.run(`UPDATE ${TAG}_work SET label = 'written' WHERE id = 1`);
  await db.run(`DELETE FROM ${TAG}_work WHERE id = 2`);
});

await feature('transaction', async () => {
  await db.run(`BEGIN; INSERT INTO ${TAG}_work VALUES (21, 'committed'); COMMIT`);
  await db.run(`BEGIN; INSERT INTO ${TAG}_work VALUES (22, 'rolled back'); ROLLBACK`);
  await failsWith('22012', () => db.run(`BEGIN; INSERT INTO ${TAG}_work VALUES (23, 'failed'); SELECT 1/0`));
  await failsWith('25P02', () => db.run('SELECT 1'));
  await db.run('ROLLBACK');
  await goesOn();
});

await feature('introspect', async () => {
  const info = await db.getTableInfo(['products']);
  assert.match(info, /CREATE TABLE "public"\."products"/);
  assert.match(info, /Product 1/);
  assert.ok(db.allTables.some(({ tableName }) => tableName === 'products'));
  await goesOn();
});

await held((suffix) => db.run(`CREATE TABLE ${TAG}_${suffix} (id integer)`), goesOn);

await appDataSource.destroy();
