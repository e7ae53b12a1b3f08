import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Observed, reportLines, sinceOf } from '../../src/cli/report.ts';
import { type BudgetUse, budgetLines } from '../../src/cli/report-budgets.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { cli } from './in-process.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({
    sample: 'CREATE TABLE notes (id int PRIMARY KEY, body text); GRANT ALL ON SCHEMA public TO PUBLIC',
    config: (config) => ({ ...config, mode: 'observe' }),
  });
  const client = new pg.Client({ connectionString: stack.agentUrl });
  await client.connect();
  await client.query('SELECT 1');
  await client.query('DELETE FROM notes');
  await client.query('DELETE\nFROM  notes');
  await client.query('CREATE TABLE two (id int)');
  await client.query('DO $$ BEGIN END $$');
  await client.end();
});
afterAll(() => stack.close());

async function report(...args: readonly string[]) {
  const { code, stdout } = await cli(['report', ...args], { COUNTERSIGN_AUDIT_URL: stack.auditorUrl });
  const all = stdout.split('\n').filter((line) => line !== '');
  const ofBudgets = (line: string) => line.startsWith('budget\t');
  return { code, lines: all.filter((line) => !ofBudgets(line)), budgets: all.filter(ofBudgets) };
}

describe('countersign report', () => {
  it('says what would have been held, by rule, agent and relation, and how often', async () => {
    // Entries are shipped in the background.
    for (let i = 0; i < 100 && (await report()).lines.length < 3; i++)
      await new Promise((done) => setTimeout(done, 100));
    const { code, lines } = await report();
    expect(code).toBe(0);
    expect(lines.map((line) => line.split('\t'))).toEqual([
      ['hold', 'default:bulk_write', 'agent', 'public.notes', '2', '1', 'DELETE FROM notes'],
      ['hold', 'default:ddl', 'agent', 'two', '1', '1', 'CREATE TABLE two (id int)'],
      ['hold', 'default:opaque', 'agent', '-', '1', '1', 'DO $$ BEGIN END $$'],
    ]);
  });

  it('says what was taken of each budget, in the latest window and in the fullest', async () => {
    const client = new pg.Client({ connectionString: stack.agentUrl });
    await client.connect();
    await client.query("INSERT INTO notes SELECT n, 'x' FROM generate_series(1, 5) AS n");
    await client.query('SELECT * FROM notes LIMIT 5');
    await client.end();
    const cells = async () => (await report()).budgets.map((line) => line.split('\t'));
    await expect
      .poll(async () => (await cells())[0]?.[6], { timeout: 30_000 })
      .toMatch(/^[5-9]\/1000000000000$/);
    expect(await cells()).toEqual([
      [
        ...['budget', 'default', 'agent', '1', '1%'],
        expect.stringMatching(/^\d{4}-.*Z$/),
        expect.any(String),
        expect.stringMatching(/^\d+\/1000000000000000$/),
      ],
    ]);
  });

  it('obeys no name that an agent chose', () => {
    const one: Observed = {
      ...{
        decision: 'hold',
        rule: 'default:ddl',
        class: 'ddl',
        agent: 'agent',
        statements: '1',
        sessions: '1',
      },
      relation: 'public.\u001b[2J\rnothing\nwas held',
      latest: 'SELECT \u202e1',
    };
    for (const columns of [null, 200])
      expect(reportLines([one], columns).join('').replaceAll('\t', ' ')).not.toMatch(/\p{C}/u);
  });

  it('is of the time that was asked about', async () => {
    expect((await report('--since', new Date(Date.now() + 60_000).toISOString())).lines).toEqual([]);
    expect((await report('--since', 'tomorrow')).code).toBe(2);
  });

  it('the views say the same, and nothing that ran counts as denied', async () => {
    expect(
      await stack.audited(
        'SELECT rule, statements::int FROM audit.observed_by_rule ORDER BY statements DESC, rule',
      ),
    ).toEqual([
      { rule: 'default:bulk_write', statements: 2 },
      { rule: 'default:ddl', statements: 1 },
      { rule: 'default:opaque', statements: 1 },
    ]);
    expect(await stack.audited('SELECT * FROM audit.denials')).toEqual([]);
  });
});

describe('the budgets', () => {
  const use: BudgetUse = {
    ...{ budget: 'pii', agent: 'agent', windows: '2', until: new Date(0), fullest: 91 },
    ...{ rows: '5', rowsLimit: '10', bytes: '50', bytesLimit: null },
  };

  it('are a table for a terminal, and tab-separated for a pipe', () => {
    expect(budgetLines([use], 200)).toEqual([
      '',
      'BUDGET  AGENT  WINDOWS  FULLEST  LATEST UNTIL              ROWS  BYTES',
      'pii     agent  2        91%      1970-01-01T00:00:00.000Z  5/10  50/-',
    ]);
    expect(budgetLines([{ ...use, fullest: null, rowsLimit: null }], null)).toEqual([
      'budget\tpii\tagent\t2\t-\t1970-01-01T00:00:00.000Z\t5/-\t50/-',
    ]);
    expect(budgetLines([], 80)).toEqual([]);
  });

  it('that cannot be read are said to be, to people', () => {
    expect(budgetLines(null, 80)[1]).toContain('audit migrate');
    expect(budgetLines(null, null)).toEqual([]);
  });
});

describe('the table', () => {
  const one: Observed = {
    rule: 'default:ddl',
    decision: 'hold',
    class: 'ddl',
    agent: 'agent',
    relation: null,
    statements: '2',
    sessions: '1',
    latest: 'CREATE\u202E TABLE\n x ()',
  };

  it('has a head, and fits the terminal', () => {
    expect(reportLines([one], 70)).toEqual([
      'WOULD  RULE         AGENT  RELATION  STATEMENTS  SESSIONS  LATEST',
      'hold   default:ddl  agent  -         2           1         CREATE‹U+20',
    ]);
    expect(reportLines([], 70)).toEqual(['Nothing that ran in mode observe would have been held or denied.']);
  });

  it('hides nothing of what the agent wrote', () => {
    expect(reportLines([one], null)).toEqual([
      'hold\tdefault:ddl\tagent\t-\t2\t1\tCREATE‹U+202E› TABLE x ()',
    ]);
  });
});

it('times are a number and a unit, or a date', () => {
  const now = Date.UTC(2026, 0, 10);
  expect(sinceOf('7d', now)).toEqual(new Date(Date.UTC(2026, 0, 3)));
  expect(sinceOf('12h', now)).toEqual(new Date(Date.UTC(2026, 0, 9, 12)));
  expect(sinceOf('2026-01-02', now)).toEqual(new Date(Date.UTC(2026, 0, 2)));
  expect(() => sinceOf('7 days', now)).toThrow('expected a number and m, h, d or w');
});
