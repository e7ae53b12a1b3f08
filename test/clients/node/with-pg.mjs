/** node-postgres; with its cursor and its copy streams where these are installed. */
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { CONNECTION, COPY_ROWS, failsWith, feature, productNames, TAG } from './report.mjs';

const extended = process.argv.includes('--extended');
const client = new pg.Client(CONNECTION);
const notices = [];
client.on('notice', ({ message }) => notices.push(message));
await client.connect();

const backendPid = async () => (await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;
const pid = await backendPid();
const goesOn = async () => assert.equal(await backendPid(), pid);
const names = async (...query) => (await client.query(...query)).rows.map(({ name }) => name);

await feature('read', async () => {
  assert.deepEqual(await names('SELECT name FROM products WHERE id = $1', [17]), ['Product 17']);
  assert.deepEqual(await names('SELECT name FROM products WHERE id <= 10 ORDER BY id'), productNames(10));
});

await feature('write', async () => {
  const insert = `INSERT INTO ${TAG}_work VALUES ($1, $2), ($3, $4)`;
  assert.equal((await client.query(insert, [1, 'new', 2, 'new'])).rowCount, 2);
  await client.query(`UPDATE ${TAG}_work SET label = $1 WHERE id = $2`, ['written', 1]);
  assert.equal((await client.query(`DELETE FROM ${TAG}_work WHERE id = 2`)).rowCount, 1);
});

await feature('prepared', async () => {
  const text = `INSERT INTO ${TAG}_work VALUES ($1, $2)`;
  // The client sends them one after another, whenever they are asked for.
  await Promise.all([11, 12, 13].map((id) => client.query({ name: 'add', text, values: [id, 'prepared'] })));
});

await feature('transaction', async () => {
  await client.query(`BEGIN; INSERT INTO ${TAG}_work VALUES (21, 'committed'); COMMIT`);
  await client.query('BEGIN');
  await client.query(`INSERT INTO ${TAG}_work VALUES ($1, $2)`, [22, 'rolled back']);
  await client.query('ROLLBACK');
  await client.query('BEGIN');
  await client.query(`INSERT INTO ${TAG}_work VALUES ($1, $2)`, [23, 'failed']);
  await failsWith('22012', () => client.query('SELECT 1/0'));
  await failsWith('25P02', () => client.query('SELECT 1'));
  await client.query('ROLLBACK');
  await goesOn();
});

await feature('cursor', extended ? driversCursor : sqlCursor);

async function driversCursor() {
  const { default: Cursor } = await import('pg-cursor');
  const { default: QueryStream } = await import('pg-query-stream');
  const cursor = client.query(new Cursor('SELECT name FROM products WHERE id > $1 ORDER BY id', [0]));
  const read = [];
  for (let rows = await cursor.read(100); rows.length > 0; rows = await cursor.read(100)) read.push(...rows);
  assert.deepEqual(
    read.map(({ name }) => name),
    productNames(300),
  );
  await cursor.close();
  const unfinished = client.query(new Cursor('SELECT name FROM products ORDER BY id'));
  assert.equal((await unfinished.read(5)).length, 5);
  await unfinished.close();
  const streamed = [];
  const stream = new QueryStream('SELECT name FROM products ORDER BY id', [], { batchSize: 100 });
  for await (const { name } of client.query(stream)) streamed.push(name);
  assert.deepEqual(streamed, productNames(300));
  await goesOn();
  return 'pg-cursor and pg-query-stream';
}

async function sqlCursor() {
  await client.query('BEGIN');
  await client.query('DECLARE all_products CURSOR FOR SELECT name FROM products ORDER BY id');
  const read = [];
  for (let piece = 0; piece < 3; piece += 1) read.push(...(await names('FETCH 100 FROM all_products')));
  assert.deepEqual(read, productNames(300));
  await client.query('COMMIT');
  return 'DECLARE and FETCH';
}

if (extended) {
  const { from, to } = await import('pg-copy-streams');
  await feature('copy-in', async () => {
    await pipeline(Readable.from([COPY_ROWS]), client.query(from(`COPY ${TAG}_copy FROM STDIN`)));
    await goesOn();
  });
  await feature('copy-out', async () => {
    let copied = '';
    for await (const chunk of client.query(to(`COPY ${TAG}_copy TO STDOUT`))) copied += chunk;
    assert.equal(copied, COPY_ROWS);
    await goesOn();
  });
}

await feature('cancel', async () => {
  const sleeping = new pg.Query('SELECT pg_sleep(10)');
  const failed = failsWith(
    '57014',
    () =>
      new Promise((resolve, reject) => {
        sleeping.callback = (error) => (error ? reject(error) : resolve());
      }),
  );
  client.query(sleeping);
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  new pg.Client(CONNECTION).cancel(client, sleeping);
  await failed;
  await goesOn();
});

await feature('approved', async () => {
  await client.query(`CREATE TABLE ${TAG}_approved (id integer)`);
  assert.ok(
    notices.some((message) => message.includes('countersign: held')),
    String(notices),
  );
  await goesOn();
});

await feature('denied', async () => {
  await failsWith('42501', () => client.query(`CREATE TABLE ${TAG}_denied (id integer)`));
  await goesOn();
});

await feature('timed-out', async () => {
  await failsWith('57014', () => client.query(`CREATE TABLE ${TAG}_timed_out (id integer)`));
  await goesOn();
});

await client.end();
