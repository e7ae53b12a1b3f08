import {
  castRow,
  classRow,
  constraintRow,
  functionRow,
  indexRow,
  int,
  operatorRow,
  relationRow,
  ruleRow,
  str,
  tagsIn,
  triggerRow,
  typeRow,
  vector,
  volatility,
} from './decode-rows.ts';
import type { RawCatalog, RawRow } from './read.ts';
import type {
  BuiltinRow,
  CastRow,
  ClassRow,
  ColumnStatisticsRow,
  ConstraintRow,
  DefaultRow,
  DependencyTarget,
  FamilyMember,
  FunctionRow,
  IndexRow,
  OperatorRow,
  PartitionKeyRow,
  PolicyRow,
  RelationRow,
  RuleRow,
  StatisticsRow,
  TagRow,
  TriggerRow,
  TypeRow,
  ViewColumnsRow,
} from './rows.ts';

/** The rows, and the indexes over them that the closure walks. */
export type Snapshot = {
  readonly serverVersion: number;
  readonly blockSize: number;
  readonly relations: ReadonlyMap<number, RelationRow>;
  /** `type:typmod` to the type's name. */
  readonly typeNames: ReadonlyMap<string, string>;
  readonly indexes: ReadonlyMap<number, readonly IndexRow[]>;
  readonly types: ReadonlyMap<number, TypeRow>;
  readonly functions: ReadonlyMap<number, FunctionRow>;
  readonly builtins: ReadonlyMap<number, BuiltinRow>;
  /** Built-ins that are one C function under several names. */
  readonly builtinsBySymbol: ReadonlyMap<string, readonly BuiltinRow[]>;
  readonly aggregates: ReadonlyMap<
    number,
    { readonly functions: readonly number[]; readonly operator: number }
  >;
  readonly operators: ReadonlyMap<number, OperatorRow>;
  readonly classes: ReadonlyMap<number, ClassRow>;
  readonly classesOfType: ReadonlyMap<number, readonly ClassRow[]>;
  readonly families: ReadonlyMap<number, readonly FamilyMember[]>;
  readonly castsFrom: ReadonlyMap<number, readonly CastRow[]>;
  readonly castsTo: ReadonlyMap<number, readonly CastRow[]>;
  readonly triggers: ReadonlyMap<number, readonly TriggerRow[]>;
  readonly rules: ReadonlyMap<number, readonly RuleRow[]>;
  readonly policies: ReadonlyMap<number, readonly PolicyRow[]>;
  /** By the relation that has it, by the domain that has it, by the relation that a foreign key points at. */
  readonly constraints: ReadonlyMap<number, readonly ConstraintRow[]>;
  readonly domainConstraints: ReadonlyMap<number, readonly ConstraintRow[]>;
  readonly referencedBy: ReadonlyMap<number, readonly ConstraintRow[]>;
  readonly defaults: ReadonlyMap<number, readonly DefaultRow[]>;
  readonly children: ReadonlyMap<number, readonly number[]>;
  readonly parents: ReadonlyMap<number, readonly number[]>;
  readonly partitionKeys: ReadonlyMap<number, PartitionKeyRow>;
  readonly statistics: ReadonlyMap<number, readonly StatisticsRow[]>;
  /** `catalog:oid` of an expression's owner to the user objects it uses. */
  readonly uses: ReadonlyMap<string, readonly DependencyTarget[]>;
  /** By `relation:column number`. */
  readonly columnStatistics: ReadonlyMap<string, ColumnStatisticsRow>;
  readonly viewDefinitions: ReadonlyMap<number, string>;
  /** By relation. */
  readonly tagComments: ReadonlyMap<number, readonly TagRow[]>;
  /** By view. */
  readonly viewColumns: ReadonlyMap<number, readonly ViewColumnsRow[]>;
};

/** Rows decoded at one go before other work gets its turn. */
const CHUNK = 2_000;

/** Decodes what `readCatalog` read; gives way to the event loop every few milliseconds. */
export async function decodeSnapshot(raw: RawCatalog): Promise<Snapshot> {
  return { ...(await decodeRelations(raw)), ...(await decodeReactions(raw)), ...(await decodeCode(raw)) };
}

type Part<K extends keyof Snapshot> = Promise<Pick<Snapshot, K>>;

async function decodeRelations(
  raw: RawCatalog,
): Part<
  | 'serverVersion'
  | 'blockSize'
  | 'relations'
  | 'typeNames'
  | 'indexes'
  | 'children'
  | 'parents'
  | 'partitionKeys'
  | 'statistics'
  | 'columnStatistics'
  | 'viewDefinitions'
  | 'tagComments'
  | 'viewColumns'
> {
  const [version, blockSize] = raw.server[0] ?? [];
  const inheritance = await list(raw.inheritance, (r) => ({ child: int(r[0]), parent: int(r[1]) }));
  return {
    serverVersion: int(version),
    blockSize: int(blockSize),
    relations: await keyed(raw.relations, (r) => [int(r[0]), relationRow(r)]),
    typeNames: await keyed(raw.typeNames, (r) => [`${str(r[0])}:${str(r[1])}`, str(r[2])]),
    indexes: group(await list(raw.indexes, indexRow), (row) => row.relation),
    children: group(
      inheritance,
      (row) => row.parent,
      (row) => row.child,
    ),
    parents: group(
      inheritance,
      (row) => row.child,
      (row) => row.parent,
    ),
    partitionKeys: await keyed(raw.partitionKeys, (r) => [
      int(r[0]),
      { classes: vector(r[1]), tree: str(r[2]) },
    ]),
    statistics: await grouped(raw.statistics, (r) => [
      int(r[1]),
      { oid: int(r[0]), name: str(r[2]), tree: str(r[3]) },
    ]),
    columnStatistics: await keyed(raw.columnStatistics, (r) => [
      `${str(r[0])}:${str(r[1])}`,
      { distinct: Number(r[2]), nulls: Number(r[3]), commonest: r[4] == null ? null : Number(r[4]) },
    ]),
    viewDefinitions: await keyed(raw.viewDefinitions, (r) => [int(r[0]), str(r[1])]),
    tagComments: await grouped(raw.tagComments, (r) => [
      int(r[0]),
      { column: r[1] ?? null, tags: tagsIn(str(r[2])) },
    ]),
    viewColumns: await grouped(raw.viewColumns, (r) => [
      int(r[0]),
      { relation: int(r[1]), columns: r[3] === 't' ? null : (JSON.parse(str(r[2])) as string[]) },
    ]),
  };
}

