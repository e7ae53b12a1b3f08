import pg from 'pg';
import type { NameScope } from '../statement/analysis.ts';
import type { FunctionDeed } from '../statement/catalog.ts';
import { nameScope } from './connect.ts';
import type { CatalogJudgement, UserFunction } from './judgement.ts';
import { loadScoped } from './load.ts';
import { FIRST_USER_OID, label } from './rows.ts';
import { formatSearchPath } from './side.ts';
import type { Snapshot } from './snapshot.ts';

/** One user function: what it is seen to do, and how agents come to it. Names and reasons are written by users. */
export type SurveyedFunction = {
  readonly fn: UserFunction;
  /** Null: it is not proved, and `why` says why. */
  readonly does: FunctionDeed | null;
  readonly why: string;
  /** `EXECUTE (role)`, `trigger t of public.orders`, …; empty: agents do not reach it, as far as is known. */
  readonly reached: readonly string[];
};

export type Survey = { readonly scope: NameScope; readonly functions: readonly SurveyedFunction[] };

export type SurveyOptions = {
  /** Roles that agents work as; null: everybody's, so every function counts as reached. */
  readonly roles: readonly string[] | null;
  /** Null: the connection's own. */
  readonly searchPath: readonly string[] | null;
  readonly judgement: CatalogJudgement;
};

/**
 * Looks at all user functions of a database, but for aggregates (what they are made of is looked at). Throws what `pg`
 * throws.
 */
export async function surveyFunctions(url: string, options: SurveyOptions): Promise<Survey> {
  const client = new pg.Client({ connectionString: url, application_name: 'countersign functions' });
  await client.connect();
  try {
    if (options.searchPath !== null)
      await client.query(`SELECT pg_catalog.set_config('search_path', $1, false)`, [
        formatSearchPath(options.searchPath),
      ]);
    const scope = await nameScope(client);
    const scoped = await loadScoped(client, options.judgement);
    const reached = ways(scoped.snapshot);
    for (const [oid, role] of await callable(client, options.roles))
      add(reached, oid, role === null ? 'EXECUTE' : `EXECUTE (${role})`);
    const { prove } = scoped.under(scope);
    const functions = [...scoped.snapshot.functions.values()]
      .filter((row) => row.kind !== 'a')
      .map((row): SurveyedFunction => {
        const proof = prove(row);
        return {
          fn: row,
          does: proof.proved ? proof.does : null,
          why: proof.proved ? '' : proof.why,
          reached: [...new Set(reached.get(row.oid) ?? [])].sort(),
        };
      })
      .sort((a, b) => (a.fn.listName < b.fn.listName ? -1 : 1));
    return { scope, functions };
  } finally {
    await client.end();
  }
}

/** [function, role] where the role may call it. Trigger functions are reached through triggers alone. */
async function callable(
  client: pg.ClientBase,
  roles: readonly string[] | null,
): Promise<readonly (readonly [number, string | null])[]> {
  const { rows } = await client.query<[string, string | null]>({
    text: roles === null ? ANYBODY : BY_ROLE,
    values: roles === null ? [] : [roles],
    rowMode: 'array',
  });
  return rows.map(([oid, role]) => [Number(oid), role]);
}

const CALLABLE = `p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  AND p.prorettype OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog.trigger', 'pg_catalog.event_trigger']::pg_catalog.regtype[])`;
const ANYBODY = `SELECT p.oid, NULL FROM pg_catalog.pg_proc p WHERE ${CALLABLE}`;
const BY_ROLE = `
SELECT p.oid, r.rolname FROM pg_catalog.pg_proc p, pg_catalog.pg_roles r
 WHERE ${CALLABLE} AND r.rolname OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.name[])
   AND pg_catalog.has_function_privilege(r.oid, p.oid, 'EXECUTE')
   AND pg_catalog.has_schema_privilege(r.oid, p.pronamespace, 'USAGE')`;

/** What leads to functions without a call of theirs in a statement, by the function's OID. */
function ways(snapshot: Snapshot): Map<number, string[]> {
  const found = new Map<number, string[]>();
  for (const [oid, triggers] of snapshot.triggers)
    for (const row of triggers) add(found, row.function, `trigger ${row.name} of ${relation(snapshot, oid)}`);
  const owners = expressionOwners(snapshot);
  for (const [owner, uses] of snapshot.uses) {
    const name = owners.get(owner);
    if (name === undefined) continue;
    for (const use of uses) {
      if (use.catalog === 'pg_proc') add(found, use.oid, name);
      for (const oid of snapshot.operators.get(use.catalog === 'pg_operator' ? use.oid : 0)?.functions ?? [])
        add(found, oid, name);
    }
  }
  for (const operator of snapshot.operators.values())
    for (const oid of operator.functions) add(found, oid, `operator ${label(operator)}`);
  for (const cast of [...snapshot.castsFrom.values()].flat())
    if (cast.function !== 0) add(found, cast.function, cast.label);
  for (const [oid, { functions }] of snapshot.aggregates)
    for (const part of functions)
      add(found, part, `aggregate ${snapshot.functions.get(oid)?.listName ?? String(oid)}`);
  for (const type of snapshot.types.values())
    for (const oid of [...type.functions, ...type.rangeFunctions]) add(found, oid, `type ${label(type)}`);
  for (const row of snapshot.classes.values())
    for (const member of snapshot.families.get(row.family) ?? [])
      if (member.kind === 'p') add(found, member.object, `operator class ${label(row)}`);
  for (const oid of found.keys()) if (oid < FIRST_USER_OID) found.delete(oid);
  return found;
}

/** Owners of stored expressions, as in `Snapshot.uses`, by what people call them. */
function expressionOwners(snapshot: Snapshot): Map<string, string> {
  const owners = new Map<string, string>();
  for (const [oid, rows] of snapshot.rules)
    for (const row of rows)
      owners.set(
        `pg_rewrite:${row.oid}`,
        row.event === '1'
          ? `view ${relation(snapshot, oid)}`
          : `rule ${row.name} of ${relation(snapshot, oid)}`,
      );
  for (const [oid, rows] of snapshot.policies)
    for (const row of rows)
      owners.set(`pg_policy:${row.oid}`, `policy ${row.name} of ${relation(snapshot, oid)}`);
  for (const [oid, rows] of snapshot.defaults)
    for (const row of rows) owners.set(`pg_attrdef:${row.oid}`, `a default of ${relation(snapshot, oid)}`);
  for (const [oid, rows] of snapshot.constraints)
    for (const row of rows)
      owners.set(`pg_constraint:${row.oid}`, `constraint ${row.name} of ${relation(snapshot, oid)}`);
  for (const [oid, rows] of snapshot.domainConstraints)
    for (const row of rows) {
      const type = snapshot.types.get(oid);
      owners.set(`pg_constraint:${row.oid}`, `domain ${type === undefined ? String(oid) : label(type)}`);
    }
  for (const [oid, rows] of snapshot.indexes)
    for (const row of rows)
      owners.set(`pg_class:${row.oid}`, `index ${row.name} of ${relation(snapshot, oid)}`);
  return owners;
}

function relation(snapshot: Snapshot, oid: number): string {
  const row = snapshot.relations.get(oid);
  return row === undefined ? String(oid) : label(row);
}

function add(map: Map<number, string[]>, key: number, value: string): void {
  const at = map.get(key);
  if (at === undefined) map.set(key, [value]);
  else at.push(value);
}
