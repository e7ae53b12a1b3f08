import type { NameScope } from '../statement/analysis.ts';
import type { Catalog } from '../statement/catalog.ts';
import { product } from '../statement/query-sizes.ts';
import { type BodyReader, notReading } from './body-reader.ts';
import type { UserFunction } from './judgement.ts';
import { HANDLERS, type Judged, REFUSED, type Steps } from './plpgsql-statements.ts';
import {
  assignedValue,
  type Datums,
  list,
  MODES,
  type Node,
  only,
  text,
  Unproved,
  unwrap,
} from './plpgsql-tree.ts';

const LOOPS = /^PLpgSQL_stmt_(loop|while|for)/;

/** Walks a function's tree; throws `Unproved` at the first thing that is not known or does too much. */
export class PlpgsqlWalk {
  /** Rows of tables whose content variables can hold, all in all. */
  carried = 0;
  /** A part is an export by itself. */
  exports: string | null = null;
  /** Tells the client something that is not constant without ending the statement. */
  raises = false;
  writes = false;
  data = false;
  /** Rows that a set-returning function gives back. */
  rows = 0;
  perRow = 1;
  readonly #reader: BodyReader;
  readonly #fn: UserFunction;
  readonly #catalog: Catalog;
  readonly #scope: NameScope;
  readonly #datums: Datums;
  readonly #labels = new Set<string>();
  #loops = false;

  constructor(reader: BodyReader, fn: UserFunction, catalog: Catalog, scope: NameScope, datums: Datums) {
    this.#reader = reader;
    this.#fn = fn;
    this.#catalog = catalog.under?.(scope) ?? catalog;
    this.#scope = scope;
    this.#datums = datums;
  }

  function(tree: Node): void {
    only(tree, ['datums', 'aliases', 'action', 'old_varno', 'new_varno', 'out_param_varno']);
    this.#look(tree['action']);
    for (const datum of list(tree, 'datums')) this.#datum(datum);
    this.#statement(tree['action'], 1);
  }

