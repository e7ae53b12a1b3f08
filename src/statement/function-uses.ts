import type { BuiltinFunction } from './builtins.ts';
import type { CatalogFunction } from './catalog.ts';
import type { Context } from './context.ts';
import type { Volatility } from './details.ts';

const RANK: Readonly<Record<Volatility, number>> = { immutable: 0, stable: 1, volatile: 2 };

/** Functions of extensions that open connections of their own, by schema or by the beginning of the name. */
const NETWORK_SCHEMAS: ReadonlySet<string> = new Set(['aws_lambda', 'aws_s3', 'http', 'net']);
const NETWORK_NAMES = /^(?:http|http_[a-z_]+|lambda_invoke)$/;

/** Notes a call: `candidates` are the users' functions that could be meant, `builtin` the server's own. */
export function noteFunction(
  context: Context,
  schema: string | null,
  name: string,
  candidates: readonly CatalogFunction[],
  builtin: BuiltinFunction | undefined,
): void {
  const { details } = context.facts;
  const [first] = candidates;
  const only = candidates.length === 1 && builtin === undefined ? first : undefined;
  const owner = first !== undefined && candidates.every((one) => one.schema === first.schema);
  const securityDefiner = securityDefinerOf(candidates);
  details.addFunction({
    schema: schema ?? (builtin !== undefined ? ownSchema(candidates) : owner ? first.schema : null),
    name,
    builtin: builtin !== undefined && first === undefined,
    oid: only?.oid ?? null,
    volatility: volatilityOf(candidates, builtin),
    securityDefiner: first === undefined && builtin === undefined ? null : securityDefiner,
  });
  if (context.definition) return;
  if (builtin?.boundary != null) details.cross(builtin.boundary);
  if (securityDefiner === true) details.cross('role');
  if (builtin !== undefined && first === undefined) return;
  if (name.startsWith('dblink')) details.cross('another_server');
  if (NETWORK_NAMES.test(name) || NETWORK_SCHEMAS.has(schema ?? first?.schema ?? ''))
    details.cross('network');
}

/** Of a bare name that can mean a built-in function: the built-in's schema only if nothing else can be meant. */
function ownSchema(candidates: readonly CatalogFunction[]): string | null {
  return candidates.length === 0 ? 'pg_catalog' : null;
}

function volatilityOf(
  candidates: readonly CatalogFunction[],
  builtin: BuiltinFunction | undefined,
): Volatility | null {
  let most: Volatility | null = builtin?.volatility ?? null;
  for (const { volatility } of candidates) {
    // Declared by nobody that we know of: the worst.
    const one = volatility ?? 'volatile';
    if (most === null || RANK[one] > RANK[most]) most = one;
  }
  return most;
}

/** True where one that could be meant is; null where one is not known. */
function securityDefinerOf(candidates: readonly CatalogFunction[]): boolean | null {
  if (candidates.some((one) => one.securityDefiner === true)) return true;
  return candidates.some((one) => one.securityDefiner === undefined) ? null : false;
}
