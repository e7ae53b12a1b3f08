import type { Analysis, NameScope, StatementAnalysis, StatementClass } from './analysis.ts';
import type { Answer, Answers } from './answers.ts';
import { checkCasts } from './casts.ts';
import type { Catalog } from './catalog.ts';
import { TAGS } from './commands.ts';
import {
  type AnalysisLimits,
  type Context,
  MOST_VIEWS,
  type ParameterValues,
  type QuerySize,
} from './context.ts';
import { Facts, isHigher } from './facts.ts';
import { installHandlers } from './handlers.ts';
import { noteMade } from './made.ts';
import { applyMeaning, doubtAboutNames, meaningOf } from './meaning.ts';
import type { ParseResult } from './parse-result.ts';
import { partOf } from './part.ts';
import { checkSecretColumns } from './secret-columns.ts';
import { type Inner, sessionCommand } from './session-commands.ts';
import { heldTogether, raiseBySize } from './size-limit.ts';
import { child, type Tree, typeOf } from './tree.ts';
import { unreadable } from './unreadable.ts';
import { installUtilityHandlers, utilityCommand } from './utility.ts';
import { type BodyVariables, variableLevel } from './variables.ts';
import { visit } from './walk.ts';

const NO_ANSWERS: Answers = [];

type ParseTree = Extract<ParseResult, { kind: 'tree' }>;

installHandlers();
installUtilityHandlers();

/**
 * From a parse to facts and a class. Pure; never throws because of the text. `catalog` null: by grammar alone, where
 * names that are not built in are taken for plain tables of unknown size. `parameters`: values of a Bind, for
 * statements whose `dependsOnParameters` is not empty. `answers`: of the server, for statements with a `doubt`.
 */
export function analyse(
  parse: ParseResult,
  catalog: Catalog | null,
  scope: NameScope,
  limits: AnalysisLimits,
  parameters: ParameterValues | null = null,
  answers: Answers = NO_ANSWERS,
): Analysis {
  return drained(analyseInSteps(parse, catalog, scope, limits, parameters, answers));
}

/** The same, with a step for each statement of the text: for who has something else to do in between. */
export function* analyseInSteps(
  parse: ParseResult,
  catalog: Catalog | null,
  scope: NameScope,
  limits: AnalysisLimits,
  parameters: ParameterValues | null = null,
  answers: Answers = NO_ANSWERS,
): Generator<undefined, Analysis> {
  if (parse.kind === 'error') return unreadable(parse);
  return yield* run(contextOf(parse, catalog, scope, limits, parameters, null), parse, answers);
}