  #look(node: unknown): void {
    if (typeof node !== 'object' || node === null) return;
    for (const [key, value] of Object.entries(node)) {
      if (key === 'label' && typeof value === 'string') this.#labels.add(value);
      if (LOOPS.test(key)) this.#loops = true;
      this.#look(value);
    }
  }

  #datum(wrapped: unknown): void {
    const { type, body } = unwrap(wrapped) ?? { type: '', body: {} };
    if (type === 'PLpgSQL_row' || type === 'PLpgSQL_recfield') return;
    only(body, [
      'refname',
      'dno',
      'lineno',
      'datatype',
      'isconst',
      'notnull',
      'default_val',
      'cursor_explicit_expr',
      'cursor_explicit_argrow',
      'cursor_options',
    ]);
    this.#type(body['datatype']);
    // Each time that its block is entered, which a loop may do any number of times.
    this.#value(body['default_val'], this.#loops ? Number.POSITIVE_INFINITY : 1);
    if (body['cursor_explicit_expr'] !== undefined)
      this.#read(text(body['cursor_explicit_expr'], [MODES.statement]));
  }

  /** A value of a user's type is made, compared and cast by code that belongs to it. */
  #type(wrapped: unknown): void {
    if (wrapped === undefined) return;
    const name = unwrap(wrapped)?.body['typname'];
    if (typeof name !== 'string') throw new Unproved('a variable has a type that is not known');
    if (/^(record|refcursor)$/.test(name)) return;
    const copied = /^(.*)%(type|rowtype)$/is.exec(name);
    if (copied === null) return void this.#read(`SELECT NULL::${name}`);
    const [, of = '', how = ''] = copied;
    // x%TYPE of a variable; t.c%TYPE of a column, for which the type of the whole row is looked at.
    const row = how.toLowerCase() === 'rowtype' ? of : of.replace(/(^|\.)[^.]*$/s, '');
    if (row !== '') this.#read(`SELECT NULL::${row}`);
  }

  #statements(node: Node, field: string, times: number): void {
    for (const statement of list(node, field)) this.#statement(statement, times);
  }

  #statement(wrapped: unknown, times: number): void {
    const statement = unwrap(wrapped);
    if (statement === null) throw new Unproved('a statement has an unknown form');
    const { type, body } = statement;
    const handler = HANDLERS[type];
    if (handler === undefined)
      throw new Unproved(REFUSED[type] ?? `it has a statement (${type}) that is not known`);
    only(body, [...handler.fields, 'lineno', 'label']);
    handler.walk(this.#steps, body, times);
  }

  readonly #steps: Steps = {
    statements: (node, field, times) => this.#statements(node, field, times),
    value: (wrapped, times) => this.#value(wrapped, times),
    assignment: (wrapped, times) => this.#assignment(wrapped, times),
    query: (wrapped) => this.#read(text(wrapped, [MODES.statement])),
    sql: (wrapped, into, times) => this.#sql(text(wrapped, [MODES.statement]), into, times),
    carry: (size, times) => this.#carry(size, times),
    give: (size, times) => this.#give(size, times),
    row: (times) => {
      this.rows += times;
    },
    raise: () => {
      this.raises = true;
    },
  };

  /** What is computed for a variable, a condition, a result. */
  #value(wrapped: unknown, times: number): void {
    if (wrapped === undefined) return;
    this.#single(`SELECT ${text(wrapped, [MODES.expression])}`, times);
  }

  #single(sql: string, times: number): void {
    const size = this.#read(sql);
    if (size !== null) this.#carry({ ...size, total: Math.min(size.total, size.perRow) }, times);
  }

  #assignment(wrapped: unknown, times: number): void {
    const value = assignedValue(text(wrapped, MODES.assignments));
    if (value === null) throw new Unproved('an assignment has a target that is not read');
    this.#single(`SELECT ${value}`, times);
  }

  #sql(sql: string, into: boolean, times: number): void {
    const { statement, size, node } = this.#judge(sql);
    if (statement.command === 'INSERT' && this.#fn.returnsTrigger) {
      if (statement.class !== 'write')
        throw new Unproved(statement.reasons[0] ?? 'an INSERT is more than a write');
      if (statement.changesSearchPath || statement.makesTemp)
        throw new Unproved('an INSERT changes the session');
      if (!insertsSingleRows(node)) throw new Unproved('it inserts what a query gives');
      if (times > this.#reader.exportRows)
        throw new Unproved('it inserts rows in a loop that nothing bounds');
      this.writes = true;
    } else {
      this.#mustRead(statement);
    }
    // Without INTO nothing comes back; with it, one row.
    if (into && size !== null) this.#carry({ ...size, total: Math.min(size.total, size.perRow) }, times);
  }

  #read(sql: string): Judged {
    const { statement, size } = this.#judge(sql);
    this.#mustRead(statement);
    return size;
  }

  #mustRead(statement: Parameters<typeof notReading>[0]): void {
    const why = notReading(statement);
    if (why !== null) throw new Unproved(why);
    if (statement.class === 'export') this.exports ??= statement.reasons[0] ?? 'exports';
  }

  #judge(sql: string) {
    const parse = this.#reader.parse(sql);
    if (parse === null) throw new Unproved('a part of its body is too long to be read');
    const { names, qualifiers } = this.#datums;
    const { analysis, sizes } = this.#reader.analyse(parse, this.#catalog, this.#scope, {
      names,
      qualifiers: new Set([this.#fn.name, ...qualifiers, ...this.#labels]),
      mayHideColumns: true,
    });
    const [statement, ...others] = analysis.statements;
    if (parse.kind === 'error' || analysis.syntaxError !== null)
      throw new Unproved(`a part of its body cannot be read: ${analysis.syntaxError?.message ?? ''}`);
    if (statement === undefined || others.length > 0)
      throw new Unproved('a part of its body is no single statement');
    // Variables carry values on to where casts may turn them into others.
    for (const { schema, name } of statement.relations) {
      const relation = schema === null ? undefined : this.#catalog.relation(schema, name);
      const [cast] = relation?.castEffects ?? [];
      if (cast !== undefined) throw new Unproved(`${schema}.${name}: ${cast}`);
    }
    const size = sizes[0] ?? null;
    if (size?.data === true) this.data = true;
    return { statement, size, node: parse.statements[0]?.node ?? {} };
  }

  #carry(size: Judged, times: number): void {
    if (size?.data === true) this.carried += product(size.total, times);
  }

  #give(size: Judged, times: number): void {
    if (size === null) return;
    this.rows += product(size.rows, times);
    this.perRow = Math.max(this.perRow, size.perRow);
  }
}

/** VALUES, or SELECT of values, without a table to feed from. */
function insertsSingleRows(node: unknown): boolean {
  const insert = unwrap(node)?.body;
  if (insert === undefined || insert['withClause'] !== undefined) return false;
  if (insert['selectStmt'] === undefined) return true;
  const select = unwrap(insert['selectStmt']);
  if (select?.type !== 'SelectStmt') return false;
  const { op, fromClause, withClause } = select.body;
  return (op === undefined || op === 'SETOP_NONE') && fromClause === undefined && withClause === undefined;
}
