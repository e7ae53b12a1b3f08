/** knex, with a pool of one connection. */
import assert from 'node:assert/strict';
import knex from 'knex';
import { CONNECTION, failsWith, feature, held, productNames, TAG } from './report.mjs';

const db = knex({ client: 'pg', connection: CONNECTION, pool: { min: 1, max: 1 } });
const work = `${TAG}_work`;

const backendPid = async () => (await db.raw('SELECT pg_backend_pid() AS pid')).rows[0].pid;
const pid = await backendPid();
const goesOn = async () => assert.equal(await backendPid(), pid);

await feature('read', async () => {
  assert.equal((await db('products').where({ id: 17 }).first()).name, 'Product 17');
  const ten = await db('products').where('id', '<=', 10).orderBy('id').pluck('name');
  assert.deepEqual(ten, productNames(10));
});

await feature('write', async () => {
  const added = [
    { id: 1, label: 'new' },
    { id: 2, label: 'new' },
  ];
  await db(work).insert(added);
  assert.equal(await db(work).where({ id: 1 }).update({ label: 'written' }), 1);
  assert.equal(await db(work).where({ id: 2 }).del(), 1);
});

await feature('transaction', async () => {
  await db.transaction((tx) => tx(work).insert({ id: 21, label: 'committed' }));
  const undone = await db.transaction();
  await undone(work).insert({ id: 22, label: 'rolled back' });
  await undone.rollback();
  const failing = await db.transaction();
  await failing(work).insert({ id: 23, label: 'failed' });
  await failsWith('22012', () => failing.raw('SELECT 1/0'));
  await failsWith('25P02', () => failing.raw('SELECT 1'));
  await failing.rollback();
  await db.transaction(async (tx) => {
    await assert.rejects(tx.transaction((nested) => nested.raw('SELECT 1/0')));
    await tx.raw('SELECT 1');
  });
  await goesOn();
});

await feature('cursor', async () => {
  const names = [];
  for await (const { name } of db('products').orderBy('id').stream({ batchSize: 100 })) names.push(name);
  assert.deepEqual(names, productNames(300));
  await goesOn();
});

await feature('introspect', async () => {
  assert.equal(await db.schema.hasTable('products'), true);
  assert.equal(await db.schema.hasColumn('products', 'price'), true);
  assert.deepEqual(Object.keys(await db('products').columnInfo()), ['id', 'name', 'price']);
  await goesOn();
});

const create = (suffix) => db.schema.createTable(`${TAG}_${suffix}`, (table) => table.integer('id'));

await held(create, goesOn);

await db.destroy();
