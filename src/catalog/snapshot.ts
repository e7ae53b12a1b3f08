import { createHash } from 'node:crypto';
import type { Volatility } from './judgement.ts';
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
  TriggerRow,
  TypeRow,
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
  readonly builtinBySymbol: ReadonlyMap<string, BuiltinRow>;
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
};

/** Rows decoded at one go before other work gets its turn. */
const CHUNK = 2_000;

/** Decodes what `readCatalog` read; gives way to the event loop every few milliseconds. */
export async function decodeSnapshot(raw: RawCatalog): Promise<Snapshot> {
  const [version, blockSize] = raw.server[0] ?? [];
  const functions = new Map<number, FunctionRow>();
  await each(raw.functions, (r) => functions.set(int(r[0]), functionRow(r)));
  const builtins = new Map<number, BuiltinRow>();
  const builtinBySymbol = new Map<string, BuiltinRow>();
  await each(raw.builtins, (r) => {
    const row = { name: str(r[1]), volatility: volatility(r[2]), symbol: str(r[3]) };
    builtins.set(int(r[0]), row);
    builtinBySymbol.set(row.symbol, row);
  });
  const classes = await keyed(raw.classes, (r) => [int(r[0]), classRow(r)]);
  const casts = await list(raw.casts, castRow);
  const constraints = await list(raw.constraints, constraintRow);
  const inheritance = await list(raw.inheritance, (r) => ({ child: int(r[0]), parent: int(r[1]) }));
  return {
    serverVersion: int(version),
    blockSize: int(blockSize),
    relations: await keyed(raw.relations, (r) => [int(r[0]), relationRow(r)]),
    typeNames: await keyed(raw.typeNames, (r) => [`${str(r[0])}:${str(r[1])}`, str(r[2])]),
    indexes: group(await list(raw.indexes, indexRow), (row) => row.relation),
    types: await keyed(raw.types, (r) => [int(r[0]), typeRow(r)]),
    functions,
    builtins,
    builtinBySymbol,
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
    uses: await grouped(raw.dependencies, (r) => [
      `${str(r[0])}:${str(r[1])}`,
      { catalog: str(r[2]), oid: int(r[3]) },
    ]),
    columnStatistics: await keyed(raw.columnStatistics, (r) => [
      `${str(r[0])}:${str(r[1])}`,
      { distinct: Number(r[2]), nulls: Number(r[3]), commonest: r[4] == null ? null : Number(r[4]) },
    ]),
    viewDefinitions: await keyed(raw.viewDefinitions, (r) => [int(r[0]), str(r[1])]),
  };
}

function relationRow(r: RawRow): RelationRow {
  return {
    oid: int(r[0]),
    schema: str(r[1]),
    name: str(r[2]),
    kind: str(r[3]),
    reltuples: Number(r[4]),
    relpages: int(r[5]),
    pages: r[6] == null ? null : int(r[6]),
    rowSecurity: r[7] === 't',
    accessMethod: str(r[8]),
    columns: r[9] ?? null,
  };
}

function indexRow(r: RawRow): IndexRow {
  return {
    oid: int(r[0]),
    relation: int(r[1]),
    name: str(r[2]),
    unique: r[3] === 't',
    keyColumns: int(r[4]),
    columns: vector(r[5]),
    classes: vector(r[6]),
    collations: vector(r[7]),
    tree: str(r[8]),
  };
}

function typeRow(r: RawRow): TypeRow {
  return {
    oid: int(r[0]),
    schema: str(r[1]),
    name: str(r[2]),
    kind: str(r[3]),
    element: int(r[4]),
    base: int(r[5]),
    relation: int(r[6]),
    functions: r.slice(7, 13).map(int).filter(Boolean),
    rangeOf: int(r[13]),
    rangeClass: int(r[14]),
    rangeFunctions: r.slice(15, 17).map(int).filter(Boolean),
    multirangeOf: int(r[17]),
    defaultTree: str(r[18]),
  };
}

/** pg_type.dat: the pseudo-type trigger. */
const TRIGGER_TYPE = 2279;

function functionRow(r: RawRow): FunctionRow {
  const [schema, name] = [str(r[1]), str(r[2])];
  const signature = `${schema}.${name}(${str(r[3])})`;
  return {
    oid: int(r[0]),
    schema,
    name,
    signature,
    kind: str(r[4]),
    language: str(r[5]),
    volatility: volatility(r[6]),
    securityDefiner: r[7] === 't',
    returnsTrigger: int(r[16]) === TRIGGER_TYPE,
    body: str(r[8]),
    settings: str(r[10]),
    extension: str(r[17]),
    // Everything that says what it does: signature, language, promises, body, library, settings, SQL-standard body.
    bodyDigest: createHash('sha256')
      .update(JSON.stringify([signature, ...r.slice(4, 11), r[18], r[19]]))
      .digest('hex'),
    args: int(r[11]),
    defaults: int(r[12]),
    variadic: r[13] === 't',
    allArgs: int(r[14]),
    argTypes: vector(r[15]),
    returnType: int(r[16]),
    returnsSet: r[20] === 't',
    sqlTree: str(r[19]),
    defaultsTree: str(r[18]),
  };
}

function operatorRow(r: RawRow): OperatorRow {
  return {
    schema: str(r[1]),
    name: str(r[2]),
    functions: r.slice(3, 6).map(int).filter(Boolean),
    related: r.slice(6, 8).map(int).filter(Boolean),
  };
}

function classRow(r: RawRow): ClassRow {
  return {
    oid: int(r[0]),
    schema: str(r[1]),
    name: str(r[2]),
    family: int(r[3]),
    type: int(r[4]),
    isDefault: r[5] === 't',
  };
}

function castRow(r: RawRow): CastRow {
  return {
    source: int(r[1]),
    target: int(r[2]),
    function: int(r[3]),
    context: str(r[4]),
    label: `the cast from ${str(r[6])} to ${str(r[7])}`,
  };
}

function triggerRow(r: RawRow): TriggerRow {
  return { oid: int(r[0]), name: str(r[2]), function: int(r[3]), type: int(r[4]), whenTree: str(r[6]) };
}

function ruleRow(r: RawRow): RuleRow {
  return {
    oid: int(r[0]),
    name: str(r[2]),
    event: str(r[3]),
    nothing: r[4] === 't',
    enabled: str(r[5]),
    builtins: (str(r[6]).match(/\d+/g) ?? []).map(Number),
    systemRelations: (str(r[7]).match(/\d+/g) ?? []).map(Number),
    arraySubquery: r[8] === 't',
  };
}

function constraintRow(r: RawRow): ConstraintRow {
  return {
    oid: int(r[0]),
    name: str(r[1]),
    kind: str(r[2]),
    relation: int(r[3]),
    type: int(r[4]),
    referenced: int(r[5]),
    onDelete: str(r[6]),
    onUpdate: str(r[7]),
    tree: str(r[8]),
  };
}

function int(value: string | null | undefined): number {
  return Number(value ?? 0);
}
function str(value: string | null | undefined): string {
  return value ?? '';
}
function volatility(value: string | null | undefined): Volatility {
  return value === 'i' || value === 's' ? value : 'v';
}
/** int2vector and oidvector as text: numbers with blanks between. */
function vector(value: string | null | undefined): readonly number[] {
  return value == null || value === '' ? [] : value.split(' ').map(Number);
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
