import type { StatementAnalysis } from '../statement/analysis.ts';
import { showSql } from '../statement/visible.ts';

/** The facts of one statement as rows of a name and a value, for people. `sql`: the whole string. */
export function factRows(statement: StatementAnalysis, sql: Buffer): readonly [string, string][] {
  const rows: [string, string][] = [['command', statement.command]];
  if (statement.cause !== null) rows.push(...causeRows(statement, sql));
  for (const use of statement.relations) {
    const name = use.schema === null ? use.name : `${use.schema}.${use.name}`;
    const notes = [columnsOf('reads', use.columns?.read), columnsOf('writes', use.columns?.written)];
    if ((use.tags ?? []).length > 0) notes.push(`tags ${use.tags?.join(', ')}`);
    const said = notes.filter((note) => note !== '').join('; ');
    rows.push(['relation', `${use.mode} ${name}${said === '' ? '' : ` (${said})`}`]);
  }
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
  if (statement.rowBound !== null && statement.rowBoundBy !== null)
    rows.push(['rows', `at most ${Math.ceil(statement.rowBound)}, by ${statement.rowBoundBy}`]);
  else if (statement.rowBoundBy === 'nothing') rows.push(['rows', 'nothing bounds them']);
  return rows;
}

function columnsOf(verb: string, columns: readonly string[] | null | undefined): string {
  if (columns === undefined) return '';
  if (columns === null) return `${verb} columns that are not known`;
  return columns.length === 0 ? '' : `${verb} ${columns.join(', ')}`;
}

/** `line:column`, the line, and a caret below the part that gave the class. Secrets are not shown. */
function causeRows({ cause, secrets }: StatementAnalysis, sql: Buffer): [string, string][] {
  if (cause === null) return [];
  const from = cause.start === 0 ? 0 : sql.lastIndexOf(0x0a, cause.start - 1) + 1;
  const newline = sql.indexOf(0x0a, cause.start);
  const end = newline < 0 ? sql.length : newline;
  const shown = (start: number, to: number) => {
    const within = secrets.map(([a, b]): [number, number] => [
      Math.max(a, start) - start,
      Math.min(b, to) - start,
    ]);
    return showSql(
      sql.subarray(start, to),
      within.filter(([a, b]) => a < b),
    ).replaceAll('\t', ' ');
  };
  let line = 1;
  for (let at = sql.indexOf(0x0a); at >= 0 && at < cause.start; at = sql.indexOf(0x0a, at + 1)) line += 1;
  const before = shown(from, cause.start);
  const width = Math.max(1, shown(cause.start, Math.min(cause.end, end)).length);
  const column = sql.toString('utf8', from, cause.start).length + 1;
  return [
    ['cause', `${line}:${column}`],
    ['', shown(from, end)],
    ['', `${' '.repeat(before.length)}^${'~'.repeat(width - 1)}`],
  ];
}
