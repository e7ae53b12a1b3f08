const TABLES = ['products', 'orders', 'app.jobs', 'public.countries', '"Mixed"', 'app.kv'];
const COLUMNS = ['id', 'name', 'price', 'status', 'key'];

/** Statements of the kinds that both grammars read; the same ones for the same seed. */
export function generated(seed: number, count: number): string[] {
  let state = seed;
  // Park and Miller's generator: small, and the same everywhere.
  const below = (limit: number): number => {
    state = (state * 48271) % 2147483647;
    return state % limit;
  };
  const one = (from: readonly string[]): string => from[below(from.length)] ?? '';
  const table = () => one(TABLES);
  const column = () => one(COLUMNS);
  const value = () => one(['1', "'a'", 'NULL', '$1', '2.5', "'it''s'", 'true', 'now()']);
  const condition = (depth: number): string =>
    [
      () => `${column()} ${one(['=', '<', '>=', '<>'])} ${value()}`,
      () => `${column()} IN (${value()}, ${value()})`,
      () => (depth > 0 ? `${column()} IN (${select(depth - 1)})` : 'true'),
      () => (depth > 0 ? `EXISTS (${select(depth - 1)})` : `${column()} IS NOT NULL`),
      () => `${column()} LIKE 'x%' ${one(['AND', 'OR'])} ${condition(Math.max(0, depth - 1))}`,
    ][below(5)]?.() ?? 'true';
  const source = (depth: number): string =>
    depth > 0 && below(4) === 0 ? `(${select(depth - 1)}) AS s${below(9)}` : `${table()} AS t${below(9)}`;
  const select = (depth: number): string =>
    [
      below(6) === 0 && depth > 0 ? `WITH w AS (${select(depth - 1)}) ` : '',
      `SELECT ${one(['*', column(), `count(*)`, `${column()}, ${column()} AS x`])} FROM ${source(depth)}`,
      below(3) === 0 ? ` ${one(['JOIN', 'LEFT JOIN', 'CROSS JOIN'])} ${source(depth)}` : '',
      below(2) === 0 ? ` WHERE ${condition(depth)}` : '',
      below(4) === 0 ? ` ORDER BY 1 LIMIT ${1 + below(9)}` : '',
    ].join('');
  const statement = (): string =>
    [
      () => select(2),
      () => select(1),
      () => `${select(0)} UNION ALL ${select(0)}`,
      () => `INSERT INTO ${table()} (${column()}) VALUES (${value()})`,
      () => `INSERT INTO ${table()} (${column()}) ${select(1)}`,
      () => `UPDATE ${table()} SET ${column()} = ${value()} WHERE ${condition(1)}`,
      () => `DELETE FROM ${table()} WHERE ${condition(1)}`,
      () => `${select(1)}; DELETE FROM ${table()} WHERE ${condition(0)}`,
    ][below(8)]?.() ?? 'SELECT 1';
  return Array.from({ length: count }, statement);
}
