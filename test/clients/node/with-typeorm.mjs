/** typeorm, with a pool of one connection; entities by schema, without decorators. */
import assert from 'node:assert/strict';
import { DataSource, EntitySchema, LessThanOrEqual, Table } from 'typeorm';
import { CONNECTION, failsWith, feature, held, productNames, TAG } from './report.mjs';

const Product = new EntitySchema({
  name: 'Product',
  tableName: 'products',
  columns: { id: { type: 'integer', primary: true }, name: { type: 'text' } },
});
const Work = new EntitySchema({
  name: 'Work',
  tableName: `${TAG}_work`,
  columns: { id: { type: 'integer', primary: true }, label: { type: 'text' } },
});
const { user: username, ...connection } = CONNECTION;
const db = new DataSource({
  type: 'postgres',
  ...connection,
  username,
  entities: [Product, Work],
  extra: { max: 1 },
});
await db.initialize();
const work = db.getRepository(Work);

const backendPid = async () => (await db.query('SELECT pg_backend_pid() AS pid'))[0].pid;
const pid = await backendPid();
const goesOn = async () => assert.equal(await backendPid(), pid);

await feature('read', async () => {
  const products = db.getRepository(Product);
  assert.equal((await products.findOneBy({ id: 17 })).name, 'Product 17');
  const ten = await products.find({ where: { id: LessThanOrEqual(10) }, order: { id: 'ASC' } });
  assert.deepEqual(
    ten.map(({ name }) => name),
    productNames(10),
  );
});

await feature('write', async () => {
  await work.insert([
    { id: 1, label: 'new' },
    { id: 2, label: 'new' },
  ]);
  await work.save({ id: 1, label: 'written' });
  assert.equal((await work.delete({ id: 2 })).affected, 1);
});

async function withRunner(use) {
  const runner = db.createQueryRunner();
  try {
    return await use(runner);
  } finally {
    await runner.release();
  }
}

await feature('transaction', async () => {
  await db.transaction((manager) => manager.insert(Work, { id: 21, label: 'committed' }));
  await withRunner(async (runner) => {
    await runner.startTransaction();
    await runner.manager.insert(Work, { id: 22, label: 'rolled back' });
    await runner.rollbackTransaction();
    await runner.startTransaction('SERIALIZABLE');
    await runner.manager.insert(Work, { id: 23, label: 'failed' });
    await failsWith('22012', () => runner.query('SELECT 1/0'));
    await failsWith('25P02', () => runner.query('SELECT 1'));
    await runner.rollbackTransaction();
  });
  await goesOn();
});

await feature('cursor', async () => {
  const names = await withRunner(async (runner) => {
    const read = [];
    for await (const { name } of await runner.stream('SELECT name FROM products ORDER BY id'))
      read.push(name);
    return read;
  });
  assert.deepEqual(names, productNames(300));
  await goesOn();
});

await feature('introspect', async () => {
  await withRunner(async (runner) => {
    const table = await runner.getTable('products');
    assert.deepEqual(
      table.columns.map(({ name }) => name),
      ['id', 'name', 'price'],
    );
    assert.equal(await runner.hasTable('products'), true);
    assert.equal(await runner.hasColumn('products', 'price'), true);
    assert.ok((await runner.getTables()).length > 2);
  });
  // Only what it would do: this looks at everything and changes nothing.
  await db.driver.createSchemaBuilder().log();
  await goesOn();
});

const create = (suffix) =>
  withRunner((runner) =>
    runner.createTable(new Table({ name: `${TAG}_${suffix}`, columns: [{ name: 'id', type: 'integer' }] })),
  );

await held(create, goesOn);

await db.destroy();
