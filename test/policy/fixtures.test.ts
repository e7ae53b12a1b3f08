import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Analyser, loadAnalyser } from '../../src/analyser/analyser.ts';
import { type ConnectedCatalog, connectCatalog } from '../../src/catalog/connect.ts';
import { readingJudgement } from '../../src/catalog/reading.ts';
import { type Explainer, openExplainer } from '../../src/cli/explain.ts';
import type { Config } from '../../src/config/config.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { createCorpusDatabase } from '../catalog/corpus-database.ts';
import { load, VERIFIER } from '../config/sample.ts';
import { superuser, type TestDatabase } from '../support/postgres.ts';

const POLICIES = new URL('../../fixtures/policies/', import.meta.url).pathname;

/** A configuration whose groups and agents are those that the policies speak of. */
const CONFIG = (file: string) => `version: 1
upstream: { url: postgres://127.0.0.1:5432/shop }
audit: { url: postgres://writer@127.0.0.1:5432/audit }
agents:
${['reporting', 'analyst-1', 'migrator', 'support'].map((name) => `  - { name: ${name}, auth: { scram: '${VERIFIER}' }, owner: owner, upstream: { user: app } }`).join('\n')}
people:
  - { id: owner, email: owner@example.com }
  - { id: dba, email: dba@example.com, groups: [dbas] }
  - { id: deputy, email: deputy@example.com, groups: [dbas, privacy, support-leads] }
groups: [{ name: dbas }, { name: privacy }, { name: support-leads }]
slack: { botToken: { env: BOT }, appToken: { env: APP }, teamId: T1, channel: C1 }
tags:
  - { relation: public.customers, column: email, tags: [pii] }
  - { relation: public.customers, column: name, tags: [pii] }
  - { relation: public.payments, tags: [pii] }
policy: { file: ${POLICIES}${file} }
`;

let database: TestDatabase;
let analyser: Analyser;
let connected: ConnectedCatalog;
const opened: Explainer[] = [];
beforeAll(async () => {
  database = await createCorpusDatabase('policies');
  analyser = await loadAnalyser(DEFAULT_LIMITS);
  const { host, port, user, password } = superuser();
  const url = `postgres://${user}:${password}@${host}:${port}/${database.name}`;
  const config = await loaded('starter.yaml');
  const judgement = readingJudgement(analyser, DEFAULT_LIMITS);
  connected = await connectCatalog(url, { judgement, tags: config.tags, searchPath: ['public', 'app'] });
});
afterAll(async () => {
  for (const explainer of opened) await explainer.close();
  await connected?.close();
  await analyser?.close();
  await database?.drop();
});

function loaded(file: string): Promise<Config> {
  return load(CONFIG(file), { ...process.env, BOT: 'bot', APP: 'app' });
}

/** Wednesday at noon in UTC, and the Saturday after. */
const NOON = Date.parse('2026-03-25T12:00:00Z') * 1000;
const SATURDAY = Date.parse('2026-03-28T12:00:00Z') * 1000;

type Case = readonly [sql: string, decision: 'allow' | 'hold' | 'deny', rule: string];

function policy(file: string, agent: string, cases: readonly Case[], at = NOON): void {
  it.each(cases)('%s: %s by %s', async (sql, decision, rule) => {
    const config = await loaded(file);
    const explainer = await openExplainer({
      policy: config.policy,
      limits: config.limits,
      mode: config.mode,
      context: { agent, owner: 'owner', database: 'shop', role: 'app', at },
      connected: { ...connected, close: async () => {} },
      searchPath: ['public', 'app'],
    });
    opened.push(explainer);
    const found = await explainer.explain(sql);
    expect([found.decision, found.rule, found.reasons]).toEqual([decision, rule, expect.anything()]);
  });
}

