import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ByteWriter } from '../../src/audit/chain/bytes.ts';
import { GENESIS_HASH } from '../../src/audit/chain/chain.ts';
import type { Entry } from '../../src/audit/entry.ts';
import { KIND_NUMBERS, writeRecord } from '../../src/audit/journal/record.ts';
import { appendText } from '../../src/audit/shipping/batch.ts';
import { BatchEncoder } from '../../src/audit/shipping/batch-encoder.ts';
import { createStreamKey, keyEntry, streamStart } from '../../src/audit/shipping/stream-key.ts';
import { CUT, factsText } from '../../src/policy/statement-facts.ts';
import { NOTHING } from '../../src/policy/told.ts';
import type { StatementAnalysis } from '../../src/statement/analysis.ts';
import {
  type AuditDatabase,
  createAuditDatabase,
  event,
  intent,
  makeSigner,
  now,
  outcome,
} from './support.ts';

let database: AuditDatabase;
let auditor: pg.Client;
const signer = makeSigner();

const RICH: StatementAnalysis = {
  ...NOTHING,
  class: 'write',
  command: 'INSERT',
  relations: [
    {
      schema: 'public',
      name: 'orders',
      oid: 1,
      mode: 'write',
      columns: { read: [], written: ['id', 'note'] },
    },
    {
      schema: 'hr',
      name: 'people',
      oid: 2,
      mode: 'read',
      columns: { read: ['name', 'e"\\{}, \u00fc'], written: [] },
      tags: ['pii'],
    },
    { schema: 'app', name: 'seen', oid: null, mode: 'read' },
    { schema: 'app', name: 'gone', oid: 3, mode: 'write', columns: { read: [], written: [] } },
  ],
  tags: ['cascade', 'pii'],
  functions: [
    {
      schema: 'pg_catalog',
      name: 'lower',
      builtin: true,
      oid: null,
      volatility: null,
      securityDefiner: null,
    },
    { schema: null, name: 'f', builtin: false, oid: null, volatility: null, securityDefiner: null },
  ],
  boundary: ['role', 'network'],
};
const RICH_SQL = 'WITH x AS (SELECT) INSERT';

/** Statements 1 to 4 of a process that records facts, 5 of one that does not. */
beforeAll(async () => {
  database = await createAuditDatabase();
  const facts = factsText(RICH, RICH_SQL) ?? '';
  const relations = RICH.relations.map(({ schema, name }) => `${schema}.${name}`);
  const writer = new pg.Client(database.writerUrl);
  await writer.connect();
  const append = async (stream: string, entries: readonly Entry[]) => {
    const key = createStreamKey();
    const all: readonly Entry[] = [
      streamStart(stream, key, signer, now(), {}),
      keyEntry(signer.kid, signer.publicJwk, 'audit', now()),
      ...entries,
    ];
    const records = all.map((entry, at) => {
      const bytes = new ByteWriter(64);
      writeRecord(bytes, BigInt(at) + 1n, entry);
      const record = Buffer.from(bytes.written());
      return { seq: BigInt(at) + 1n, kind: KIND_NUMBERS[entry.kind], record, segment: 1 };
    });
    const encoder = new BatchEncoder({ stream, saltSecret: Buffer.alloc(32, 1), key });
    const { values } = encoder.encode({ seq: 0n, hash: GENESIS_HASH }, records);
    await writer.query(appendText('audit'), [...values]);
  };
  const mode = { mode: 'enforce' };
  await append('20260101T000000Z-0001', [
    event('configuration', { detail: { ...mode, facts: '1' } }),
    intent(1, { sql: RICH_SQL, relations, facts }),
    outcome(1),
    intent(2, { sql: '\n\t begin;', relations: [] }),
    intent(3, { sql: 'SELECT 3', facts: CUT }),
    intent(4, { observed: { rule: 'trial', decision: 'hold' }, facts: '{"v":1,"boundary":["program"]}' }),
  ]);
  await append('20260101T000000Z-0002', [event('configuration', { detail: mode }), intent(5)]);
  await writer.end();
  auditor = new pg.Client(database.auditorUrl);
  await auditor.connect();
});
afterAll(async () => {
  await auditor.end();
  await database.dropAll();
});

test('an auditor reads what a statement names and crosses', async () => {
  const { rows } = await auditor.query(
    `SELECT statement_no::int AS no, command, columns_read, columns_written, tags, functions, boundary, observed_rule
       FROM audit.statements ORDER BY statement_no`,
  );
  const none = { columns_read: [], columns_written: [], tags: [], functions: [], boundary: [] };
  const unknown = {
    command: null,
    columns_read: null,
    columns_written: null,
    tags: null,
    functions: null,
    boundary: null,
  };
  expect(rows).toEqual([
    {
      no: 1,
      command: 'INSERT',
      columns_read: ['hr.people.name', 'hr.people.e"\\{}, \u00fc', 'app.seen.*'],
      columns_written: ['public.orders.id', 'public.orders.note', 'app.gone.*'],
      tags: ['cascade', 'pii'],
      functions: ['pg_catalog.lower', '*.f'],
      boundary: ['role', 'network'],
      observed_rule: null,
    },
    { no: 2, command: 'BEGIN', ...none, observed_rule: null },
    { no: 3, ...unknown, observed_rule: null },
    { no: 4, command: 'SELECT', ...none, boundary: ['program'], observed_rule: 'trial' },
    { no: 5, ...unknown, observed_rule: null },
  ]);
});

test('whether a stream records facts is looked up once, not row by row', async () => {
  const { rows } = await auditor.query('EXPLAIN VERBOSE SELECT facts FROM audit.statements');
  const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
  expect(plan).toMatch(/hashed SubPlan/);
});

test('facts are in the chain: it is whole, and an alteration of them is found', async () => {
  const bad = async () => (await auditor.query('SELECT * FROM audit.verify() WHERE NOT ok')).rows;
  expect(await bad()).toEqual([]);
  await database.query(`ALTER TABLE audit.entry DISABLE TRIGGER ALL`);
  await database.query(
    `UPDATE audit.entry SET detail = ARRAY['facts', '{"v":1}'] WHERE kind = 'intent' AND statement_no = 1`,
  );
  expect((await bad()).length).toBeGreaterThan(0);
});
