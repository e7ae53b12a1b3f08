import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { directoryWith, MINIMAL } from '../config/sample.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { cli } from './in-process.ts';

const STATEMENTS = [
  ...Array.from({ length: 5 }, (_, i) => `SELECT body FROM notes WHERE id = ${i}`),
  'SELECT * FROM customers WHERE id = 1',
  'SELECT n.id FROM notes n JOIN customers c USING (id) WHERE n.id = 1',
  "INSERT INTO notes VALUES (100, 'new')",
  "INSERT INTO notes VALUES (101, 'new')",
  'DELETE FROM notes',
  'CREATE TABLE made (id int)',
  'DROP TABLE made',
  'SELECT 1; SELECT id FROM customers LIMIT 2',
  '/* \u202e */ SELECT email\n FROM customers WHERE id = 2',
  'SELECT no_such_column FROM notes',
  "SELECT md5('x')",
  "COPY notes TO PROGRAM 'true'",
  'SELEC 1',
];

let stack: Stack;
let directory: string;
beforeAll(async () => {
  directory = directoryWith({});
  stack = await startStack({
    sample: `CREATE TABLE notes (id int PRIMARY KEY, body text); CREATE TABLE customers (id int PRIMARY KEY, email text);
      INSERT INTO customers SELECT i, i || '@example.com' FROM generate_series(1, 50) i; ANALYZE;`,
    config: (config) => ({
      ...config,
      mode: 'observe',
      tags: [{ relation: 'public.customers', column: 'email', tags: ['pii'] }],
    }),
  });
  const client = new pg.Client({ connectionString: stack.agentUrl });
  await client.connect();
  for (const sql of STATEMENTS) await client.query(sql).catch(() => undefined);
  await client.end();
  // Entries are shipped in the background; `SELECT 1; …` is two.
  for (let i = 0; i < 300; i++) {
    const [row] = await stack.audited(
      'SELECT count(*)::int AS n FROM audit.statements WHERE outcome IS NOT NULL',
    );
    if (Number(row?.['n']) >= STATEMENTS.length + 1) break;
    await new Promise((done) => setTimeout(done, 100));
  }
});
afterAll(async () => {
  await stack.close();
  rmSync(directory, { recursive: true, force: true });
});

function file(name: string, rules: readonly object[]): string {
  const path = join(directory, name);
  writeFileSync(path, JSON.stringify({ rules }));
  return path;
}

async function diff(before: string, after: string, ...args: readonly string[]) {
  return cli(['policy', 'diff', before, after, ...args], { COUNTERSIGN_AUDIT_URL: stack.auditorUrl });
}

async function diffed(after: readonly object[], ...args: readonly string[]) {
  const { code, stdout } = await diff(file('old.yaml', []), file('new.yaml', after), '--json', ...args);
  expect(code).toBe(0);
  return JSON.parse(stdout) as {
    statements: number;
    same: number;
    changed: number;
    untold: number;
    mistakes: number;
    changes: {
      what: string;
      from: object;
      to: object;
      class: string;
      relations: string[];
      statements: number;
      example: string;
    }[];
    unknowns: { rules: string[]; conditions: string[]; statements: number; relations: string[] }[];
  };
}

