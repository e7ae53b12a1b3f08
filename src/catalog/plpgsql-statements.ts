import type { QuerySize } from '../statement/context.ts';
import { product } from '../statement/query-sizes.ts';
import { expressionOf, list, type Node, only, Unproved, unwrap } from './plpgsql-tree.ts';

/** Size of a query's output; null where it has none. */
export type Judged = QuerySize | null;

/** EXCEPTION (elog.h). */
const ERROR_LEVEL = 21;

/** What a statement's handler has done with the parts of the statement. */
export type Steps = {
  readonly statements: (node: Node, field: string, times: number) => void;
  readonly value: (wrapped: unknown, times: number) => void;
  readonly assignment: (wrapped: unknown, times: number) => void;
  readonly query: (wrapped: unknown) => Judged;
  readonly sql: (wrapped: unknown, into: boolean, times: number) => void;
  readonly carry: (size: Judged, times: number) => void;
  readonly give: (size: Judged, times: number) => void;
  readonly row: (times: number) => void;
  readonly raise: () => void;
};

/** `times`: how often the statement runs in one call, at most. */
type Handler = {
  readonly fields: readonly string[];
  readonly walk: (steps: Steps, node: Node, times: number) => void;
};

const EVER = Number.POSITIVE_INFINITY;

/** The statements that are known; every field of each. */
export const HANDLERS: Readonly<Record<string, Handler>> = {
  PLpgSQL_stmt_block: { fields: ['body', 'exceptions'], walk: block },
  PLpgSQL_stmt_assign: {
    fields: ['varno', 'expr'],
    walk: (steps, node, times) => steps.assignment(node['expr'], times),
  },
  PLpgSQL_stmt_if: {
    fields: ['cond', 'then_body', 'elsif_list', 'else_body'],
    walk(steps, node, times) {
      steps.value(node['cond'], times);
      steps.statements(node, 'then_body', times);
      branches(steps, node, 'elsif_list', 'PLpgSQL_if_elsif', 'cond', times);
      steps.statements(node, 'else_body', times);
    },
  },
  PLpgSQL_stmt_case: {
    fields: ['t_expr', 't_varno', 'case_when_list', 'have_else', 'else_stmts'],
    walk(steps, node, times) {
      steps.value(node['t_expr'], times);
      branches(steps, node, 'case_when_list', 'PLpgSQL_case_when', 'expr', times);
      steps.statements(node, 'else_stmts', times);
    },
  },
  PLpgSQL_stmt_loop: { fields: ['body'], walk: (steps, node) => steps.statements(node, 'body', EVER) },
  PLpgSQL_stmt_while: {
    fields: ['cond', 'body'],
    walk(steps, node) {
      steps.value(node['cond'], EVER);
      steps.statements(node, 'body', EVER);
    },
  },
  PLpgSQL_stmt_fori: {
    fields: ['var', 'lower', 'upper', 'step', 'reverse', 'body'],
    walk(steps, node, times) {
      for (const bound of ['lower', 'upper', 'step']) steps.value(node[bound], times);
      steps.statements(node, 'body', product(times, rounds(node)));
    },
  },
  PLpgSQL_stmt_fors: {
    fields: ['var', 'query', 'body'],
    walk(steps, node, times) {
      const size = steps.query(node['query']);
      steps.carry(size, times);
      steps.statements(node, 'body', product(times, size?.rows ?? EVER));
    },
  },
  PLpgSQL_stmt_forc: {
    fields: ['var', 'curvar', 'argquery', 'body'],
    walk(steps, node) {
      if (node['argquery'] !== undefined) steps.carry(steps.query(node['argquery']), EVER);
      // Its query is judged where the cursor is declared; how many rows it has is not asked.
      steps.carry(
        { rows: EVER, perRow: 1, total: EVER, data: true, tables: true, filtered: false, columns: null },
        1,
      );
      steps.statements(node, 'body', EVER);
    },
  },
  PLpgSQL_stmt_foreach_a: {
    fields: ['varno', 'slice', 'expr', 'body'],
    walk(steps, node, times) {
      steps.value(node['expr'], times);
      steps.statements(node, 'body', EVER);
    },
  },
  PLpgSQL_stmt_exit: {
    fields: ['is_exit', 'cond'],
    walk: (steps, node, times) => steps.value(node['cond'], times),
  },
  PLpgSQL_stmt_return: {
    fields: ['expr', 'retvarno'],
    walk: (steps, node, times) => steps.value(node['expr'], times),
  },
  PLpgSQL_stmt_return_next: {
    fields: ['expr', 'retvarno'],
    walk(steps, node, times) {
      steps.value(node['expr'], times);
      steps.row(times);
    },
  },
  PLpgSQL_stmt_return_query: {
    fields: ['query'],
    walk: (steps, node, times) => steps.give(steps.query(node['query']), times),
  },
  PLpgSQL_stmt_raise: { fields: ['elog_level', 'condname', 'message', 'params', 'options'], walk: raise },
  PLpgSQL_stmt_assert: {
    fields: ['cond', 'message'],
    walk(steps, node, times) {
      steps.value(node['cond'], times);
      steps.value(node['message'], times);
    },
  },
  PLpgSQL_stmt_execsql: {
    fields: ['sqlstmt', 'into', 'strict', 'target'],
    walk: (steps, node, times) => steps.sql(node['sqlstmt'], node['into'] === true, times),
  },
  PLpgSQL_stmt_perform: { fields: ['expr'], walk: (steps, node) => void steps.query(node['expr']) },
  PLpgSQL_stmt_getdiag: { fields: ['is_stacked', 'diag_items'], walk: () => undefined },
};