function drained(steps: Generator<undefined, Analysis>): Analysis {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

export type BodyAnalysis = {
  readonly analysis: Analysis;
  /** Of each statement's output; null: it has none. Too big an output is not an `export` here: the caller decides. */
  readonly sizes: readonly (QuerySize | null)[];
};

/** As `analyse`, for statements of a function's body, whose variables are known. */
export function analyseBody(
  parse: ParseResult,
  catalog: Catalog | null,
  scope: NameScope,
  limits: AnalysisLimits,
  variables: BodyVariables,
): BodyAnalysis {
  if (parse.kind === 'error') return { analysis: unreadable(parse), sizes: [] };
  const body = { level: variableLevel(variables), sizes: [] as QuerySize[] };
  const context = contextOf(parse, catalog, scope, limits, null, body);
  const sizes: (QuerySize | null)[] = [];
  const noteSize = () => {
    sizes.push(body.sizes.at(-1) ?? null);
    body.sizes.length = 0;
  };
  return { analysis: drained(run(context, parse, NO_ANSWERS, noteSize)), sizes };
}

function contextOf(
  parse: ParseTree,
  catalog: Catalog | null,
  scope: NameScope,
  limits: AnalysisLimits,
  parameters: ParameterValues | null,
  body: Context['body'],
): Context {
  return {
    catalog,
    base: catalog,
    limits,
    sql: parse.sql,
    parameters,
    answer: null,
    path: scope.searchPath,
    pathChanged: false,
    pathIsFresh: false,
    tempPossible: scope.tempPossible,
    facts: new Facts(),
    level: null,
    ctes: null,
    definition: false,
    root: null,
    rootSize: null,
    sizes: null,
    depth: 0,
    viewsLeft: MOST_VIEWS,
    tableRows: 0,
    largestRows: -1,
    largestAt: -1,
    casts: [],
    secretColumns: [],
    prepared: new Map(),
    portals: new Map(),
    made: new Set(),
    grown: 0,
    later: false,
    body,
  };
}

function* run(
  context: Context,
  parse: ParseTree,
  answers: Answers,
  done: () => void = () => undefined,
): Generator<undefined, Analysis> {
  const statements: StatementAnalysis[] = [];
  for (const [place, { node, start, end }] of parse.statements.entries()) {
    context.answer = answers[place] ?? null;
    const statement = analyseStatement(context, node, start, end);
    statements.push(statement);
    done();
    noteMade(context, node, statement);
    context.grown += grownBy(statement);
    // What ran before in this string is in force for the rest of it.
    if (statement.makesTemp) context.tempPossible = true;
    if (statement.changesSearchPath) {
      if (!context.pathIsFresh) context.path = null;
      context.pathChanged = true;
      context.pathIsFresh = false;
    }
    yield;
  }
  return summary(heldTogether(statements));
}

/** Rows that tables may have more of when it has run; what it makes anew the catalog does not know in any case. */
function grownBy({ class: rank, runsUserCode, sizes }: StatementAnalysis): number {
  if (!isHigher(rank, 'read') || rank === 'ddl' || rank === 'privilege') return 0;
  return runsUserCode === true ? Number.POSITIVE_INFINITY : (sizes?.written ?? Number.POSITIVE_INFINITY);
}

function analyseStatement(context: Context, node: unknown, start: number, end: number): StatementAnalysis {
  const { facts: outer, level, ctes, tableRows, catalog, path, base, answer } = context;
  const facts = new Facts();
  const scope = { searchPath: context.later ? null : path, tempPossible: context.tempPossible };
  context.catalog = base?.under?.(scope) ?? base;
  context.facts = facts;
  context.level = context.body?.level ?? null;
  context.ctes = null;
  context.tableRows = 0;
  context.largestRows = -1;
  context.largestAt = -1;
  const type = typeOf(node);
  const body = child(node, type);
  // What the server said of a command is about the query in it.
  if (!QUERIES.has(type)) context.answer = null;
  const within: Inner = (inner, wrapped) => contained(inner, type, body ?? {}, wrapped, answer, start, end);
  facts.command = TAGS[type] ?? type.replace('Stmt', '').toUpperCase();
  if (body === null) facts.raise('unparsed', 'a statement has an unknown form');
  else if (!sessionCommand(context, type, body, within)) {
    if (!utilityCommand(context, type, body, { start, end })) query(context, type, node);
  }
  if (context.casts.length > 0) checkCasts(context, node);
  if (context.secretColumns.length > 0) checkSecretColumns(context, node);
  const meaning = meaningOf(context);
  if (meaning !== null && QUERIES.has(type)) applyMeaning(context, meaning);
  facts.doubt = doubtAboutNames(context, QUERIES.has(type)) ?? facts.doubt;
  for (const effect of context.catalog?.ambientEffects ?? [])
    if (isHigher(facts.class, 'session')) facts.raise('opaque', effect);
  const { at } = facts;
  facts.at = facts.largeAt;
  raiseBySize(context, type);
  facts.at = at;
  context.answer = answer;
  context.facts = outer;
  context.level = level;
  context.ctes = ctes;
  context.tableRows = tableRows;
  context.catalog = catalog;
  if (facts.changesSearchPath && QUERIES.has(type) && path !== null) {
    // set_config in the midst of a query: nobody knows which calls come after it.
    context.path = null;
    const again = analyseStatement(context, node, start, end);
    context.path = path;
    return again;
  }
  return facts.finish(context.sql, start, end);
}

/** A statement in another one; the server can be asked about it alone where it is certain where it stands. */
function contained(
  context: Context,
  type: string,
  around: Tree,
  node: unknown,
  answer: Answer | null,
  start: number,
  end: number,
): StatementAnalysis {
  const part = QUERIES.has(typeOf(node)) ? partOf(context, type, around, node, start, end) : null;
  context.answer = part === null ? null : answer;
  const statement = analyseStatement(context, node, start, end);
  context.answer = null;
  const { doubt } = statement;
  if (doubt === null || part === null) return { ...statement, doubt: null };
  // With parameters of its own it could be planned as something else than it is.
  const size = doubt.size && (part.types?.length ?? 0) === 0;
  const types = part.types === null ? {} : { types: part.types };
  return { ...statement, doubt: { ...doubt, size, part: part.part, ...types } };
}

const QUERIES = new Set(['SelectStmt', 'InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt']);

/** SELECT, VALUES, TABLE, INSERT, UPDATE, DELETE, MERGE: what they return may be too much. */
function query(context: Context, type: string, node: unknown): void {
  const { facts, limits } = context;
  if (!QUERIES.has(type)) return facts.raise('unparsed', `the statement (${type}) is not known`);
  const { root, rootSize } = context;
  context.root = child(node, type);
  context.rootSize = null;
  visit(context, node);
  const size = context.rootSize as QuerySize | null;
  context.root = root;
  context.rootSize = rootSize;
  if (size === null) return;
  const bound = size.unfolds === true ? (size.limit ?? Number.POSITIVE_INFINITY) : size.rows;
  facts.rowBound = Number.isFinite(bound) ? bound : null;
  facts.rowBoundBy = facts.rowBound === null ? 'nothing' : (size.by ?? null);
  facts.carriedRows = Math.max(bound, size.total);
  if (context.body !== null) return void context.body.sizes.push(size);
  const most = size.unfolds === true ? bound : Math.max(bound, size.total);
  if (size.tables && !size.data && !(most <= limits.catalogRows)) facts.measured = 'catalog';
  if (context.catalog === null || !size.data || size.total <= limits.exportRows) return;
  const upTo = Number.isFinite(size.total) ? `up to ${Math.ceil(size.total)} rows` : 'rows without a bound';
  const names = facts.relations.filter(({ schema }) => schema !== 'pg_catalog').map(({ name }) => name);
  const { at } = facts;
  facts.at = context.largestAt;
  facts.tooLarge(`may return ${upTo} of ${names.slice(0, 5).join(', ')}; the limit is ${limits.exportRows}`);
  facts.at = at;
}

function summary(statements: readonly StatementAnalysis[]): Analysis {
  const [only] = statements;
  if (only !== undefined && statements.length === 1) {
    const { class: class_, reasons, changesPinned } = only;
    return { statements, class: class_, reasons, changesPinned, syntaxError: null };
  }
  let highest: StatementClass = 'session';
  for (const statement of statements) if (isHigher(statement.class, highest)) highest = statement.class;
  const reasons = statements.filter((s) => s.class === highest).flatMap((s) => s.reasons);
  return {
    statements,
    class: highest,
    reasons: reasons.length > 0 ? [...new Set(reasons)] : ['an empty statement'],
    changesPinned: statements.some((statement) => statement.changesPinned),
    syntaxError: null,
  };
}
