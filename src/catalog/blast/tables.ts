import { lockWords, type TableWork } from '../../statement/locks.ts';
import type { Target } from '../../statement/target.ts';
import { notFoundFinding } from './drops.ts';
import { type Finding, finding, plural } from './finding.ts';
import type { Radius } from './radius.ts';
import { familyOf, relationWords, sizeInWords, sizesOf } from './sizes.ts';

const WORK: Readonly<Record<TableWork, string | null>> = {
  rewrite: 'it writes the whole of it anew',
  maybe_rewrite:
    'it may write the whole of it anew (not where types, defaults or storage need no change of the rows)',
  scan: 'it may read all of it to check the rule',
  index: 'it reads all of it to build an index',
  none: null,
};

export async function tableFindings(
  { look, find }: Radius,
  { relation, lock, work, children }: Extract<Target, { kind: 'table' }>,
): Promise<readonly Finding[]> {
  const found = await find.relation(relation);
  if (found === null) return [notFoundFinding([relation])];
  const family = children ? await familyOf(look, found.oid) : [found.oid];
  const sizes = await sizesOf(look, family);
  const done = work.flatMap((one) => WORK[one] ?? []);
  const name = `${relationWords(found)}${sizeInWords(sizes)}`;
  const below = family.length - 1;
  return [
    finding(
      'Lock',
      [
        `${lock} on ${name}${below > 0 ? ` and ${plural(below, 'partition or child', 'partitions and children')}` : ''}: ${lockWords(lock)}`,
        ...done,
      ].join('; '),
    ),
  ];
}

/** Truncates the tables, their partitions and, with CASCADE, all that refer to them; without, it fails. */
export async function truncateFindings(
  { look, find }: Radius,
  { tables, cascade }: Extract<Target, { kind: 'truncate' }>,
): Promise<readonly Finding[]> {
  const named = new Set<number>();
  const out: Finding[] = [];
  for (const table of tables) {
    const found = await find.relation(table);
    if (found === null) out.push(notFoundFinding([table]));
    else for (const oid of await familyOf(look, found.oid)) named.add(oid);
  }
  if (named.size === 0) return out;
  const all = await referring(look, [...named]);
  const others = all.filter((oid) => !named.has(oid));
  const own = await sizesOf(look, [...named]);
  const more = await sizesOf(look, others);
  out.push(
    finding(
      'Empties',
      `${plural(own.length, 'table')}${sizeInWords(own)}; ACCESS EXCLUSIVE lock on each`,
      own.map((one) => one.words),
    ),
  );
  if (others.length > 0)
    out.push(
      cascade
        ? finding(
            'CASCADE',
            `empties ${plural(others.length, 'other table')} that refer to them${sizeInWords(more)}`,
            more.map((one) => one.words),
          )
        : finding(
            'Fails',
            `without CASCADE the server refuses it: ${plural(others.length, 'table refers', 'tables refer')} to them`,
            more.map((one) => one.words),
          ),
    );
  return out;
}

/** Tables that refer by foreign keys to these, closed over, with partitions; those given included. */
async function referring(look: Radius['look'], oids: readonly number[]): Promise<readonly number[]> {
  const rows = await look.rows<{ oid: number }>(
    `WITH RECURSIVE f (oid) AS (SELECT pg_catalog.unnest($1::int8[]::oid[]) UNION
       SELECT next.oid FROM f CROSS JOIN LATERAL (
         SELECT k.conrelid AS oid FROM pg_catalog.pg_constraint k WHERE k.confrelid = f.oid AND k.contype = 'f'
         UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = f.oid) next)
     SELECT f.oid::int8::float8 AS oid FROM f ORDER BY 1 LIMIT 10000`,
    [oids],
  );
  return rows.map(({ oid }) => oid);
}

export async function refreshFindings(
  { look, find }: Radius,
  { view }: Extract<Target, { kind: 'refresh' }>,
): Promise<readonly Finding[]> {
  const found = await find.relation(view);
  if (found === null) return [];
  const sources = await look.rows<{ oid: number }>(
    `SELECT DISTINCT d.refobjid::int8::float8 AS oid FROM pg_catalog.pg_rewrite r
       JOIN pg_catalog.pg_depend d ON d.classid = 2618::oid AND d.objid = r.oid AND d.refclassid = 1259::oid
     WHERE r.ev_class = $1::int8::oid AND d.refobjid <> r.ev_class`,
    [found.oid],
  );
  const sizes = await sizesOf(
    look,
    sources.map(({ oid }) => oid),
  );
  return [
    finding(
      'Reads',
      `runs its query again, over ${plural(sizes.length, 'relation')}${sizeInWords(sizes)}`,
      sizes.map((one) => one.words),
    ),
  ];
}

export async function writeFindings(
  { find, look, cascades }: Radius,
  { relation, access }: Extract<Target, { kind: 'write' }>,
): Promise<readonly Finding[]> {
  const found = await find.relation(relation);
  if (found === null) return [notFoundFinding([relation])];
  const sizes = await sizesOf(look, await familyOf(look, found.oid));
  const verb = access === 'delete' ? 'deletes from' : 'updates';
  const reached = cascades(found.schema, found.name, access);
  return [
    finding('Writes', `${verb} ${relationWords(found)}${sizeInWords(sizes)}`),
    ...(reached === null || reached.length === 0
      ? []
      : [
          finding(
            'Foreign keys',
            `${access === 'delete' ? 'a delete' : 'a change of its keys'} reaches ${plural(reached.length, 'other table')}`,
            reached.map(
              ({ schema, name, action, rows }) =>
                `${schema}.${name} (${action}, ${rows === null ? 'rows not known' : `at most ${plural(rows, 'row')}`})`,
            ),
          ),
        ]),
  ];
}
