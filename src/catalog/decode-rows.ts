import { createHash } from 'node:crypto';
import type { Volatility } from './judgement.ts';
import type { RawRow } from './read.ts';
import type {
  CastRow,
  ClassRow,
  ConstraintRow,
  FunctionRow,
  IndexRow,
  OperatorRow,
  RelationRow,
  RuleRow,
  TriggerRow,
  TypeRow,
} from './rows.ts';

/** One row of each query, in the order of its columns (queries.ts). */

export function relationRow(r: RawRow): RelationRow {
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

export function indexRow(r: RawRow): IndexRow {
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

export function typeRow(r: RawRow): TypeRow {
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

export function functionRow(r: RawRow): FunctionRow {
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
    returnsSet: r[20] === 't',
    arguments: str(r[3]),
    argumentNames: r[22] == null ? [] : (JSON.parse(r[22]) as string[]).filter((each) => each !== ''),
    result: str(r[21]),
    listName: str(r[23]),
    body: str(r[8]),
    settings: str(r[10]),
    extension: str(r[17]),
    // Everything that says what it does: signature, language, promises, body, library, settings, defaults, stored tree,
    // result, names of all arguments.
    bodyDigest: createHash('sha256')
      .update(JSON.stringify([signature, ...r.slice(4, 11), r[18], r[19], r[21], r[22]]))
      .digest('hex'),
    args: int(r[11]),
    defaults: int(r[12]),
    variadic: r[13] === 't',
    allArgs: int(r[14]),
    argTypes: vector(r[15]),
    returnType: int(r[16]),
    sqlTree: str(r[19]),
    defaultsTree: str(r[18]),
  };
}

export function operatorRow(r: RawRow): OperatorRow {
  return {
    schema: str(r[1]),
    name: str(r[2]),
    functions: r.slice(3, 6).map(int).filter(Boolean),
    related: r.slice(6, 8).map(int).filter(Boolean),
  };
}

export function classRow(r: RawRow): ClassRow {
  return {
    oid: int(r[0]),
    schema: str(r[1]),
    name: str(r[2]),
    family: int(r[3]),
    type: int(r[4]),
    isDefault: r[5] === 't',
  };
}

export function castRow(r: RawRow): CastRow {
  return {
    source: int(r[1]),
    target: int(r[2]),
    function: int(r[3]),
    context: str(r[4]),
    label: `the cast from ${str(r[6])} to ${str(r[7])}`,
  };
}

export function triggerRow(r: RawRow): TriggerRow {
  return {
    oid: int(r[0]),
    name: str(r[2]),
    function: int(r[3]),
    type: int(r[4]),
    whenTree: str(r[6]),
    deferrable: r[7] === 't',
  };
}

export function ruleRow(r: RawRow): RuleRow {
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

export function constraintRow(r: RawRow): ConstraintRow {
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
    columns: (str(r[9]).match(/\d+/g) ?? []).map(Number),
  };
}

export function int(value: string | null | undefined): number {
  return Number(value ?? 0);
}
export function str(value: string | null | undefined): string {
  return value ?? '';
}
export function volatility(value: string | null | undefined): Volatility {
  return value === 'i' || value === 's' ? value : 'v';
}
/** int2vector and oidvector as text: numbers with blanks between. */
export function vector(value: string | null | undefined): readonly number[] {
  return value == null || value === '' ? [] : value.split(' ').map(Number);
}

/** The tags in a comment: every word `countersign:<tag>`. */
export function tagsIn(comment: string): readonly string[] {
  return [...comment.matchAll(/(?<![\w.:-])countersign:([A-Za-z0-9_][A-Za-z0-9_.-]*)/g)].map(([, tag]) =>
    (tag ?? '').replace(/[.-]+$/, ''),
  );
}
