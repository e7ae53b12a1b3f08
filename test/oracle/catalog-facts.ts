import type pg from 'pg';

/** What the verdict knows about the database, read by plain queries of its own (not by the code under test). */
export type DatabaseFacts = {
  /** `schema.name` by OID. */
  readonly relations: ReadonlyMap<number, string>;
  readonly functions: ReadonlyMap<number, string>;
  /** Relations whose rows a write to this one may touch: partitions, children, and what a view is over; itself too. */
  readonly reach: ReadonlyMap<string, ReadonlySet<string>>;
};

export async function readFacts(client: pg.ClientBase): Promise<DatabaseFacts> {
  const relations = await pairs(
    client,
    "SELECT c.oid::int, relnamespace::regnamespace || '.' || relname FROM pg_class c",
  );
  const functions = await pairs(
    client,
    "SELECT p.oid::int, pronamespace::regnamespace || '.' || proname FROM pg_proc p WHERE oid >= 16384",
  );
  const edges = await client.query<[number, number]>({
    rowMode: 'array',
    text: `SELECT inhparent::int, inhrelid::int FROM pg_inherits
           UNION SELECT r.ev_class::int, d.refobjid::int FROM pg_rewrite r
             JOIN pg_depend d ON d.objid = r.oid AND d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
            WHERE r.ev_type = '1'`,
  });
  const next = new Map<string, string[]>();
  for (const [from, to] of edges.rows) {
    const name = relations.get(from) ?? '';
    next.set(name, [...(next.get(name) ?? []), relations.get(to) ?? '']);
  }
  const reach = new Map<string, ReadonlySet<string>>();
  for (const name of relations.values()) reach.set(name, closure(name, next));
  return { relations, functions, reach };
}

async function pairs(client: pg.ClientBase, sql: string): Promise<Map<number, string>> {
  const result = await client.query<[number, string]>({ text: sql, rowMode: 'array' });
  return new Map(result.rows);
}

function closure(from: string, next: ReadonlyMap<string, readonly string[]>): ReadonlySet<string> {
  const seen = new Set([from]);
  for (const name of seen) for (const to of next.get(name) ?? []) seen.add(to);
  return seen;
}