/** What is evaluated or set off when a relation or a domain is used. */
async function decodeReactions(
  raw: RawCatalog,
): Part<
  | 'triggers'
  | 'rules'
  | 'policies'
  | 'constraints'
  | 'domainConstraints'
  | 'referencedBy'
  | 'defaults'
  | 'uses'
> {
  const constraints = await list(raw.constraints, constraintRow);
  return {
    triggers: await grouped(raw.triggers, (r) => [int(r[1]), triggerRow(r)]),
    rules: await grouped(raw.rules, (r) => [int(r[1]), ruleRow(r)]),
    policies: await grouped(raw.policies, (r) => [
      int(r[1]),
      { oid: int(r[0]), name: str(r[2]), tree: str(r[3]) },
    ]),
    constraints: group(
      constraints.filter((row) => row.relation !== 0),
      (row) => row.relation,
    ),
    domainConstraints: group(
      constraints.filter((row) => row.type !== 0),
      (row) => row.type,
    ),
    referencedBy: group(
      constraints.filter((row) => row.kind === 'f'),
      (row) => row.referenced,
    ),
    defaults: await grouped(raw.defaults, (r) => [
      int(r[1]),
      { oid: int(r[0]), column: int(r[2]), tree: str(r[3]) },
    ]),
    uses: await grouped(raw.dependencies, (r) => [
      `${str(r[0])}:${str(r[1])}`,
      { catalog: str(r[2]), oid: int(r[3]) },
    ]),
  };
}

async function decodeCode(
  raw: RawCatalog,
): Part<
  | 'types'
  | 'functions'
  | 'builtins'
  | 'builtinsBySymbol'
  | 'aggregates'
  | 'operators'
  | 'classes'
  | 'classesOfType'
  | 'families'
  | 'castsFrom'
  | 'castsTo'
> {
  const functions = new Map<number, FunctionRow>();
  await each(raw.functions, (r) => functions.set(int(r[0]), functionRow(r)));
  const builtins = await keyed(raw.builtins, (r) => [
    int(r[0]),
    { name: str(r[1]), volatility: volatility(r[2]), symbol: str(r[3]) },
  ]);
  const classes = await keyed(raw.classes, (r) => [int(r[0]), classRow(r)]);
  const casts = await list(raw.casts, castRow);
  return {
    types: await keyed(raw.types, (r) => [int(r[0]), typeRow(r)]),
    functions,
    builtins,
    builtinsBySymbol: group([...builtins.values()], (row) => row.symbol),
    aggregates: await keyed(raw.aggregates, (r) => [
      int(r[0]),
      { functions: r.slice(1, 9).map(int).filter(Boolean), operator: int(r[9]) },
    ]),
    operators: await keyed(raw.operators, (r) => [int(r[0]), operatorRow(r)]),
    classes,
    classesOfType: group([...classes.values()], (row) => row.type),
    families: group(
      await list(raw.familyMembers, (r) => ({
        family: int(r[0]),
        types: [int(r[1]), int(r[2])],
        kind: str(r[3]) === 'o' ? ('o' as const) : ('p' as const),
        object: int(r[4]),
      })),
      (row) => row.family,
    ),
    castsFrom: group(casts, (row) => row.source),
    castsTo: group(casts, (row) => row.target),
  };
}

async function each(rows: readonly RawRow[], take: (row: RawRow) => void): Promise<void> {
  for (let at = 0; at < rows.length; at += CHUNK) {
    for (const row of rows.slice(at, at + CHUNK)) take(row);
    if (at + CHUNK < rows.length) await new Promise((next) => setImmediate(next));
  }
}

async function list<T>(rows: readonly RawRow[], decode: (row: RawRow) => T): Promise<readonly T[]> {
  const decoded: T[] = [];
  await each(rows, (row) => decoded.push(decode(row)));
  return decoded;
}

async function keyed<K, V>(rows: readonly RawRow[], decode: (row: RawRow) => [K, V]): Promise<Map<K, V>> {
  return new Map(await list(rows, decode));
}

async function grouped<K, V>(rows: readonly RawRow[], decode: (row: RawRow) => [K, V]): Promise<Map<K, V[]>> {
  return group(
    await list(rows, decode),
    ([key]) => key,
    ([, value]) => value,
  );
}

function group<T, K>(rows: readonly T[], key: (row: T) => K): Map<K, T[]>;
function group<T, K, V>(rows: readonly T[], key: (row: T) => K, value: (row: T) => V): Map<K, V[]>;
function group<T, K>(rows: readonly T[], key: (row: T) => K, value?: (row: T) => unknown): Map<K, unknown[]> {
  const groups = new Map<K, unknown[]>();
  for (const row of rows) {
    const entry = value === undefined ? row : value(row);
    const at = groups.get(key(row));
    if (at === undefined) groups.set(key(row), [entry]);
    else at.push(entry);
  }
  return groups;
}