const DYNAMIC = 'it runs SQL that is made up while it runs (EXECUTE)';
const CURSORS = 'it opens, moves or closes cursors, which may be the session\u2019s';
/** Why a statement that is known, too, is not taken. */
export const REFUSED: Readonly<Record<string, string>> = {
  PLpgSQL_stmt_dynexecute: DYNAMIC,
  PLpgSQL_stmt_dynfors: DYNAMIC,
  PLpgSQL_stmt_open: CURSORS,
  PLpgSQL_stmt_fetch: CURSORS,
  PLpgSQL_stmt_close: CURSORS,
  PLpgSQL_stmt_call: 'it has CALL or DO',
  PLpgSQL_stmt_commit: 'it ends transactions',
  PLpgSQL_stmt_rollback: 'it ends transactions',
};

function block(steps: Steps, node: Node, times: number): void {
  steps.statements(node, 'body', times);
  if (node['exceptions'] === undefined) return;
  const handled = unwrap(node['exceptions']);
  if (handled?.type !== 'PLpgSQL_exception_block')
    throw new Unproved('an exception block has an unknown form');
  only(handled.body, ['exc_list']);
  for (const wrapped of list(handled.body, 'exc_list')) {
    const exception = unwrap(wrapped);
    if (exception?.type !== 'PLpgSQL_exception') throw new Unproved('an exception block has an unknown form');
    only(exception.body, ['conditions', 'action', 'lineno']);
    steps.statements(exception.body, 'action', times);
  }
}

function branches(
  steps: Steps,
  node: Node,
  field: string,
  type: string,
  condition: string,
  times: number,
): void {
  for (const wrapped of list(node, field)) {
    const branch = unwrap(wrapped);
    if (branch?.type !== type) throw new Unproved('a branch has an unknown form');
    only(branch.body, [condition, 'stmts', 'lineno']);
    steps.value(branch.body[condition], times);
    steps.statements(branch.body, 'stmts', times);
  }
}

/** How often FOR i IN a..b runs, where both are plain numbers. */
function rounds(node: Node): number {
  const [from, to] = ['lower', 'upper'].map((field) => expressionOf(node[field])?.query.trim() ?? '');
  if (!/^\d{1,9}$/.test(from ?? '') || !/^\d{1,9}$/.test(to ?? '')) return EVER;
  return Math.abs(Number(to) - Number(from)) + 1;
}

/** An error ends the statement, with one message; anything less may come for every row. */
function raise(steps: Steps, node: Node, times: number): void {
  const params = list(node, 'params');
  const options = list(node, 'options').map((option) => {
    const body = unwrap(option);
    if (body?.type !== 'PLpgSQL_raise_option') throw new Unproved('RAISE has an unknown option');
    return body.body['expr'];
  });
  for (const expression of [...params, ...options]) steps.value(expression, times);
  const level = typeof node['elog_level'] === 'number' ? node['elog_level'] : 0;
  if (level < ERROR_LEVEL && params.length + options.length > 0) steps.raise();
}