describe('starter.yaml', () => {
  policy('starter.yaml', 'reporting', [
    ['SELECT id, status FROM orders WHERE customer_id = 17', 'allow', 'default:read'],
    ['SELECT name, email FROM customers WHERE id = 17', 'allow', 'default:read'],
    ['SELECT name, email FROM customers LIMIT 100', 'hold', 'personal-data'],
    ['SELECT count(*) FROM customers', 'allow', 'default:read'],
    ["SELECT string_agg(email, ',') FROM customers", 'hold', 'personal-data'],
    ['SELECT * FROM order_items', 'hold', 'exports'],
    ['COPY orders TO STDOUT', 'hold', 'exports'],
    ['COPY payments TO STDOUT', 'hold', 'personal-data'],
    ["COPY orders TO '/tmp/orders'", 'deny', 'no-machines'],
    ["COPY orders FROM PROGRAM 'id'", 'deny', 'no-machines'],
    ["SELECT pg_read_file('/etc/passwd')", 'deny', 'no-machines'],
    ["INSERT INTO app.kv (key, value) VALUES ('a', '1')", 'allow', 'default:write'],
    ['DELETE FROM app.jobs', 'hold', 'changes'],
    ['ALTER TABLE orders ADD COLUMN x int', 'hold', 'changes'],
    ['GRANT SELECT ON orders TO intern', 'hold', 'privileges'],
    ['VACUUM orders', 'hold', 'privileges'],
    ['DO $$ BEGIN END $$', 'hold', 'not-understood'],
    ["SELECT app.run_report('SELECT 1')", 'hold', 'not-understood'],
    ["SET client_encoding = 'BIG5'", 'deny', 'floor:pinned'],
  ]);

  it('its rule in mode observe holds nothing, and says what it would', async () => {
    const { policy: rules, limits } = await loaded('starter.yaml');
    const explainer = await openExplainer({
      policy: rules,
      limits,
      mode: 'enforce',
      context: { agent: 'reporting', owner: 'owner', database: 'shop', role: 'app', at: SATURDAY },
      connected: { ...connected, close: async () => {} },
      searchPath: ['public', 'app'],
    });
    opened.push(explainer);
    const found = await explainer.explain("INSERT INTO app.kv (key, value) VALUES ('a', '1')");
    expect([found.decision, found.observed]).toEqual(['allow', ['rule writes-at-night would hold']]);
    expect((await explainer.explain('SELECT 1')).observed).toEqual([]);
  });
});

describe('analyst-warehouse.yaml', () => {
  policy('analyst-warehouse.yaml', 'analyst-1', [
    ['SELECT count(*) FROM customers', 'allow', 'results'],
    ['SELECT country, count(*) FROM customers GROUP BY country', 'allow', 'results'],
    ['SELECT email FROM customers WHERE id = 1', 'deny', 'no-addresses'],
    ['SELECT * FROM customers LIMIT 5', 'deny', 'no-addresses'],
    ['SELECT c FROM customers c LIMIT 5', 'deny', 'no-addresses'],
    ['SELECT card_last4, count(*) FROM payments GROUP BY card_last4', 'deny', 'no-addresses'],
    ['SELECT * FROM products', 'allow', 'results'],
    ['SELECT * FROM orders LIMIT 5000', 'allow', 'results'],
    ["SELECT id, total FROM orders WHERE placed_on = '2025-03-01'", 'allow', 'results'],
    ['SELECT * FROM orders', 'hold', 'large-results'],
    ['SELECT json_agg(o) FROM orders o', 'hold', 'large-results'],
    ['COPY orders TO STDOUT', 'hold', 'large-results'],
    ['UPDATE orders SET note = NULL WHERE id = 1', 'deny', 'reads-only'],
    ['CREATE TABLE scratch (id int)', 'deny', 'reads-only'],
    ['DROP TABLE orders', 'deny', 'reads-only'],
    ['SELECT app.purge_sql()', 'hold', 'unknown-functions'],
    ['BEGIN', 'allow', 'default:session'],
  ]);
  it('another agent is none of its business', async () => {
    const config = await loaded('analyst-warehouse.yaml');
    expect(config.policy.rules.every(({ match }) => match.agent?.[0] === 'analyst*')).toBe(true);
  });
});

