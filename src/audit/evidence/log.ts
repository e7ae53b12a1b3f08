import type pg from 'pg';
import { quoteName } from '../quote-name.ts';
import { MICROSECONDS } from '../verify/registered-keys.ts';
import { CONTENT_COLUMNS, ENTRY_COLUMNS } from './lines.ts';
import type { Period } from './views.ts';

/**
 * The raw log of a period, as rows for evidence. Streams, batches, leaves, checkpoints and public keys are those of the
 * whole log: they are small, and without all of them nobody could see that entries were left out. Of entries there are
 * whole batches, see `entriesOf`. `bytes` as hex, integers and times as decimal text.
 */
export type LogQueries = {
  readonly streams: string;
  readonly batches: string;
  readonly leaves: string;
  readonly checkpoints: string;
  readonly signing_keys: string;
  readonly entries: string;
};

export function logQueries(schemaName: string, period: Period): LogQueries {
  const schema = quoteName(schemaName);
  return {
    streams: `SELECT stream, kid, public_jwk, endorsed_by, endorsement, facts, ${MICROSECONDS('started_at')} AS started_at,
       head_seq, head_hash
  FROM ${schema}.streams ORDER BY stream COLLATE "C"`,
    batches: `SELECT b.stream, b.from_seq, b.to_seq, b.prev_hash, b.hash, b.kid, b.signature, l.index AS leaf
  FROM ${schema}.batches b
  LEFT JOIN ${schema}.leaves l ON l.stream = b.stream AND l.from_seq = b.from_seq
 ORDER BY b.stream COLLATE "C", b.from_seq`,
    leaves: `SELECT index, stream, from_seq, hash FROM ${schema}.leaves ORDER BY index`,
    checkpoints: `SELECT size, root, note FROM ${schema}.checkpoints ORDER BY size`,
    signing_keys: `SELECT kid, public_jwk, purpose, ${MICROSECONDS('valid_from')} AS valid_from, ${MICROSECONDS('valid_to')} AS valid_to
  FROM ${schema}.signing_keys ORDER BY kid COLLATE "C"`,
    entries: entriesOf(schema, period),
  };
}

/**
 * Whole batches: those with an entry of the period; of each stream the batch before and the one after, which show that
 * the period ends there; and, of whatever time, those that the checks need: starts and recoveries of streams, public
 * keys, retention and redaction, the opening of each request whose approval is among the others, and outcomes of the
 * period's statements.
 */
function entriesOf(schema: string, { from, to }: Period): string {
  const since = `'${from.toISOString()}'`;
  const until = `'${to.toISOString()}'`;
  const entry = ENTRY_COLUMNS.map(({ name, type }) =>
    type === 'time' ? `${MICROSECONDS(`e.${name}`)} AS ${name}` : `e.${name}`,
  );
  const content = [...CONTENT_COLUMNS, 'prev_hash', 'hash'].map((name) => `e.${name}`);
  return `WITH period AS (
  SELECT e.stream, min(e.seq) FILTER (WHERE e.at >= ${since}) AS first, max(e.seq) FILTER (WHERE e.at < ${until}) AS last
    FROM ${schema}.entries e GROUP BY e.stream
), around AS (
  -- The rows before the first and after the last; without such a row, all there is on that side.
  SELECT p.stream,
         (SELECT max(e.seq) FROM ${schema}.entries e
           WHERE e.stream = p.stream AND e.seq < coalesce(p.first, ${MOST})) AS before,
         (SELECT min(e.seq) FROM ${schema}.entries e
           WHERE e.stream = p.stream AND e.seq > coalesce(p.last, ${LEAST})) AS after
    FROM period p
), chosen AS (
  SELECT a.stream,
         coalesce((SELECT min(b.from_seq) FROM ${schema}.batches b
                    WHERE b.stream = a.stream AND b.from_seq <= a.before AND b.to_seq >= a.before), a.before, ${LEAST}) AS from_seq,
         coalesce((SELECT max(b.to_seq) FROM ${schema}.batches b
                    WHERE b.stream = a.stream AND b.from_seq <= a.after AND b.to_seq >= a.after), a.after, ${MOST}) AS to_seq
    FROM around a
), receipt AS MATERIALIZED (
  SELECT DISTINCT e.request_id
    FROM chosen c JOIN ${schema}.entries e ON e.stream = c.stream AND e.seq BETWEEN c.from_seq AND c.to_seq
   WHERE e.receipt IS NOT NULL AND e.kind NOT IN ('intent', 'outcome')
), digest AS MATERIALIZED (
  SELECT DISTINCT v.value FROM ${schema}.entries e, unnest(e.detail) v (value)
   WHERE e.kind = 'request_opened' AND e.request_id IN (SELECT r.request_id FROM receipt r) AND v.value ~ '^[0-9a-f]{64}$'
), needed AS (
  SELECT e.stream, e.seq FROM ${schema}.entries e
   WHERE e.kind IN ('log_start', 'log_recovered', 'key', 'retention', 'redaction')
  UNION ALL
  SELECT e.stream, e.seq FROM ${schema}.entries e
   WHERE e.kind = 'request_opened'
     AND (e.request_id IN (SELECT r.request_id FROM receipt r)
          -- And whichever other request was opened with the same digest.
          OR EXISTS (SELECT FROM unnest(e.detail) v (value) WHERE v.value IN (SELECT d.value FROM digest d)))
  UNION ALL
  SELECT o.stream, o.seq
    FROM chosen c
    JOIN ${schema}.entries o ON o.stream = c.stream AND o.seq > c.to_seq AND o.kind = 'outcome'
    JOIN ${schema}.entries i ON i.kind = 'intent' AND i.stream = o.stream AND i.session_id = o.session_id
                            AND i.statement_no = o.statement_no
   WHERE i.at >= ${since} AND i.at < ${until}
), range AS (
  SELECT c.stream, c.from_seq, c.to_seq FROM chosen c
  UNION ALL
  SELECT b.stream, b.from_seq, b.to_seq FROM needed n
    JOIN ${schema}.batches b ON b.stream = n.stream AND n.seq BETWEEN b.from_seq AND b.to_seq
), joined AS (
  SELECT r.stream, unnest(range_agg(int8range(r.from_seq, nullif(r.to_seq, ${MOST}), '[]'))) AS seqs
    FROM range r WHERE r.from_seq <= r.to_seq GROUP BY r.stream
)
SELECT ${[...entry, ...content].join(', ')}
  FROM joined j
  JOIN ${schema}.entries e ON e.stream = j.stream AND e.seq >= lower(j.seqs) AND e.seq < coalesce(upper(j.seqs), ${MOST})
 ORDER BY e.stream COLLATE "C", e.seq, e.at`;
}

/** SQL of the ends of bigint. */
const LEAST = `'-9223372036854775808'::bigint`;
const MOST = '9223372036854775807';

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
