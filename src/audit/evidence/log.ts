import type pg from 'pg';
import { quoteName } from '../quote-name.ts';
import { CONTENT_COLUMNS, ENTRY_COLUMNS } from './lines.ts';
import type { Period } from './views.ts';

/**
 * The raw log of a period, as rows for evidence. Streams, batches, leaves and checkpoints are those of the whole log:
 * they are small, and without all of them nobody could see that entries were left out. Of entries there are whole
 * batches: those with an entry of the period, and of each stream the batch before and the one after, which show that
 * the period ends there. `bytes` as hex, integers and times as decimal text.
 */
export type LogQueries = {
  readonly streams: string;
  readonly batches: string;
  readonly leaves: string;
  readonly checkpoints: string;
  readonly entries: string;
  /** Entries of retention and redaction, of whatever time: they account for what is not in the others. */
  readonly upkeep: string;
};

export function logQueries(schemaName: string, { from, to }: Period): LogQueries {
  const schema = quoteName(schemaName);
  const since = `'${from.toISOString()}'`;
  const until = `'${to.toISOString()}'`;
  const us = (name: string) =>
    `(extract(epoch FROM ${name}) * 1000000)::bigint AS ${name.replace(/^.*\./, '')}`;
  const entry = ENTRY_COLUMNS.map(({ name, type }) => (type === 'time' ? us(`e.${name}`) : `e.${name}`));
  const content = [...CONTENT_COLUMNS, 'prev_hash', 'hash'].map((name) => `e.${name}`);
  return {
    streams: `SELECT stream, kid, public_jwk, endorsed_by, endorsement, ${us('started_at')}, head_seq, head_hash
  FROM ${schema}.streams ORDER BY stream COLLATE "C"`,
    batches: `SELECT b.stream, b.from_seq, b.to_seq, b.prev_hash, b.hash, b.kid, b.signature, l.index AS leaf
  FROM ${schema}.batches b
  LEFT JOIN ${schema}.leaves l ON l.stream = b.stream AND l.from_seq = b.from_seq
 ORDER BY b.stream COLLATE "C", b.from_seq`,
    leaves: `SELECT index, hash FROM ${schema}.leaves ORDER BY index`,
    checkpoints: `SELECT size, root, note FROM ${schema}.checkpoints ORDER BY size`,
    entries: `WITH period AS (
  SELECT e.stream, min(e.seq) FILTER (WHERE e.at >= ${since}) AS first, max(e.seq) FILTER (WHERE e.at < ${until}) AS last
    FROM ${schema}.entries e GROUP BY e.stream
), chosen AS (
  SELECT p.stream,
         -- The batch before the one with the first entry; all of the stream where there is none.
         CASE WHEN p.first IS NULL THEN (SELECT max(b.from_seq) FROM ${schema}.batches b WHERE b.stream = p.stream)
              ELSE coalesce((SELECT max(b.from_seq) FROM ${schema}.batches b
                              WHERE b.stream = p.stream AND b.to_seq < p.first), 0) END AS from_seq,
         (SELECT min(b.to_seq) FROM ${schema}.batches b
           WHERE b.stream = p.stream AND b.from_seq > coalesce(p.last, 0)) AS to_seq
    FROM period p
)
SELECT ${[...entry, ...content].join(', ')}
  FROM chosen c
  JOIN ${schema}.entries e ON e.stream = c.stream AND e.seq >= coalesce(c.from_seq, 0)
   -- What another process signed for a dead one is explained by the last entry.
   AND (e.seq <= c.to_seq OR c.to_seq IS NULL OR EXISTS (
         SELECT FROM ${schema}.batches f JOIN ${schema}.streams s ON s.stream = f.stream
          WHERE f.stream = c.stream AND f.kid <> s.kid AND f.to_seq >= c.from_seq AND f.from_seq <= c.to_seq))
 ORDER BY e.stream COLLATE "C", e.seq`,
    upkeep: `SELECT ${[...entry, ...content].join(', ')}
  FROM ${schema}.entries e WHERE e.kind IN ('retention', 'redaction') ORDER BY e.stream COLLATE "C", e.seq`,
  };
}

export type Fields = readonly { readonly name: string; readonly dataTypeID: number }[];

/**
 * Runs a query in the open transaction and hands its rows over in pages. The names and types of the columns come first.
 * `text`: every value as the server's text; otherwise as the driver reads it. Memory: one page.
 */
export async function eachPage<T extends unknown[]>(
  client: pg.ClientBase,
  sql: string,
  text: boolean,
  fields: (fields: Fields) => Promise<void>,
  page: (rows: readonly T[]) => Promise<void>,
): Promise<void> {
  await client.query(`DECLARE evidence NO SCROLL CURSOR FOR ${sql}`);
  for (let first = true; ; first = false) {
    const result = await client.query<T>({
      text: `FETCH ${PAGE_ROWS} FROM evidence`,
      rowMode: 'array',
      ...(text ? { types: { getTypeParser: () => (value: string) => value } } : {}),
    });
    if (first) await fields(result.fields);
    if (result.rows.length === 0) break;
    await page(result.rows);
  }
  await client.query('CLOSE evidence');
}

/** Rows may be wide: a statement's text can be megabytes. */
const PAGE_ROWS = 500;
