/** sequelize, with a pool of one connection. */
import assert from 'node:assert/strict';
import { DataTypes, Op, QueryTypes, Sequelize } from 'sequelize';
import { failsWith, feature, held, productNames, TAG, URL } from './report.mjs';

const db = new Sequelize(URL, { logging: false, pool: { min: 1, max: 1, idle: 600_000 } });
const options = { timestamps: false, freezeTableName: true };
const id = { type: DataTypes.INTEGER, primaryKey: true };
const Product = db.define('products', { id, name: DataTypes.TEXT }, options);
const Work = db.define(`${TAG}_work`, { id, label: DataTypes.TEXT }, options);

const select = (text, more) => db.query(text, { type: QueryTypes.SELECT, ...more });
const backendPid = async () => (await select('SELECT pg_backend_pid() AS pid'))[0].pid;
const pid = await backendPid();
const goesOn = async () => assert.equal(await backendPid(), pid);

await feature('read', async () => {
  assert.equal((await Product.findByPk(17)).name, 'Product 17');
  const bound = await select('SELECT name FROM products WHERE id = $1', { bind: [17] });
  assert.deepEqual(bound, [{ name: 'Product 17' }]);
  const ten = await Product.findAll({ where: { id: { [Op.lte]: 10 } }, order: ['id'] });
  assert.deepEqual(
    ten.map(({ name }) => name),
    productNames(10),
  );
});

await feature('write', async () => {
  await Work.bulkCreate([
    { id: 1, label: 'new' },
    { id: 2, label: 'new' },
  ]);
  await Work.update({ label: 'written' }, { where: { id: 1 } });
  assert.equal(await Work.destroy({ where: { id: 2 } }), 1);
});

await feature('transaction', async () => {
  await db.transaction((transaction) => Work.create({ id: 21, label: 'committed' }, { transaction }));
  const undone = await db.transaction();
  await Work.create({ id: 22, label: 'rolled back' }, { transaction: undone });
  await undone.rollback();
  const failing = await db.transaction({ isolationLevel: 'SERIALIZABLE' });
  await Work.create({ id: 23, label: 'failed' }, { transaction: failing });
  await failsWith('22012', () => select('SELECT 1/0', { transaction: failing }));
  await failsWith('25P02', () => select('SELECT 1', { transaction: failing }));
  await failing.rollback();
  await goesOn();
});

await feature('introspect', async () => {
  const look = db.getQueryInterface();
  assert.deepEqual(Object.keys(await look.describeTable('products')), ['id', 'name', 'price']);
  assert.ok((await look.showAllTables()).includes('products'));
  assert.equal(await look.tableExists('products'), true);
  await look.showIndex('products');
  await look.showAllSchemas();
  await look.getForeignKeyReferencesForTable('products');
  assert.ok((await db.databaseVersion()).length > 0);
  await goesOn();
});

const create = (suffix) =>
  db.getQueryInterface().createTable(`${TAG}_${suffix}`, { id: { type: DataTypes.INTEGER } });

await held(create, goesOn);

await db.close();
