/** kysely over node-postgres, with a pool of one connection. */
import assert from 'node:assert/strict';
import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import Cursor from 'pg-cursor';
import { CONNECTION, failsWith, feature, held, productNames, TAG } from './report.mjs';

const db = new Kysely({
  dialect: new PostgresDialect({ pool: new pg.Pool({ ...CONNECTION, max: 1 }), cursor: Cursor }),
});
const work = `${TAG}_work`;

const backendPid = async () => (await sql`SELECT pg_backend_pid() AS pid`.execute(db)).rows[0].pid;
const pid = await backendPid();
const goesOn = async () => assert.equal(await backendPid(), pid);

await feature('read', async () => {
  const one = await db.selectFrom('products').select('name').where('id', '=', 17).executeTakeFirst();
  assert.equal(one.name, 'Product 17');
  const ten = await db.selectFrom('products').select('name').where('id', '<=', 10).orderBy('id').execute();
  assert.deepEqual(
    ten.map(({ name }) => name),
    productNames(10),
  );
});

await feature('write', async () => {
  const added = [
    { id: 1, label: 'new' },
    { id: 2, label: 'new' },
  ];
  await db.insertInto(work).values(added).execute();
  await db.updateTable(work).set({ label: 'written' }).where('id', '=', 1).execute();
  const deleted = await db.deleteFrom(work).where('id', '=', 2).executeTakeFirst();
  assert.equal(deleted.numDeletedRows, 1n);
});

await feature('transaction', async () => {
  await db
    .transaction()
    .execute((tx) => tx.insertInto(work).values({ id: 21, label: 'committed' }).execute());
  const undone = await db.startTransaction().execute();
  await undone.insertInto(work).values({ id: 22, label: 'rolled back' }).execute();
  await undone.rollback().execute();
  const failing = await db.startTransaction().setIsolationLevel('serializable').execute();
  await failing.insertInto(work).values({ id: 23, label: 'failed' }).execute();
  await failsWith('22012', () => sql`SELECT 1/0`.execute(failing));
  await failsWith('25P02', () => sql`SELECT 1`.execute(failing));
  await failing.rollback().execute();
  await goesOn();
});

await feature('cursor', async () => {
  const names = [];
  for await (const { name } of db.selectFrom('products').select('name').orderBy('id').stream(100))
    names.push(name);
  assert.deepEqual(names, productNames(300));
  await goesOn();
});

await feature('introspect', async () => {
  const tables = await db.introspection.getTables();
  const products = tables.find(({ name }) => name === 'products');
  assert.deepEqual(
    products.columns.map(({ name }) => name),
    ['id', 'name', 'price'],
  );
  await db.introspection.getSchemas();
  await goesOn();
});

const create = (suffix) => db.schema.createTable(`${TAG}_${suffix}`).addColumn('id', 'integer').execute();

await held(create, goesOn);

await db.destroy();