describe('countersign policy diff', () => {
  it('finds nothing between a policy and itself', async () => {
    const found = await diffed([]);
    expect(found).toMatchObject({ changed: 0, untold: 0 });
    expect(found.statements).toBe(found.same);
    expect(found.mistakes).toBe(1);
    expect(found.statements + found.mistakes).toBe(STATEMENTS.length + 1);
  });

  it('says what would be decided otherwise, by rule, agent, class and relations', async () => {
    const found = await diffed([
      { name: 'no-customers', match: { relation: ['public.customers'] }, decision: 'deny' },
      { name: 'tables', match: { class: ['ddl'] }, decision: 'allow' },
      { name: 'notes', match: { class: ['bulk_write'] }, decision: 'hold', quorum: 2 },
    ]);
    const { changes, ...totals } = found;
    expect(totals).toMatchObject({ changed: 7, untold: 0 });
    const shown = changes.map(({ what, from, to, statements, relations, class: name }) => ({
      what,
      ...{ from, to },
      statements,
      relations,
      class: name,
    }));
    const allow = { decision: 'allow', rule: 'default:read' };
    const deny = { decision: 'deny', rule: 'no-customers' };
    expect(shown).toMatchObject([
      {
        what: 'decision',
        from: allow,
        to: deny,
        statements: 3,
        relations: ['public.customers'],
        class: 'read',
      },
      {
        what: 'decision',
        from: allow,
        to: deny,
        statements: 1,
        relations: ['public.notes', 'public.customers'],
      },
      {
        what: 'approval',
        from: { decision: 'hold' },
        to: { rule: 'notes' },
        statements: 1,
        class: 'bulk_write',
      },
      {
        what: 'decision',
        from: { rule: 'default:ddl' },
        to: { decision: 'allow', rule: 'tables' },
        class: 'ddl',
      },
      { what: 'decision', to: { rule: 'tables' }, class: 'ddl' },
    ]);
    expect(changes[0]?.example).toBe('/* ‹U+202E› */ SELECT email FROM customers WHERE id = 2');
  });

  it.each([
    [{ column: ['public.customers.email'] }, 2],
    [{ tag: ['pii'] }, 2],
    [{ function: ['pg_catalog.md5'] }, 1],
    [{ boundary: ['program'] }, 1],
    [{ command: ['DROP *', 'copy to'] }, 2],
    [{ rows: { above: 1 } }, 5],
  ])('says so by the facts that were recorded: %j', async (match, changed) => {
    const rules = [{ name: 'asked', match, decision: 'deny' }];
    const found = await diffed(rules);
    expect(found).toMatchObject({ changed, untold: 0 });
    expect(found.changes.every(({ to }) => 'rule' in to && to.rule === 'asked')).toBe(true);
  });

  it('is of the time that was asked about', async () => {
    const rules = [{ name: 'all', match: {}, decision: 'deny' }];
    expect((await diffed(rules, '--since', '1h')).changed).toBeGreaterThan(10);
    expect((await diffed(rules, '--since', '1h', '--until', '30m')).statements).toBe(0);
    expect((await diff('a', 'b', '--until', 'soon')).stderr).toContain('--until: expected a number');
  });

  it('reads for people', async () => {
    const rules = [{ name: 'no-customers', match: { relation: ['public.customers'] }, decision: 'deny' }];
    const { code, stdout } = await diff(file('old.yaml', []), file('new.yaml', rules));
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^[0-9a-f]{12} -> [0-9a-f]{12}, statements from \S+Z to \S+Z$/);
    expect(lines.slice(1, 6)).toEqual([
      '',
      'allow -> deny: 4',
      '       3  default:read -> no-customers; agent agent; class read; public.customers',
      '          /* ‹U+202E› */ SELECT email FROM customers WHERE id = 2',
      '       1  default:read -> no-customers; agent agent; class read; public.notes, public.customers',
    ]);
    expect(stdout).toMatch(/\n\d+ statements: 4 decided otherwise, \d+ the same, 0 cannot be said\n/);
    expect(stdout).toMatch(/\n1 more was a mistake that the server rejects under any policy\n$/);
  });

  it('takes a configuration, or the digest of a policy that was in force', async () => {
    const config = join(directory, 'c.yaml');
    writeFileSync(config, `${MINIMAL}policy: { rules: [{ name: all, match: {}, decision: deny }] }\n`);
    const { digest } = stack.config.policy;
    const { stdout } = await diff(digest.slice(0, 12), config);
    expect(stdout).toMatch(new RegExp(`^${digest.slice(0, 12)} -> `));
    expect(stdout).toContain('allow -> deny: ');
    expect(await diff('0'.repeat(12), config)).toMatchObject({ code: 2, stdout: '' });
    const wrong = await diff(
      file('bad.yaml', [{ name: 'x', match: { clas: ['read'] }, decision: 'deny' }]),
      config,
    );
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain('unknown key; did you mean class?');
    expect((await diff(join(directory, 'none.yaml'), config)).code).toBe(2);
  });
});

describe('of what an older version recorded, without facts', () => {
  beforeAll(async () => {
    await stack.audit.query(`
      ALTER TABLE audit.entry DISABLE TRIGGER ALL;
      UPDATE audit.entry SET detail = NULL WHERE kind = 'intent';
      UPDATE audit.entry SET detail = ARRAY['mode', 'observe'] WHERE kind = 'configuration'`);
  });

  it('says so where a rule asks for what the log does not have', async () => {
    const found = await diffed([
      { name: 'pii', match: { column: ['public.customers.email'] }, decision: 'hold' },
    ]);
    expect(found).toMatchObject({ changed: 0, untold: 4 });
    expect(found.unknowns).toMatchObject([
      { rules: ['pii'], conditions: ['column'], statements: 3, relations: ['public.customers'] },
      { rules: ['pii'], conditions: ['column'], statements: 1 },
    ]);
  });

  it('looks at the texts again with a database that knows', async () => {
    const rules = [{ name: 'pii', match: { column: ['public.customers.email'] }, decision: 'hold' }];
    const found = await diffed(rules, '--upstream', stack.shop.url);
    expect(found).toMatchObject({ changed: 2, untold: 0, byText: 4 });
    expect(found.changes).toMatchObject([
      { to: { rule: 'pii' }, relations: ['public.customers'], statements: 2 },
    ]);
    // What means something else now is still not known.
    await stack.shop.query('ALTER TABLE customers RENAME TO clients');
    try {
      expect(await diffed(rules, '--upstream', stack.shop.url)).toMatchObject({
        changed: 0,
        untold: 4,
        byText: 0,
      });
    } finally {
      await stack.shop.query('ALTER TABLE clients RENAME TO customers');
    }
  });

  it('says how more can be said', async () => {
    const column = [{ name: 'pii', match: { column: ['public.customers.email'] }, decision: 'hold' }];
    const files = [file('old.yaml', []), file('new.yaml', column)] as const;
    expect((await diff(...files)).stdout).toContain(
      '4 cannot be said\n--upstream URL looks at their texts again',
    );
    const looked = (await diff(...files, '--upstream', stack.shop.url)).stdout;
    expect(looked).toContain(
      '0 cannot be said\n4 of them by their text, as the database understands it now\n',
    );
  });

  it('says what to do where the schema itself is older', async () => {
    await stack.audit.query('ALTER VIEW audit.statements RENAME COLUMN facts TO none');
    try {
      const { code, stderr } = await diff(file('old.yaml', []), file('new.yaml', []));
      expect(code).toBe(2);
      expect(stderr).toContain('countersign audit migrate');
    } finally {
      await stack.audit.query('ALTER VIEW audit.statements RENAME COLUMN none TO facts');
    }
  });
});
