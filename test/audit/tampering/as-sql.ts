import type { Log } from './log-model.ts';

/** Columns with their values as SQL literals; the names of the key's columns come first. */
type Table = { readonly name: string; readonly key: number; readonly rows: readonly SqlRow[] };
type SqlRow = Readonly<Record<string, string>>;

/** The statements that make an empty audit schema hold this log. */
export function logAsSql(log: Log): string[] {
  return changesAsSql({ entries: [], batches: [], streams: [], keys: [], leaves: [], checkpoints: [] }, log);
}

/** The statements that make one log out of another: what somebody who owns the database would type. */
export function changesAsSql(from: Log, to: Log): string[] {
  const before = tables(from);
  const after = tables(to);
  const deletes: string[] = [];
  const writes: string[] = [];
  for (const [i, table] of before.entries()) {
    const { gone, changed, added } = difference(table, after[i] ?? table);
    deletes.unshift(...gone.map((row) => `DELETE FROM audit.${table.name} WHERE ${where(row, table.key)}`));
    writes.push(...changed.map(([old, row]) => update(table, old, row)));
    writes.push(...added.map((row) => insert(table.name, row)));
  }
  return [...deletes, ...writes];
}

function difference(from: Table, to: Table) {
  const old = new Map(from.rows.map((row) => [where(row, from.key), row]));
  const now = new Map(to.rows.map((row) => [where(row, from.key), row]));
  const changed = [...now].flatMap(([key, row]): [SqlRow, SqlRow][] => {
    const was = old.get(key);
    return was === undefined || JSON.stringify(was) === JSON.stringify(row) ? [] : [[was, row]];
  });
  return {
    gone: [...old].filter(([key]) => !now.has(key)).map(([, row]) => row),
    changed,
    added: [...now].filter(([key]) => !old.has(key)).map(([, row]) => row),
  };
}

function where(row: SqlRow, key: number): string {
  return Object.entries(row)
    .slice(0, key)
    .map(([name, value]) => `${name} = ${value}`)
    .join(' AND ');
}

function update({ name, key }: Table, old: SqlRow, row: SqlRow): string {
  const changed = Object.entries(row).filter(([column, value]) => old[column] !== value);
  const set = changed.map(([column, value]) => `${column} = ${value}`).join(', ');
  return `UPDATE audit.${name} SET ${set} WHERE ${where(old, key)}`;
}

function insert(table: string, row: SqlRow): string {
  const columns = Object.entries(row).filter(([, value]) => value !== 'NULL');
  const names = columns.map(([name]) => name).join(', ');
  return `INSERT INTO audit.${table} (${names}) VALUES (${columns.map(([, value]) => value).join(', ')})`;
}

/** In the order in which rows can be put in. */
function tables(log: Log): Table[] {
  return [
    {
      name: 'stream',
      key: 1,
      rows: log.streams.map((s) => ({
        stream: literal(s.stream),
        kid: literal(s.kid),
        public_jwk: literal(JSON.stringify(s.publicJwk)),
        endorsed_by: literal(s.endorsedBy),
        endorsement: literal(s.endorsement),
        facts: literal(JSON.stringify(s.facts)),
        started_at: time(s.startedAt),
        head_seq: literal(s.headSeq),
        head_hash: literal(s.headHash),
      })),
    },
    {
      name: 'batch',
      key: 2,
      rows: log.batches.map((b) => ({
        stream: literal(b.stream),
        from_seq: literal(b.fromSeq),
        to_seq: literal(b.toSeq),
        prev_hash: literal(b.prevHash),
        hash: literal(b.hash),
        kid: literal(b.kid),
        signature: literal(b.signature),
      })),
    },
    { name: 'entry', key: 3, rows: log.entries.map(entryColumns) },
    {
      name: 'signing_key',
      key: 1,
      rows: log.keys.map((k) => ({
        kid: literal(k.kid),
        public_jwk: literal(JSON.stringify(k.publicJwk)),
        purpose: literal(k.purpose),
        valid_from: time(k.validFrom),
      })),
    },
    {
      name: 'leaf',
      key: 1,
      rows: log.leaves.map((l) => ({
        index: literal(l.index),
        stream: literal(l.stream),
        from_seq: literal(l.fromSeq),
        hash: literal(l.hash),
      })),
    },
    {
      name: 'checkpoint',
      key: 1,
      rows: log.checkpoints.map((c) => ({
        size: literal(c.size),
        root: literal(c.root),
        roots: `ARRAY[${c.roots.map(literal).join(', ')}]::bytea[]`,
        note: literal(c.note),
      })),
    },
  ];
}

function entryColumns({ row, content, prevHash, hash }: Log['entries'][number]): SqlRow {
  const { stream, seq, at, ...rest } = row;
  const columns: Record<string, string> = { stream: literal(stream), seq: literal(seq), at: time(at) };
  for (const [name, value] of Object.entries(rest)) columns[name] = literal(value);
  const beside = content ?? { salt: null, sql: null, sql_sha256: null, parameters: null };
  for (const [name, value] of Object.entries(beside)) columns[name] = literal(value);
  return { ...columns, prev_hash: literal(prevHash), hash: literal(hash) };
}

type Value = string | bigint | boolean | Buffer | readonly (string | null)[] | null;

function literal(value: Value): string {
  if (value === null) return 'NULL';
  if (typeof value === 'bigint' || typeof value === 'boolean') return String(value);
  if (Buffer.isBuffer(value)) return `'\\x${value.toString('hex')}'`;
  if (typeof value === 'string') return `'${value.replaceAll("'", "''")}'`;
  return `ARRAY[${value.map(literal).join(', ')}]::text[]`;
}

/** Microseconds since 1970 UTC as a timestamptz. */
function time(at: bigint): string {
  const seconds = new Date(Number(at / 1_000_000n) * 1000).toISOString().slice(0, 19);
  return `'${seconds}.${String(at % 1_000_000n).padStart(6, '0')}+00'`;
}
