/** postgres.js: pipelines by itself, prepares everything, reads array types from the catalog when it connects. */
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import postgres from 'postgres';
import { CONNECTION, COPY_ROWS, failsWith, feature, productNames, TAG } from './report.mjs';

const notices = [];
const { user: username, ...connection } = CONNECTION;
const sql = postgres({
  ...connection,
  username,
  max: 1,
  onnotice: ({ message }) => notices.push(message),
});

const backendPid = async () => (await sql`SELECT pg_backend_pid() AS pid`)[0].pid;
const pid = await backendPid();
const goesOn = async () => assert.equal(await backendPid(), pid);
const work = sql(`${TAG}_work`);
const namesOf = (rows) => rows.map(({ name }) => name);

await feature('read', async () => {
  const [one, ten] = await Promise.all([
    sql`SELECT name FROM products WHERE id = ${17}`,
    sql`SELECT name FROM products WHERE id <= 10 ORDER BY id`,
  ]);
  assert.deepEqual(namesOf(one), ['Product 17']);
  assert.deepEqual(namesOf(ten), productNames(10));
});

await feature('write', async () => {
  const added = [
    { id: 1, label: 'new' },
    { id: 2, label: 'new' },
  ];
  assert.equal((await sql`INSERT INTO ${work} ${sql(added)}`).count, 2);
  assert.equal((await sql`UPDATE ${work} SET label = ${'written'} WHERE id = ${1}`).count, 1);
  assert.equal((await sql`DELETE FROM ${work} WHERE id = ${2}`).count, 1);
});

await feature('prepared', async () => {
  await Promise.all([11, 12, 13].map((id) => sql`INSERT INTO ${work} VALUES (${id}, ${'prepared'})`));
});

await feature('transaction', async () => {
  await sql.begin((tx) => tx`INSERT INTO ${work} VALUES (21, 'committed')`);
  const undone = sql.begin(async (tx) => {
    await tx`INSERT INTO ${work} VALUES (22, 'rolled back')`;
    throw new Error('undone');
  });
  await assert.rejects(undone, { message: 'undone' });
  const failing = sql.begin(async (tx) => {
    await tx`INSERT INTO ${work} VALUES (23, 'failed')`;
    await failsWith('22012', () => tx`SELECT 1/0`);
    await failsWith('25P02', () => tx`SELECT 1`);
    throw new Error('given up');
  });
  await assert.rejects(failing);
  await sql.begin(async (tx) => {
    await assert.rejects(tx.savepoint((sp) => sp`SELECT 1/0`));
    assert.equal((await tx`SELECT 1 AS one`)[0].one, 1);
  });
  await goesOn();
});

await feature('cursor', async () => {
  const read = [];
  await sql`SELECT name FROM products ORDER BY id`.cursor(100, (rows) => {
    assert.equal(rows.length, 100);
    read.push(...namesOf(rows));
  });
  assert.deepEqual(read, productNames(300));
  for await (const rows of sql`SELECT name FROM products ORDER BY id`.cursor(5)) {
    assert.deepEqual(namesOf(rows), productNames(5));
    break;
  }
  await goesOn();
});

await feature('introspect', async () => {
  // Array types come from its look into the catalog when it connected.
  assert.deepEqual((await sql`SELECT ARRAY['a', 'b']::varchar[] AS list`)[0].list, ['a', 'b']);
  const described = await sql`SELECT id, name FROM products WHERE id = ${1}`.describe();
  assert.deepEqual(
    described.columns.map(({ name }) => name),
    ['id', 'name'],
  );
  await goesOn();
});

await feature('copy-in', async () => {
  const stream = await sql`COPY ${sql(`${TAG}_copy`)} FROM STDIN`.writable();
  await pipeline(Readable.from([COPY_ROWS]), stream);
  await goesOn();
});

await feature('copy-out', async () => {
  const stream = await sql`COPY ${sql(`${TAG}_copy`)} TO STDOUT`.readable();
  let copied = '';
  for await (const chunk of stream) copied += chunk;
  assert.equal(copied, COPY_ROWS);
  await goesOn();
});

await feature('cancel', async () => {
  const sleeping = sql`SELECT pg_sleep(10)`;
  const failed = failsWith('57014', () => sleeping.execute());
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  await sleeping.cancel();
  await failed;
  await goesOn();
});

await feature('approved', async () => {
  await sql`CREATE TABLE ${sql(`${TAG}_approved`)} (id integer)`;
  assert.ok(
    notices.some((message) => message.includes('countersign: held')),
    String(notices),
  );
  await goesOn();
});

await feature('denied', async () => {
  // What was sent behind it in the same pipeline runs all the same.
  const [, after] = await Promise.all([
    failsWith('42501', () => sql`CREATE TABLE ${sql(`${TAG}_denied`)} (id integer)`),
    sql`SELECT name FROM products WHERE id = ${17}`,
  ]);
  assert.deepEqual(namesOf(after), ['Product 17']);
  await goesOn();
});

await feature('timed-out', async () => {
  await failsWith('57014', () => sql`CREATE TABLE ${sql(`${TAG}_timed_out`)} (id integer)`);
  await goesOn();
});

await sql.end();
