import type { Context } from './context.ts';
import { list, nameParts, type Tree, text, typeOf } from './tree.ts';

/** System relations of which one column alone is secret; reading the others shows no more than the schema. */
const SECRET_COLUMNS: ReadonlyMap<string, string> = new Map([['pg_catalog.pg_subscription', 'subconninfo']]);

/** True where `checkSecretColumns` will judge by the columns that the statement names. */
export function hasSecretColumn(schema: string, name: string): boolean {
  return SECRET_COLUMNS.has(`${schema}.${name}`);
}

/**
 * Whether a statement that reads such a relation may read its secret column: where it names the column, a whole row, a
 * star, or gives columns other names (then nobody follows which is which). By the tree, anywhere in it, so rather too often.
 */
export function checkSecretColumns(context: Context, statement: unknown): void {
  for (const { schema, name, reason } of context.secretColumns.splice(0)) {
    const rows = new Set([name]);
    collectAliases(statement, name, rows);
    // Other commands (COPY, say) read all columns without naming one.
    if (
      typeOf(statement) !== 'SelectStmt' ||
      mayRead(statement, SECRET_COLUMNS.get(`${schema}.${name}`) ?? '', rows)
    )
      context.facts.raise('privilege', `${schema}.${name} ${reason}`);
  }
}

function collectAliases(node: unknown, relation: string, rows: Set<string>): void {
  if (typeof node !== 'object' || node === null) return;
  const alias = (node as Tree)['alias'];
  // A join's or a sub-query's alias may stand for the row as well.
  if (alias !== undefined && ['', relation].includes(text(node, 'relname')))
    rows.add(text(alias, 'aliasname'));
  for (const key in node) collectAliases((node as Tree)[key], relation, rows);
}

function mayRead(node: unknown, secret: string, rows: ReadonlySet<string>): boolean {
  if (typeof node !== 'object' || node === null) return false;
  if (Array.isArray(node)) return node.some((item) => mayRead(item, secret, rows));
  if (typeOf(node) === 'A_Star') return true;
  for (const key in node) {
    const value = (node as Tree)[key];
    if (key === 'String' && text(value, 'sval') === secret) return true;
    if (key === 'ColumnRef' && rows.has(nameParts(list(value, 'fields')).at(-1) ?? '')) return true;
    if (key === 'colnames' || key === 'isNatural') return true;
    if (mayRead(value, secret, rows)) return true;
  }
  return false;
}
