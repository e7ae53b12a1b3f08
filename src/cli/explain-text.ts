/** An explanation for a person: what is decided and why, the part that caused it, and the facts. */
import { visible } from '../channels/visible.ts';
import type { Limits } from '../config/limits.ts';
import type { RelationUse, StatementAnalysis } from '../statement/analysis.ts';
import type { Estimate } from '../statement/answers.ts';
import type { Catalog } from '../statement/catalog.ts';
import { markPart } from './caret.ts';
import type { Paint } from './paint.ts';

export type Explained = {
  readonly sql: Buffer;
  readonly decision: 'allow' | 'hold' | 'deny';
  readonly class: string;
  readonly rule: string;
  readonly policyDigest: string;
  readonly reasons: readonly string[];
  readonly mode: 'enforce' | 'observe';
  /** `rule NAME would hold` and the like, of rules in mode observe. */
  readonly observed: readonly string[];
  readonly statements: readonly StatementAnalysis[];
  /** What the planner said, by the place of the statement; null: it was not asked, or could not say. */
  readonly estimates: readonly (Estimate | null)[];
  /** Where our grammar stopped, in characters from 1; null: it read all of it, or nobody knows. */
  readonly errorPosition: number | null;
  /** Null: no database was asked. */
  readonly catalog: Catalog | null;
  readonly limits: Limits;
};

type Row = readonly [string, string];

/** Lines that each end with a line feed. Nothing that comes from the statement can hide in them, or colour them. */
export function explanationText(explained: Explained, paint: Paint): string {
  const blocks = [verdict(explained, paint), ...errorBlock(explained, paint)];
  const { statements } = explained;
  for (const [place, statement] of statements.entries())
    blocks.push(statementBlock(explained, statement, place, paint));
  return blocks
    .map((lines) => `${lines.join('\n')}\n`)
    .filter((block) => block !== '\n')
    .join('\n');
}

const COLOURS = { allow: 'green', hold: 'yellow', deny: 'red' } as const;

function verdict(explained: Explained, paint: Paint): string[] {
  const { decision, class: found, rule, policyDigest, reasons, mode, observed } = explained;
  const rows: Row[] = [
    ['class', found],
    ['rule', rule],
    ['policy', policyDigest === '' ? 'the built-in default' : policyDigest],
    ...(mode === 'observe' ? [['mode', 'observe: it runs all the same, and this is recorded'] as const] : []),
    ...reasons.map((reason) => ['because', reason] as const),
    ...observed.map((rule) => ['observed', rule] as const),
  ];
  const head = `${paint('dim', 'decision '.padEnd(NAME))} ${paint('bold', paint(COLOURS[decision], decision))}`;
  return [head, ...rowLines(rows, paint)];
}

/** Column of the values. */
const NAME = 9;

function rowLines(rows: readonly Row[], paint: Paint): string[] {
  // Names and messages come from the statement: nothing in them may hide, or look like another line.
  return rows.map(
    ([name, value]) => `${paint('dim', name.padEnd(NAME))} ${visible(value).replaceAll(/[\n\t]/g, ' ')}`,
  );
}

function errorBlock({ errorPosition, sql, statements }: Explained, paint: Paint): string[][] {
  if (errorPosition === null) return [];
  const at = byteOf(sql, errorPosition);
  const secrets = statements.flatMap((statement) => statement.secrets);
  return [pictured(sql, [at, at], secrets, 'the grammar stops here', paint)];
}

function byteOf(sql: Buffer, position: number): number {
  let left = position - 1;
  let at = 0;
  for (; at < sql.length; at++) if (((sql[at] ?? 0) & 0xc0) !== 0x80 && left-- === 0) return at;
  return at;
}

function statementBlock(
  explained: Explained,
  statement: StatementAnalysis,
  place: number,
  paint: Paint,
): string[] {
  const { sql, statements } = explained;
  const secrets = statements.flatMap((one) => one.secrets);
  const { cause } = statement;
  const lines: string[] = [];
  if (statements.length > 1)
    lines.push(paint('bold', `statement ${place + 1} of ${statements.length}: ${statement.class}`));
  if (cause !== null && ABOVE_WRITE.has(statement.class))
    lines.push(...pictured(sql, [cause.start, cause.end], secrets, null, paint));
  const own = statements.length > 1 && ABOVE_WRITE.has(statement.class) ? statement.reasons : [];
  return [
    ...lines,
    ...rowLines(
      [...own.map((reason) => ['because', reason] as const), ...factRows(statement, explained, place)],
      paint,
    ),
  ];
}

const ABOVE_WRITE: ReadonlySet<string> = new Set([
  'bulk_write',
  'export',
  'ddl',
  'privilege',
  'opaque',
  'admin',
  'unparsed',
]);

function pictured(
  sql: Buffer,
  part: readonly [number, number],
  secrets: StatementAnalysis['secrets'],
  note: string | null,
  paint: Paint,
): string[] {
  const { line, column, shown, marks, more } = markPart(sql, part, secrets);
  const number = String(line);
  const gutter = (text: string) => paint('dim', `${text.padStart(NAME - 2)} |`);
  const goesOn = more === 0 ? '' : `, and ${more} more line${more === 1 ? '' : 's'}`;
  const what = note ?? `line ${line}, column ${column}${goesOn}`;
  return [`${gutter(number)} ${shown}`, `${gutter('')} ${paint('yellow', marks)} ${what}`];
}

