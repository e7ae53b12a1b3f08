import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Analyser, loadAnalyser } from '../../src/analyser/analyser.ts';
import { loadCatalog } from '../../src/catalog/load.ts';
import { readingJudgement } from '../../src/catalog/reading.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { analyse } from '../../src/statement/analyse.ts';
import type { Catalog } from '../../src/statement/catalog.ts';
import { createDatabase, superuser, type TestDatabase, withClient } from '../support/postgres.ts';

const SCHEMA = `
  CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer, status text, total integer);
  INSERT INTO orders SELECT i, i % 5000, 's' || i % 5, i FROM generate_series(1, 20000) i;
  CREATE TABLE items (order_id integer REFERENCES orders ON DELETE CASCADE ON UPDATE CASCADE, line integer);
  INSERT INTO items SELECT 1, i FROM generate_series(1, 5000) i;
  CREATE TABLE customers (id integer PRIMARY KEY, "Full Name" text);
  INSERT INTO customers SELECT i, 'name ' || i FROM generate_series(0, 4999) i;
  CREATE VIEW open_orders WITH (security_barrier) AS SELECT * FROM orders WHERE status = 's1' WITH CHECK OPTION;
  CREATE VIEW renamed (number, "Who", sum) AS SELECT id, customer_id, total FROM open_orders;
  CREATE VIEW summary AS
    SELECT o.id, c."Full Name" AS "Customer", o.status FROM orders o JOIN customers c ON c.id = o.customer_id;
  CREATE VIEW using_view AS SELECT * FROM orders JOIN (SELECT id AS customer_id, "Full Name" FROM customers) c USING (customer_id);
  CREATE VIEW stats AS SELECT status, count(*) AS n FROM summary GROUP BY status ORDER BY 2 DESC;
  CREATE VIEW latest AS SELECT * FROM orders ORDER BY id DESC LIMIT 10;
  CREATE VIEW union_view AS SELECT id FROM orders WHERE id = 1 UNION ALL SELECT id FROM customers WHERE id BETWEEN 1 AND 5;
  CREATE VIEW numbers AS SELECT n FROM generate_series(1, 10) n;
  CREATE FUNCTION secret() RETURNS integer LANGUAGE plpgsql AS 'BEGIN DELETE FROM items; RETURN 1; END';
  CREATE VIEW over_function AS SELECT id, secret() FROM orders;
  CREATE FUNCTION log_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM items; RETURN NEW; END';
  CREATE TABLE watched (id integer PRIMARY KEY, x integer);
  CREATE TRIGGER t BEFORE UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION log_it();
  CREATE VIEW watched_view AS SELECT * FROM watched;
  CREATE SCHEMA other;
  CREATE TABLE other.orders (id integer);
  ANALYZE;`;

let database: TestDatabase;
let analyser: Analyser;
let catalog: Catalog;
beforeAll(async () => {
  analyser = await loadAnalyser(DEFAULT_LIMITS);
  database = await createDatabase('views');
  await database.query(SCHEMA);
  const judgement = readingJudgement(analyser, DEFAULT_LIMITS);
  catalog = await withClient(superuser(database.name), (client) => loadCatalog(client, judgement));
});
afterAll(async () => {
  await analyser?.close();
  await database?.drop();
});

/** Seen from another search_path than that of the views' maker. */
function judged(sql: string) {
  const scope = { searchPath: ['other', 'public'], tempPossible: false };
  return analyse(analyser.parse(Buffer.from(sql)), catalog, scope, DEFAULT_LIMITS);
}

describe('views as the server prints them', () => {
  test.each([
    ['SELECT * FROM open_orders WHERE id = 5', 1],
    ['SELECT sum FROM renamed WHERE number = 5', 1],
    ['SELECT "Who" FROM renamed r WHERE r.number IN (5, 6)', 2],
    ['SELECT * FROM summary WHERE id = 77', 1],
    ['SELECT * FROM using_view WHERE id = 77', 1],
    ['SELECT * FROM stats', 6],
    ["SELECT n FROM stats WHERE status = 's1'", 1],
    ['SELECT status, count(*) FROM summary GROUP BY 1', 6],
    ['SELECT * FROM latest', 10],
    ['SELECT * FROM latest WHERE id = 1', 1],
    ['SELECT * FROM union_view', 6],
    ['SELECT * FROM numbers', 10],
    ['SELECT s.* FROM numbers JOIN summary s ON s.id = numbers.n', 10],
  ])('%s', (sql, most) => {
    const { class: found, statements } = judged(sql);
    expect(found).toBe('read');
    expect(statements[0]?.rowBound).toBeLessThanOrEqual(most);
  });

  test.each([
    ['SELECT * FROM open_orders', 'export'],
    ['SELECT * FROM summary WHERE "Customer" > \'n\'', 'export'],
    ['SELECT id FROM over_function WHERE id = 1', 'opaque'],
    ['UPDATE open_orders SET total = 1 WHERE id = 3', 'write'],
    ['UPDATE renamed SET sum = 1 WHERE number = 3', 'write'],
    ["UPDATE open_orders SET total = 1 WHERE status = 's1'", 'bulk_write'],
    ['DELETE FROM renamed WHERE "Who" > 3', 'bulk_write'],
    ['UPDATE watched_view SET x = 1 WHERE id = 3', 'opaque'],
    ['INSERT INTO renamed VALUES (1, 2, 3)', 'write'],
    // A row of orders can have 5,000 items, which go with it.
    ['DELETE FROM renamed WHERE number = 1', 'bulk_write'],
    ['UPDATE renamed SET number = 7 WHERE number = 1', 'bulk_write'],
  ])('%s is %s', (sql, expected) => {
    expect(judged(sql).class).toBe(expected);
  });

  test('their queries are read once', () => {
    const view = catalog.relation('public', 'summary');
    expect(view?.viewQuery).not.toBeNull();
    expect(view?.viewQuery).toBe(view?.viewQuery);
    expect(catalog.relation('public', 'orders')?.viewQuery).toBeNull();
  });

  test('without a reader they are of any size', async () => {
    const plain = await withClient(superuser(database.name), (client) => loadCatalog(client));
    const scope = { searchPath: ['public'], tempPossible: false };
    const sql = Buffer.from('SELECT * FROM latest');
    expect(analyse(analyser.parse(sql), plain, scope, DEFAULT_LIMITS).class).toBe('export');
  });
});
