import type pg from 'pg';
import { quoteName } from '../quote-name.ts';
import { asOwner, byStream, type Upkeep, UpkeepRefused, type UpkeepWork, upkeepId } from './upkeep.ts';

/** Rows by their place, or those that all of the filters fit. */
export type RedactionScope =
  | { readonly statements: readonly { readonly stream: string; readonly seq: bigint }[] }
  | {
      readonly agent?: string | undefined;
      /** The agent's owner, or on whose behalf. */
      readonly person?: string | undefined;
      readonly from?: Date | undefined;
      readonly to?: Date | undefined;
    };

export type RedactionOptions = Upkeep & {
  readonly scope: RedactionScope;
  readonly reason: string;
  readonly dryRun: boolean;
};

export type RedactionResult = {
  /** Null: nothing was erased. */
  readonly redaction: string | null;
  readonly rows: number;
  /** Requests whose copy of text and parameters was erased as well. */
  readonly requests: number;
};

/**
 * Erases text, digest, parameters and salt of statements, in one transaction with signed entries that name each row, and
 * the copies in requests that ended. Rows, hashes and signatures stay. Throws `UpkeepRefused`: `legal_hold`,
 * `request_open`, `nothing_to_do`.
 */
export function redactStatements(options: RedactionOptions): Promise<RedactionResult> {
  return asOwner(options, async (work) => {
    const rows = await rowsOf(work, options.scope);
    if (rows.length === 0)
      throw new UpkeepRefused('nothing_to_do', 'no statement there has text that could be erased');
    await requireNoHold(work, rows);
    const requestIds = [...new Set(rows.flatMap(({ request_id }) => request_id ?? []))];
    if (options.dryRun) return { redaction: null, rows: rows.length, requests: requestIds.length };
    const redaction = upkeepId('redaction');
    await work.append(entriesOf(redaction, options, rows));
    const erased = await work.client.query<{ rows: string }>(`SELECT ${work.schema}.redact($1) AS rows`, [
      redaction,
    ]);
    if (Number(erased.rows[0]?.rows) !== rows.length)
      throw new UpkeepRefused(
        'audit_busy',
        'other rows were there than before: nothing was erased, try again',
      );
    const requests = await eraseRequests(work.client, requestIds);
    return { redaction, rows: rows.length, requests };
  });
}

type Row = { readonly stream: string; readonly seq: string; readonly request_id: string | null };

async function rowsOf({ client, schema }: UpkeepWork, scope: RedactionScope): Promise<readonly Row[]> {
  if ('statements' in scope) {
    const { rows } = await client.query<Row>(
      `SELECT e.stream, e.seq, e.request_id FROM unnest($1::text[], $2::bigint[]) n (stream, seq)
         JOIN ${schema}.entry e ON e.stream = n.stream AND e.seq = n.seq
        WHERE e.salt IS NOT NULL ORDER BY 1, 2`,
      [scope.statements.map(({ stream }) => stream), scope.statements.map(({ seq }) => String(seq))],
    );
    return rows;
  }
  const { agent, person, from, to } = scope;
  const { rows } = await client.query<Row>(`SELECT * FROM ${schema}.redactable($1, $2, $3, $4)`, [
    ...[agent ?? null, person ?? null],
    ...[from?.toISOString() ?? null, to?.toISOString() ?? null],
  ]);
  return rows;
}

async function requireNoHold({ client, schema }: UpkeepWork, rows: readonly Row[]): Promise<void> {
  const { rows: holds } = await client.query<{ hold: string; reason: string | null }>(
    `SELECT h.hold, h.reason FROM ${schema}.legal_holds h
      WHERE h.in_force AND h.hold IN (SELECT ${schema}.holds_over($1::text[], $2::bigint[]))`,
    [rows.map(({ stream }) => stream), rows.map(({ seq }) => seq)],
  );
  if (holds.length > 0)
    throw new UpkeepRefused(
      'legal_hold',
      `some of these rows are under legal hold (${holds.map(({ hold, reason }) => `${hold}: ${reason}`).join('; ')}): nothing was erased`,
    );
}

/** For each stream, so many rows in an entry. */
function entriesOf(redaction: string, { scope, reason }: RedactionOptions, rows: readonly Row[]) {
  const detail = { redaction, reason, scope: scopeText(scope) };
  return byStream(rows).flatMap(([stream, ofStream]) => {
    const parts = Array.from({ length: Math.ceil(ofStream.length / ROWS_PER_ENTRY) }, (_, i) =>
      ofStream.slice(i * ROWS_PER_ENTRY, (i + 1) * ROWS_PER_ENTRY),
    );
    return parts.map((part) => ({
      kind: 'redaction' as const,
      detail: {
        ...detail,
        stream,
        count: String(part.length),
        rows: seqsText(part.map(({ seq }) => BigInt(seq))),
      },
    }));
  });
}

/** Numbers in order, and ranges of them: `3,5-9`. */
export function seqsText(seqs: readonly bigint[]): string {
  const parts: { from: bigint; to: bigint }[] = [];
  for (const seq of seqs) {
    const last = parts.at(-1);
    if (last !== undefined && last.to + 1n === seq) last.to = seq;
    else parts.push({ from: seq, to: seq });
  }
  return parts.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`)).join(',');
}

function scopeText(scope: RedactionScope): string {
  if ('statements' in scope) return JSON.stringify({ statements: scope.statements.length });
  const { agent, person, from, to } = scope;
  return JSON.stringify({ agent, person, from: from?.toISOString(), to: to?.toISOString() });
}

/** The mutable side holds what people were asked; of requests that ended nobody needs the text any more. */
async function eraseRequests(client: pg.Client, ids: readonly string[]): Promise<number> {
  const { rows } = await client.query<{ owner: string }>(
    // Not by its name: the log's owner has no rights there.
    `SELECT pg_get_userbyid(c.relowner) AS owner FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = 'countersign' AND c.relname = 'request'`,
  );
  const [found] = rows;
  if (found === undefined || ids.length === 0) return 0;
  await client.query(`RESET ROLE; SET LOCAL ROLE ${quoteName(found.owner)}`);
  const open = await client.query<{ id: string }>(
    `SELECT id FROM countersign.request WHERE id = ANY ($1) AND ended_at IS NULL ORDER BY id FOR UPDATE`,
    [ids],
  );
  if (open.rows.length > 0)
    throw new UpkeepRefused(
      'request_open',
      `${open.rows.map(({ id }) => id).join(', ')} may still be approved or runs: withdraw it, or wait; nothing was erased`,
    );
  const { rowCount } = await client.query(
    `UPDATE countersign.request SET sql = $2, parameters = NULL WHERE id = ANY ($1) AND sql <> $2`,
    [ids, ERASED],
  );
  return rowCount ?? 0;
}

/** In place of the text of a request; its digest stays in what was signed. */
export const ERASED = '‹erased›';
const ROWS_PER_ENTRY = 5_000;