/** The facts of one statement as rows of a name and a value. */
function factRows(statement: StatementAnalysis, explained: Explained, place: number): readonly Row[] {
  const rows: Row[] = statement.command === '' ? [] : [['command', statement.command]];
  for (const use of statement.relations) rows.push(['relation', relationWords(use, explained.catalog)]);
  for (const one of statement.functions) {
    if (one.builtin && one.volatility !== 'volatile') continue;
    const name = one.schema === null ? one.name : `${one.schema}.${one.name}`;
    const definer = one.securityDefiner === true ? ', SECURITY DEFINER' : '';
    rows.push(['function', `${name}: ${one.volatility ?? 'not known'}${definer}`]);
  }
  for (const kind of ['operators', 'types', 'casts', 'roles', 'boundary', 'tags'] as const)
    if (statement[kind].length > 0) rows.push([kind, statement[kind].join(', ')]);
  for (const { name, value, action } of statement.settings)
    rows.push(['setting', `${action} ${name}${value === null ? '' : ` = ${value}`}`]);
  return [...rows, ...sizeRows(statement, explained, place), ...unknownRows(statement, explained)];
}

function relationWords(use: RelationUse, catalog: Catalog | null): string {
  const name = use.schema === null ? use.name : `${use.schema}.${use.name}`;
  const notes = [columnsOf('reads', use.columns?.read), columnsOf('writes', use.columns?.written)];
  const known = use.schema === null ? undefined : catalog?.relation(use.schema, use.name);
  if (known !== undefined) {
    if (known.kind !== 'table') notes.push(known.kind);
    if (known.kind !== 'view')
      notes.push(known.rows === null ? 'number of rows not known' : `about ${counted(known.rows)} rows`);
  } else if (catalog !== null) notes.push('not in the catalog');
  if ((use.tags ?? []).length > 0) notes.push(`tags ${use.tags?.join(', ')}`);
  const said = notes.filter((note) => note !== '').join('; ');
  return `${use.mode} ${name}${said === '' ? '' : ` (${said})`}`;
}

function columnsOf(verb: string, columns: readonly string[] | null | undefined): string {
  if (columns === undefined) return '';
  if (columns === null) return `${verb} columns that are not known`;
  return columns.length === 0 ? '' : `${verb} ${columns.join(', ')}`;
}

function sizeRows(statement: StatementAnalysis, { estimates, limits }: Explained, place: number): Row[] {
  const rows: Row[] = [];
  if (statement.rowBound === 0 && statement.rowBoundBy === 'values') rows.push(['rows', 'none come back']);
  else if (statement.rowBound !== null && statement.rowBoundBy !== null)
    rows.push(['rows', `at most ${counted(statement.rowBound)}, by ${statement.rowBoundBy}`]);
  else if (statement.rowBoundBy === 'nothing') rows.push(['rows', 'nothing in the statement bounds them']);
  const estimate = estimates[place] ?? null;
  if (estimate !== null) {
    const { rows: back, foldedRows } = estimate;
    const folded = foldedRows > 0 ? `, up to ${counted(foldedRows)} folded into few values` : '';
    rows.push([
      'estimate',
      `about ${counted(back)} rows come back${folded}: by the server's planner (EXPLAIN, not run); the limit is ${counted(limits.exportRows)}`,
    ]);
  }
  if (statement.measured === 'export')
    rows.push([
      'measured',
      `it flows by that estimate alone, so what really comes is counted: no more than ${counted(limits.exportRows)} rows or ${counted(limits.exportBytes)} bytes pass`,
    ]);
  if (statement.measured === 'catalog')
    rows.push([
      'measured',
      `it reads system catalogs alone, which have a limit of their own: ${counted(limits.catalogRows)} rows`,
    ]);
  return rows;
}

/** What is not known, and why that matters. */
function unknownRows(statement: StatementAnalysis, { catalog, decision }: Explained): Row[] {
  const rows: Row[] = [];
  if (statement.class === 'unparsed')
    rows.push([
      'unknown',
      decision === 'deny'
        ? 'what cannot be read cannot be judged; a mistake is left to the server, and nobody is asked about it'
        : 'what cannot be read could do anything, so it waits until a person has read it',
    ]);
  if (statement.class === 'opaque')
    rows.push([
      'unknown',
      catalog === null
        ? 'by the text alone nobody can tell what it runs, and unknown means held; --upstream URL asks a database'
        : 'nobody has proved what it runs to be harmless, and unknown means held; "countersign functions" shows why a function is not proved, and lists those that somebody vouches for',
    ]);
  if (statement.unresolved !== null)
    rows.push([
      'unknown',
      `what ${visible(statement.unresolved.name)} is, only its own session knows; there it takes the class of that`,
    ]);
  if (statement.doubt !== null && catalog !== null)
    rows.push(['unknown', 'the server was asked and could not say more, so the worst counts']);
  const depends = statement.dependsOnParameters;
  if (depends.length > 0)
    rows.push([
      'unknown',
      `the value${depends.length === 1 ? '' : 's'} of ${depends.map((n) => `$${n}`).join(', ')}: the worst counts until it is bound`,
    ]);
  return rows;
}

function counted(rows: number): string {
  return Math.ceil(rows).toLocaleString('en-US');
}
