import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { catalogFingerprint } from '../../src/catalog/change-check.ts';
import { tagsIn } from '../../src/catalog/decode-rows.ts';
import { loadCatalog } from '../../src/catalog/load.ts';
import type { TagRule } from '../../src/catalog/tags.ts';
import type { Catalog } from '../../src/statement/catalog.ts';
import { analysed } from '../statement/support.ts';
import { createDatabase, superuser, type TestDatabase, withClient } from '../support/postgres.ts';

const SCHEMA = `
CREATE TABLE customers (id integer PRIMARY KEY, email text, phone text, note text);
COMMENT ON TABLE customers IS 'People. countersign:people, countersign:eu';
COMMENT ON COLUMN customers.email IS 'countersign:pii countersign:contact.mail.';
CREATE TABLE orders (id integer PRIMARY KEY, customer integer, total numeric, card text);
CREATE TABLE plain (id integer PRIMARY KEY);
COMMENT ON TABLE plain IS 'mentions xcountersign:no and countersign: alone';
CREATE TABLE gone (id integer, secret text);
COMMENT ON COLUMN gone.secret IS 'countersign:pii';
ALTER TABLE gone DROP COLUMN secret;

CREATE TABLE events (at date, ip text) PARTITION BY RANGE (at);
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
COMMENT ON COLUMN events.ip IS 'countersign:pii';
CREATE TABLE events_old PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2026-01-01');
COMMENT ON TABLE events_old IS 'countersign:archive';

CREATE VIEW emails AS SELECT email FROM customers;
CREATE VIEW notes AS SELECT note FROM plain, customers WHERE false;
CREATE VIEW ids AS SELECT id FROM orders;
CREATE VIEW cards AS SELECT card FROM orders;
CREATE VIEW twice AS SELECT c.card FROM cards c;
CREATE VIEW rows_of AS SELECT o AS whole, o.id FROM orders o;
CREATE MATERIALIZED VIEW kept AS SELECT card FROM orders WITH NO DATA;
`;

const RULES: readonly TagRule[] = [
  { relation: 'public.orders', column: 'car?', tags: ['pci'] },
  { relation: 'public.cust*', column: 'email', tags: ['by-configuration'] },
];

let database: TestDatabase;
const load = (rules: readonly TagRule[] = RULES): Promise<Catalog> =>
  withClient(superuser(database.name), (client) => loadCatalog(client, undefined, rules));
let catalog: Catalog;

beforeAll(async () => {
  database = await createDatabase('cat_tags');
  await database.query(SCHEMA);
  catalog = await load();
});
afterAll(async () => {
  await database?.drop();
});

const tagsOf = (sql: string, by = catalog) => analysed(sql, by).statements.at(-1)?.tags;

test.each<[string, string[]]>([
  ['SELECT id FROM customers', ['eu', 'people']],
  ['SELECT email FROM customers', ['by-configuration', 'contact.mail', 'eu', 'people', 'pii']],
  ['SELECT * FROM customers', ['by-configuration', 'contact.mail', 'eu', 'people', 'pii']],
  [
    'SELECT 1 FROM customers c WHERE c.email LIKE $1',
    ['by-configuration', 'contact.mail', 'eu', 'people', 'pii'],
  ],
  [
    'UPDATE customers SET email = $1 WHERE id = 1',
    ['by-configuration', 'contact.mail', 'eu', 'people', 'pii'],
  ],
  ['UPDATE customers SET note = $1 WHERE id = 1', ['eu', 'people']],
  ['SELECT total FROM orders', []],
  ['SELECT card FROM orders', ['pci']],
  ['SELECT o FROM orders o', ['pci']],
  ['SELECT * FROM plain', []],
  ['SELECT * FROM gone', []],
  ['SELECT ip FROM events_2026', ['archive', 'pii'].slice(1)],
  ['SELECT ip FROM events', ['archive', 'pii']],
  ['SELECT at FROM events_2026', []],
  ['SELECT * FROM emails', ['by-configuration', 'contact.mail', 'eu', 'people', 'pii']],
  ['SELECT * FROM notes', ['eu', 'people']],
  ['SELECT * FROM ids', []],
  ['SELECT * FROM twice', ['pci']],
  ['SELECT id FROM rows_of', ['pci']],
  ['SELECT * FROM kept', ['pci']],
  ['COPY customers (id) TO STDOUT', ['eu', 'people']],
  ['EXPLAIN SELECT card FROM orders', ['pci']],
  ['PREPARE p AS SELECT card FROM orders', ['pci']],
  ['WITH x AS (SELECT card FROM orders) SELECT count(*) FROM x', ['pci']],
])('%s: %j', (sql, expected) => {
  expect(tagsOf(sql)).toEqual(expected);
});

describe('where the tags come from', () => {
  test('a comment that goes takes no tag of the configuration with it, and is seen from outside', async () => {
    const fingerprint = () => withClient(superuser(database.name), (client) => catalogFingerprint(client));
    const before = await fingerprint();
    await database.query('COMMENT ON COLUMN customers.email IS NULL');
    expect(await fingerprint()).not.toBe(before);
    const after = await load();
    expect(after.version).not.toBe(catalog.version);
    expect(tagsOf('SELECT email FROM customers', after)).toEqual(['by-configuration', 'eu', 'people']);
    expect(tagsOf('SELECT email FROM customers', await load([]))).toEqual(['eu', 'people']);
  });

  test('an agent cannot change one unseen', () => {
    const [statement] = analysed("COMMENT ON TABLE customers IS ''", catalog).statements;
    expect(statement?.class).toBe('ddl');
  });

  test('words of comments', () => {
    expect(
      tagsIn('countersign:a (countersign:b-c), countersign:d. xcountersign:e a.countersign:f countersign:'),
    ).toEqual(['a', 'b-c', 'd']);
  });
});
