/** drizzle over node-postgres, whose pool would throw a connection away after an error. */
import assert from 'node:assert/strict';
import { asc, eq, lte, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { integer, pgTable, text } from 'drizzle-orm/pg-core';
import pg from 'pg';
import { CONNECTION, failsWith, feature, held, productNames, TAG } from './report.mjs';

const client = new pg.Client(CONNECTION);
await client.connect();
const products = pgTable('products', { id: integer().primaryKey(), name: text() });
const work = pgTable(`${TAG}_work`, { id: integer().primaryKey(), label: text() });
const db = drizzle({ client, schema: { products, work } });

const backendPid = async () => (await db.execute(sql`SELECT pg_backend_pid() AS pid`)).rows[0].pid;
const pid = await backendPid();
const goesOn = async () => assert.equal(await backendPid(), pid);

await feature('read', async () => {
  const one = await db.query.products.findFirst({ where: eq(products.id, 17) });
  assert.equal(one.name, 'Product 17');
  const ten = await db.select().from(products).where(lte(products.id, 10)).orderBy(asc(products.id));
  assert.deepEqual(
    ten.map(({ name }) => name),
    productNames(10),
  );
});

await feature('write', async () => {
  const added = await db
    .insert(work)
    .values([
      { id: 1, label: 'new' },
      { id: 2, label: 'new' },
    ])
    .returning();
  assert.equal(added.length, 2);
  await db.update(work).set({ label: 'written' }).where(eq(work.id, 1));
  assert.equal((await db.delete(work).where(eq(work.id, 2))).rowCount, 1);
});

await feature('prepared', async () => {
  const add = db
    .insert(work)
    .values({ id: sql.placeholder('id'), label: 'prepared' })
    .prepare('add');
  for (const id of [11, 12, 13]) await add.execute({ id });
});

await feature('transaction', async () => {
  await db.transaction((tx) => tx.insert(work).values({ id: 21, label: 'committed' }));
  const undone = db.transaction(async (tx) => {
    await tx.insert(work).values({ id: 22, label: 'rolled back' });
    tx.rollback();
  });
  await assert.rejects(undone);
  const failing = db.transaction(async (tx) => {
    await tx.insert(work).values({ id: 23, label: 'failed' });
    await failsWith('22012', () => tx.execute(sql`SELECT 1/0`));
    await failsWith('25P02', () => tx.execute(sql`SELECT 1`));
    tx.rollback();
  });
  await assert.rejects(failing);
  await db.transaction(async (tx) => {
    await assert.rejects(tx.transaction((nested) => nested.execute(sql`SELECT 1/0`)));
    await tx.execute(sql`SELECT 1`);
  });
  await goesOn();
});

const create = (suffix) => db.execute(sql`CREATE TABLE ${sql.identifier(`${TAG}_${suffix}`)} (id integer)`);

await held(create, goesOn);

await client.end();
