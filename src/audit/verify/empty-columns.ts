import type pg from 'pg';
import type { Check, Finding } from './finding.ts';

/**
 * Columns that are empty and that no writer of ours leaves empty: comparisons with them would say neither yes nor no. The
 * tables forbid it, as long as nobody took that away. SQL's `verify_nulls` finds the same. `schema` is quoted by the caller.
 */
export async function emptyColumns(client: pg.ClientBase, schema: string): Promise<readonly Finding[]> {
  const selects = NEVER_EMPTY.map(({ view, check, stream, seq, columns }) => {
    const empty = columns.map((column) => `t.${column} IS NULL`).join(' OR ');
    return `SELECT ${stream} AS stream, coalesce(${seq}, 0) AS seq, '${check}' AS "check" FROM ${schema}.${view} t WHERE ${empty}`;
  });
  const { rows } = await client.query<{ stream: string | null; seq: string; check: Check }>(
    selects.join(' UNION ALL '),
  );
  const detail = 'a column is empty that no writer of ours leaves empty';
  return rows.map(({ stream, seq, check }) => ({ stream, seq: BigInt(seq), check, ok: false, detail }));
}

/** Of what finds such a column: that it kept everything else from being looked at. */
export const NOTHING_ELSE_CHECKED: Finding = {
  stream: null,
  seq: null,
  check: 'row_hash',
  ok: null,
  detail: 'other checks were not made, because of something that no writer of ours writes',
};

const NEVER_EMPTY: readonly {
  readonly view: string;
  readonly check: Check;
  readonly stream: string;
  readonly seq: string;
  readonly columns: readonly string[];
}[] = [
  {
    view: 'entries',
    check: 'row_hash',
    stream: 't.stream',
    seq: 't.seq',
    columns: ['version', 'stream', 'seq', 'at', 'kind', 'prev_hash', 'hash'],
  },
  {
    view: 'streams',
    check: 'head',
    stream: 't.stream',
    seq: 't.head_seq',
    columns: [
      'stream',
      'kid',
      'public_jwk',
      'endorsed_by',
      'endorsement',
      'facts',
      'started_at',
      'head_seq',
      'head_hash',
    ],
  },
  {
    view: 'batches',
    check: 'batch',
    stream: 't.stream',
    seq: 't.from_seq',
    columns: ['stream', 'from_seq', 'to_seq', 'prev_hash', 'hash', 'kid', 'signature'],
  },
  {
    view: 'leaves',
    check: 'tree',
    stream: 't.stream',
    seq: 't.from_seq',
    columns: ['index', 'stream', 'from_seq', 'hash'],
  },
  {
    view: 'checkpoints',
    check: 'checkpoint',
    stream: 'NULL::text',
    seq: 't.size',
    columns: ['size', 'root', 'note'],
  },
  {
    view: 'signing_keys',
    check: 'key',
    stream: 'NULL::text',
    seq: '0::bigint',
    columns: ['kid', 'public_jwk', 'purpose', 'valid_from'],
  },
];
