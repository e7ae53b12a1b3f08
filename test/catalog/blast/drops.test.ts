import { readFileSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { showText } from '../../../src/statement/visible.ts';
import { createDatabase, superuser, type TestDatabase } from '../../support/postgres.ts';
import { findingsOn, labelled, really } from './support.ts';

let database: TestDatabase;
let client: pg.Client;
beforeAll(async () => {
  database = await createDatabase('blast');
  await database.query(readFileSync(new URL('./shop.sql', import.meta.url), 'utf8'));
  client = new pg.Client(superuser(database.name));
  await client.connect();
});
afterAll(async () => {
  await client?.end();
  await database?.drop();
});

/** Without CASCADE; each is tried with and without it. */
const DROPS = [
  'DROP TABLE crm.customers',
  'DROP TABLE crm.orders',
  'DROP TABLE crm.customers, crm.orders',
  'DROP TABLE crm.customers, crm.orders, crm.lines, crm.notes',
  'DROP TABLE crm.lines',
  'DROP TABLE crm.events',
  'DROP TABLE crm.events_1',
  'DROP TABLE crm.base',
  'DROP TABLE crm.numbered',
  'DROP VIEW crm.good',
  'DROP VIEW crm.best, crm.good',
  'DROP MATERIALIZED VIEW crm.totals',
  'DROP INDEX crm.orders_customer',
  'DROP INDEX crm.customers_pkey',
  'DROP INDEX crm.events_id',
  'DROP INDEX crm.events_1_id_idx',
  'DROP SEQUENCE crm.numbers',
  'DROP SEQUENCE crm.customers_id_seq',
  'DROP TYPE crm.mood',
  'DROP DOMAIN crm.email',
  'DROP FUNCTION crm.half(numeric)',
  'DROP FUNCTION crm.half(int)',
  'DROP FUNCTION crm.touch',
  'DROP FUNCTION crm.name_of(crm.customers)',
  'DROP AGGREGATE crm.total(numeric)',
  'DROP SCHEMA crm',
  'DROP SCHEMA odd',
  'DROP TRIGGER touch ON crm.orders',
  'DROP POLICY own ON crm.customers',
  'DROP RULE keep ON crm.notes',
  'DROP RULE "_RETURN" ON crm.good',
  'DROP STATISTICS crm.both',
  'DROP EXTENSION plpgsql',
  'DROP LANGUAGE plpgsql',
  'ALTER TABLE crm.customers DROP COLUMN id',
  'ALTER TABLE crm.customers DROP COLUMN name',
  'ALTER TABLE crm.customers DROP COLUMN email',
  'ALTER TABLE crm.orders DROP COLUMN total',
  'ALTER TABLE crm.orders DROP COLUMN customer',
  'ALTER TABLE crm.customers DROP CONSTRAINT customers_pkey',
  'ALTER TABLE crm.events DROP COLUMN what',
  'ALTER TABLE crm.base DROP COLUMN a',
  'TRUNCATE crm.customers',
  'TRUNCATE crm.orders, crm.lines',
  'TRUNCATE crm.lines',
  'TRUNCATE crm.events',
];

describe('what a DROP takes with it is what the server says', () => {
  it.each(DROPS)('%s CASCADE', async (sql) => {
    const told = await really(client, `${sql} CASCADE`);
    const found = await findingsOn(client, `${sql} CASCADE`);
    const cascade = labelled(found, 'CASCADE');
    expect(labelled(found, 'Not known')).toEqual([]);
    expect(told.error?.code === '2BP01').toBe(found.some(({ label }) => label === 'Fails'));
    if (told.error !== null) return;
    const names = sql.startsWith('TRUNCATE') ? cascade.map((one) => one.replace(/^.*\./, '')) : cascade;
    expect([...names].sort()).toEqual(told.cascade.map(showText).sort());
    const locked = found.flatMap(({ label, text, items }) =>
      label === 'Empties'
        ? [...items, ...cascade]
        : label !== 'Lock'
          ? []
          : items.length > 0
            ? items
            : [text],
    );
    for (const table of told.locked.map(showText)) expect(locked.join('; ')).toContain(table);
    for (const item of labelled(found, 'Lock')) expect(told.locked.map(showText)).toContain(item);
  });

  it.each(DROPS)('%s', async (sql) => {
    const told = await really(client, sql);
    const found = await findingsOn(client, sql);
    const fails = labelled(found, 'Fails');
    expect(found.some(({ label }) => label === 'Fails')).toBe(told.error !== null);
    if (told.depends.length > 0) expect([...fails].sort()).toEqual(told.depends.map(showText).sort());
  });
});