describe('migration-agent.yaml', () => {
  policy('migration-agent.yaml', 'migrator', [
    ['ALTER TABLE app.jobs ADD COLUMN note text', 'allow', 'app-schema'],
    ['CREATE INDEX ON app.jobs (state)', 'allow', 'app-schema'],
    ['CREATE TABLE app.fresh (id int)', 'allow', 'app-schema'],
    ['CREATE TABLE fresh (id int)', 'deny', 'foreign-schemas'],
    ['CREATE TABLE app.fresh AS SELECT * FROM public.countries', 'deny', 'foreign-schemas'],
    ['ALTER TABLE public.orders ADD COLUMN x int', 'deny', 'foreign-schemas'],
    ['DROP TABLE app.jobs', 'hold', 'losses'],
    ['ALTER TABLE app.jobs ADD COLUMN note text, DROP COLUMN payload', 'hold', 'losses'],
    ['ALTER TABLE app.jobs ALTER COLUMN state TYPE varchar(5)', 'hold', 'losses'],
    ["ALTER TABLE app.jobs ALTER COLUMN state SET DEFAULT 'x'", 'allow', 'app-schema'],
    ['DROP TABLE public.orders', 'deny', 'foreign-schemas'],
    ['DROP SCHEMA app CASCADE', 'hold', 'losses'],
    ['DROP SCHEMA public CASCADE', 'deny', 'foreign-schemas'],
    ['TRUNCATE app.jobs', 'hold', 'losses'],
    ["COMMENT ON COLUMN app.jobs.payload IS ''", 'hold', 'losses'],
    ["UPDATE app.jobs SET state = 'done'", 'hold', 'changes'],
    ['ALTER TABLE app.jobs OWNER TO intern', 'deny', 'no-privileges'],
    ['GRANT SELECT ON app.jobs TO intern', 'deny', 'no-privileges'],
    ['COPY app.jobs TO STDOUT', 'deny', 'no-exports'],
    ['SELECT * FROM app.jobs LIMIT 3', 'allow', 'default:read'],
    ['DO $$ BEGIN END $$', 'hold', 'changes'],
  ]);
  describe('on a Saturday', () => {
    policy(
      'migration-agent.yaml',
      'migrator',
      [['ALTER TABLE app.jobs ADD COLUMN note text', 'hold', 'changes']],
      SATURDAY,
    );
  });
});

describe('support-agent.yaml', () => {
  policy('support-agent.yaml', 'support', [
    ['SELECT name, email FROM customers WHERE id = 17', 'allow', 'default:read'],
    ["SELECT id, name FROM customers WHERE email = 'customer17@example.com'", 'allow', 'default:read'],
    ["SELECT name, email FROM customers WHERE city = 'City 3'", 'deny', 'one-at-a-time'],
    ['SELECT name, email FROM customers LIMIT 500', 'deny', 'one-at-a-time'],
    ['SELECT customer_name FROM order_summary LIMIT 500', 'deny', 'one-at-a-time'],
    ['COPY customers TO STDOUT', 'deny', 'one-at-a-time'],
    ['SELECT method, amount FROM payments WHERE id = 4', 'allow', 'default:read'],
    ['SELECT * FROM payments WHERE id = 4', 'deny', 'no-cards'],
    ['DELETE FROM payments WHERE id = 4', 'deny', 'no-cards'],
    ["UPDATE orders SET note = 'called back' WHERE id = 12", 'allow', 'notes'],
    ["UPDATE orders SET note = 'x' WHERE id IN (1, 2)", 'hold', 'other-writes'],
    ['UPDATE orders SET total = 0 WHERE id = 12', 'hold', 'other-writes'],
    ["UPDATE orders SET note = 'x'", 'hold', 'other-writes'],
    ['DELETE FROM orders WHERE id = 12', 'hold', 'other-writes'],
    ['SELECT * FROM orders', 'hold', 'lists'],
    ['DROP TABLE orders', 'deny', 'nothing-else'],
    ['DO $$ BEGIN END $$', 'deny', 'nothing-else'],
  ]);
});

it('each is commented, and what it demands is known to the configuration', async () => {
  for (const file of [
    'starter.yaml',
    'analyst-warehouse.yaml',
    'migration-agent.yaml',
    'support-agent.yaml',
  ]) {
    const text = readFileSync(`${POLICIES}${file}`, 'utf8');
    const { policy: rules } = await loaded(file);
    const comments = text.split('\n').filter((line) => line.trimStart().startsWith('#'));
    expect(comments.length).toBeGreaterThan(rules.rules.length);
  }
});
