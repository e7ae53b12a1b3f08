import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadCatalog } from '../../src/catalog/load.ts';
import type { Catalog, Relation } from '../../src/statement/catalog.ts';
import { superuser, type TestDatabase, withClient } from '../support/postgres.ts';
import { createCorpusDatabase } from './corpus-database.ts';

let database: TestDatabase;
let catalog: Catalog;

beforeAll(async () => {
  database = await createCorpusDatabase('cat_corpus');
  catalog = await withClient(superuser(database.name), (client) => loadCatalog(client));
});
afterAll(async () => {
  await database?.drop();
});

function relation(schema: string, name: string): Relation {
  const found = catalog.relation(schema, name);
  if (found === undefined) throw new Error(`${schema}.${name} is not in the catalog`);
  return found;
}

const NONE = { read: [], insert: [], update: [], delete: [] };

describe('ordinary tables', () => {
  test('are free of effects, with keys, columns and rows', () => {
    const orders = relation('public', 'orders');
    expect(orders.kind).toBe('table');
    expect(orders.effects).toEqual(NONE);
    expect(orders.castEffects).toEqual([]);
    expect(orders.rows).toBe(60_000);
    expect(orders.uniqueKeys).toEqual([['id']]);
    expect(orders.columns.slice(0, 4)).toMatchObject([
      { name: 'id', typeOid: 20, type: 'bigint', builtinType: true },
      { name: 'customer_id', typeOid: 23, type: 'integer', builtinType: true },
      { name: 'status', typeOid: expect.any(Number), type: 'app.order_status', builtinType: false },
      { name: 'total', typeOid: 1700, type: 'numeric(12,2)', builtinType: true },
    ]);
    expect(relation('public', 'order_items').uniqueKeys).toEqual([['order_id', 'line_no']]);
    expect(relation('public', 'customers').uniqueKeys).toEqual(expect.arrayContaining([['id'], ['email']]));
  });

  test.each([
    ['public', 'countries'],
    ['public', 'products'],
    ['public', 'customers'],
    ['public', 'order_items'],
    ['public', 'payments'],
    ['public', 'audit_trail'],
    ['app', 'documents'],
    ['app', 'kv'],
    ['app', 'jobs'],
    ['app', 'inventory'],
    ['app', 'categories'],
    ['public', 'drop'],
    ['public', 'Order Lines; DROP TABLE orders'],
  ])('%s.%s has no effect', (schema, name) => {
    expect(relation(schema, name).effects).toEqual(NONE);
  });

  test('partitions are summed, and a key of the whole is a key', () => {
    const events = relation('public', 'events');
    expect(events.kind).toBe('partitioned');
    expect(events.rows).toBe(20_000);
    expect(events.uniqueKeys).toEqual([['id', 'at']]);
    expect(events.effects).toEqual(NONE);
    expect(relation('public', 'events_2025').rows).toBeGreaterThan(10_000);
  });

  test('catalogs, sequences and other schemas are known', () => {
    expect(relation('pg_catalog', 'pg_class').kind).toBe('table');
    expect(relation('pg_catalog', 'pg_class').effects.read).toEqual([]);
    expect(relation('information_schema', 'tables').kind).toBe('view');
    expect(relation('information_schema', 'tables').effects.read).toEqual([]);
    expect(relation('app', 'invoice_no').kind).toBe('sequence');
    expect(relation('app', 'daily_sales').kind).toBe('matview');
    expect(relation('app', 'daily_sales').uniqueKeys).toEqual([['day']]);
    expect(relation('app', 'address').kind).toBe('composite');
    expect(catalog.relation('public', 'no_such_table')).toBeUndefined();
    expect(catalog.relationsNamed('orders').map((r) => r.schema)).toEqual(['public']);
  });
});

test('statistics say how many rows an equality can select', () => {
  const column = (name: string) => relation('public', 'orders').columns.find((c) => c.name === name);
  const status = column('status');
  expect(status?.distinctValues).toBe(5);
  expect((status?.commonestShare ?? 0) * 60_000).toBeGreaterThan(11_000);
  const customer = column('customer_id');
  expect(customer?.distinctValues).toBeGreaterThan(15_000);
  expect((customer?.commonestShare ?? 1) * 60_000).toBeLessThan(100);
});

describe('traps of writes', () => {
  test('a trigger counts for its events alone', () => {
    const { effects } = relation('app', 'inbox');
    const says = 'trigger inbox_purge of app.inbox calls app.trigger_purge()';
    expect(effects).toEqual({ read: [], insert: [says], update: [says], delete: [] });
  });

  test('rules, DO ALSO and DO INSTEAD', () => {
    expect(relation('app', 'feedback').effects).toEqual({
      ...NONE,
      insert: ['rule feedback_also of app.feedback runs other commands on INSERT'],
    });
    const queue = relation('app', 'cancel_queue').effects;
    expect(queue.read).toEqual([]);
    expect(queue.insert).toEqual(['rule cancel_insert of app.cancel_queue runs other commands on INSERT']);
    expect(queue.update).toEqual(['rule cancel_update of app.cancel_queue runs other commands on UPDATE']);
    expect(queue.delete).toEqual([]);
  });

  test('INSTEAD OF triggers of views', () => {
    const { read, ...writes } = relation('app', 'refund_requests').effects;
    const says = ['trigger refund_instead of app.refund_requests calls app.refund_all()'];
    expect(read).toEqual([]);
    expect(writes).toEqual({ insert: says, update: says, delete: says });
  });

  test('CHECK, domain, default, index expression and assignment cast', () => {
    const checked = 'constraint checked_n_check of app.checked calls app.check_row(n integer)';
    expect(relation('app', 'checked').effects).toEqual({ ...NONE, insert: [checked], update: [checked] });
    const voucher = 'constraint voucher_code_check of domain app.voucher_code calls app.voucher_ok(v text)';
    expect(relation('app', 'vouchers').effects).toEqual({ ...NONE, insert: [voucher], update: [voucher] });
    const ticket = 'the default of column ref of app.tickets calls app.make_ticket()';
    expect(relation('app', 'tickets').effects).toEqual({ ...NONE, insert: [ticket], update: [ticket] });
    const index = 'index subscribers_norm_idx of app.subscribers calls app.norm_email(e text)';
    expect(relation('app', 'subscribers').effects).toEqual({ ...NONE, insert: [index], update: [index] });
    const cast = 'the cast from integer to app.token calls app.int_to_token(n integer)';
    expect(relation('app', 'tokens').effects).toEqual({ ...NONE, insert: [cast], update: [cast] });
  });
});

