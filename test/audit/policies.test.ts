import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { makePolicy, rulesText } from '../../src/config/policy.ts';
import { makeStream } from './stream-maker.ts';
import { type AuditDatabase, createAuditDatabase, event, intent, makeSigner, outcome } from './support.ts';

const at = (minutes: number) => BigInt(Date.UTC(2026, 2, 2, 9, minutes)) * 1000n;
const POLICY = makePolicy([{ name: 'r', match: { class: ['ddl'] }, decision: 'hold' }]);
const LATER = makePolicy([{ name: 'r', match: { relation: ['public.ümläut'] }, decision: 'deny' }]);

let database: AuditDatabase;
let auditor: pg.Client;

const version = (minutes: number, { digest, rules }: typeof POLICY, more: Record<string, string> = {}) =>
  event('policy', {
    at: at(minutes),
    detail: { digest, rules: rulesText(rules), form: 'rfc8785', ...more },
  });

beforeAll(async () => {
  database = await createAuditDatabase();
  const signer = makeSigner();
  const enforced = [
    event('configuration', { at: at(0), detail: { mode: 'enforce' } }),
    version(0, POLICY),
    version(5, LATER),
    version(9, POLICY),
    event('policy', { at: at(2), detail: { digest: 'f'.repeat(64), rules: '[]', form: 'rfc8785' } }),
    event('policy', { at: at(3), detail: { digest: 'e'.repeat(64), rules: '[ ]' } }),
    intent(1, { at: at(10), observed: { rule: 'trial', decision: 'hold' } }),
    outcome(1, { at: at(10), rows: 7n }),
    intent(2, { at: at(11), observed: { rule: 'trial', decision: 'allow' } }),
    intent(3, { at: at(12), decision: 'deny', rule: 'no', observed: { rule: 'trial', decision: 'hold' } }),
    outcome(3, { at: at(12), outcome: 'denied', tag: null, rows: 0n, bytes: 0n, sqlstate: '42501' }),
    intent(4, { at: at(13) }),
  ];
  const observing = [
    event('configuration', { at: at(20), detail: { mode: 'observe' } }),
    intent(5, { at: at(21), decision: 'deny', rule: 'no' }),
  ];
  const writer = new pg.Client(database.writerUrl);
  await writer.connect();
  for (const entries of [enforced, observing]) {
    const stream = makeStream(signer);
    await writer.query(appendCall('audit', stream.start()));
    await writer.query(appendCall('audit', stream.batch(entries)));
  }
  await writer.end();
  auditor = new pg.Client(database.auditorUrl);
  await auditor.connect();
});
afterAll(async () => {
  await auditor.end();
  await database.dropAll();
});

const select = async (sql: string) => (await auditor.query(sql)).rows;

test('each version of the policy is there whole, with the digest that decisions name', async () => {
  const found = await select(
    'SELECT digest, rules, starts::int, digest_ok FROM audit.policies ORDER BY first_at',
  );
  expect(found).toEqual([
    { digest: POLICY.digest, rules: rulesText(POLICY.rules), starts: 2, digest_ok: true },
    { digest: 'f'.repeat(64), rules: '[]', starts: 1, digest_ok: false },
    { digest: 'e'.repeat(64), rules: '[ ]', starts: 1, digest_ok: null },
    { digest: LATER.digest, rules: rulesText(LATER.rules), starts: 1, digest_ok: true },
  ]);
  expect(JSON.parse(String(found[3]?.['rules']))).toEqual(LATER.rules);
});

test('a statement names the rule in mode observe beside the one that decided', async () => {
  expect(
    await select(`SELECT statement_no::int AS no, decision, rule, observed_rule, observed_decision
                    FROM audit.statements ORDER BY at`),
  ).toEqual([
    { no: 1, decision: 'allow', rule: 'default:read', observed_rule: 'trial', observed_decision: 'hold' },
    { no: 2, decision: 'allow', rule: 'default:read', observed_rule: 'trial', observed_decision: 'allow' },
    { no: 3, decision: 'deny', rule: 'no', observed_rule: 'trial', observed_decision: 'hold' },
    { no: 4, decision: 'allow', rule: 'default:read', observed_rule: null, observed_decision: null },
    { no: 5, decision: 'deny', rule: 'no', observed_rule: null, observed_decision: null },
  ]);
});

test('what such a rule would have held is reported beside what mode observe let run', async () => {
  expect(
    await select('SELECT rule, decision, observes, decided, rows::int FROM audit.observed ORDER BY at'),
  ).toEqual([
    { rule: 'trial', decision: 'hold', observes: 'rule', decided: 'allow', rows: 7 },
    { rule: 'trial', decision: 'hold', observes: 'rule', decided: 'deny', rows: 0 },
    { rule: 'no', decision: 'deny', observes: 'everything', decided: 'allow', rows: null },
  ]);
  expect(await select('SELECT rule, statements::int FROM audit.observed_by_rule ORDER BY rule')).toEqual([
    { rule: 'no', statements: 1 },
    { rule: 'trial', statements: 2 },
  ]);
});

test('what was denied all the same is a denial', async () => {
  expect(await select('SELECT rule, refused_by FROM audit.denials')).toEqual([
    { rule: 'no', refused_by: 'policy' },
  ]);
});

test('all of it is in the chain', async () => {
  expect(await select('SELECT * FROM audit.verify() WHERE NOT ok')).toEqual([]);
  const [{ n } = { n: 0 }] = await select('SELECT count(*)::int AS n FROM audit.verify() WHERE ok');
  expect(n).toBeGreaterThan(0);
});