describe('traps of reads', () => {
  test('a row policy', () => {
    const { effects } = relation('app', 'guarded');
    const says = ['policy guarded_rows of app.guarded calls app.row_visible(n integer)'];
    expect(effects).toEqual({ read: says, insert: says, update: says, delete: says });
  });

  test('an operator class', () => {
    expect(relation('app', 'ranked').effects.read).toContain(
      'operator class app.rank_ops calls app.rank_cmp(a app.rank, b app.rank)',
    );
  });

  test('a foreign table, for every access', () => {
    const says = ['app.remote_stock is a foreign table: it is read on another server'];
    const { effects, kind, rows } = relation('app', 'remote_stock');
    expect(kind).toBe('foreign');
    expect(rows).toBeNull();
    expect(effects).toEqual({ read: says, insert: says, update: says, delete: says });
  });

  test('casts to json are told apart from reading', () => {
    const members = relation('app', 'members');
    expect(members.effects.read).toEqual([]);
    expect(members.castEffects).toEqual([
      'the cast from app.badge to json calls app.badge_to_json(b app.badge)',
    ]);
  });

  test('views: the harmless, those that call functions, those over them', () => {
    for (const name of ['order_summary', 'country_stats', 'active_products'])
      expect(relation('public', name).effects).toEqual(NONE);
    expect(relation('public', 'order_summary').viewDefinition).toMatch(
      /^\s*SELECT o\.id,[\s\S]*FROM \(?public\.orders o/,
    );
    expect(relation('public', 'everything')).toMatchObject({ folds: true, effects: { read: [] } });
    const purge = 'view public.cleanup_report calls app.purge_payments(before date)';
    expect(relation('public', 'cleanup_report').effects.read).toEqual([purge]);
    expect(relation('public', 'daily_report').effects.read).toEqual([purge]);
    expect(relation('public', 'remote_stock_view').effects.read).toEqual([
      'view public.remote_stock_view calls app.remote_rows(conn text, sql text)',
    ]);
    expect(relation('public', 'owner_stats').effects.read).toEqual([
      'view public.owner_stats calls app.owner_count()',
    ]);
  });
});

describe('names of functions, operators and types', () => {
  test('functions with how many arguments they take', () => {
    expect(catalog.functionsNamed('net_price')).toEqual([
      expect.objectContaining({ schema: 'app', minArgs: 1, maxArgs: 2, takesRow: false }),
    ]);
    expect(catalog.functionsNamed('purge_row')).toEqual([
      expect.objectContaining({ schema: 'public', minArgs: 1, maxArgs: 1, takesRow: true }),
    ]);
    expect(catalog.functionsNamed('initcap').map((f) => f.schema)).toEqual(['public']);
    expect(catalog.functionsNamed('lower')).toEqual([]);
    expect(catalog.functionsNamed('purge_sql')[0]?.effects).toEqual(['the statement calls app.purge_sql()']);
    expect(catalog.functionsNamed('product_of')[0]?.effects).toEqual([]);
    expect(catalog.functionsNamed('sum_of')[0]?.effects).toEqual([
      'the statement calls app.agg_step(state bigint, n integer)',
    ]);
  });

  test('operators and types', () => {
    expect(catalog.operatorSchemas('+')).toEqual(['app']);
    expect(catalog.operatorSchemas('<+>')).toEqual(['public']);
    expect(catalog.operatorSchemas('-')).toEqual([]);
    const effects = (name: string) => catalog.typesNamed(name).map((type) => type.effects.length > 0);
    expect(effects('order_status')).toEqual([false]);
    expect(effects('voucher_code')).toEqual([true]);
    expect(effects('vouchers')).toEqual([true]);
    expect(effects('token')).toEqual([true]);
    expect(effects('rank')).toEqual([true]);
    expect(effects('price_range')).toEqual([false]);
    expect(effects('email_text')).toEqual([false]);
    expect(effects('int4')).toEqual([]);
    expect(catalog.ambientEffects).toEqual([]);
  });
});

test('the version stands for the content', async () => {
  const load = () => withClient(superuser(database.name), (client) => loadCatalog(client));
  const before = await load();
  expect(before.objects).toBe(catalog.objects);
  expect((await load()).version).toBe(before.version);
  await database.query('ALTER TABLE app.kv RENAME COLUMN value TO "Value"');
  const after = await load();
  expect(after.version).not.toBe(before.version);
  expect(after.relation('app', 'kv')?.columns.map((c) => c.name)).toContain('Value');
  expect(before.relation('app', 'kv')?.columns.map((c) => c.name)).toContain('value');
});
