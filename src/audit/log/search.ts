import pg from 'pg';
import type { Logger } from 'pino';
import type { AuditSearch, FoundStatement, StatementFilter } from '../port.ts';
import { SearchTooLong } from '../port.ts';
import { quoteName } from '../quote-name.ts';

export type AuditSearchOptions = {
  /** As the auditor role, which has SELECT on the views and nothing else. */
  readonly url: string;
  readonly schema: string;
  /** Time for one search, and for getting a connection. */
  readonly searchMs: number;
  readonly log: Pick<Logger, 'warn'>;
};

/** Searches at once; more wait for their turn. */
const CONNECTIONS = 2;
/** Characters of a statement that are given. */
const SQL_CHARACTERS = 20_000;

/** Finds statements in the log, by its view `statements`. Connects when it is first asked. */
export function openAuditSearch(options: AuditSearchOptions): AuditSearch & { close: () => Promise<void> } {
  const pool = new pg.Pool({
    connectionString: options.url,
    application_name: 'countersign audit search',
    max: CONNECTIONS,
    connectionTimeoutMillis: options.searchMs,
    statement_timeout: options.searchMs,
    // Whatever the role may do: here it reads.
    options: '-c default_transaction_read_only=on',
  });
  const lost = (error: Error) => options.log.warn({ err: error }, 'a connection for audit searches was lost');
  pool.on('error', lost);
  pool.on('connect', (client) => client.on('error', lost));
  const text = queryText(options.schema);
  return {
    statements: async (filter) => {
      const { rows } = await pool.query<Row>(text, valuesOf(filter)).catch((error: unknown) => {
        // query_canceled
        if (error instanceof pg.DatabaseError && error.code === '57014')
          throw new SearchTooLong('the search took too long');
        throw error;
      });
      return rows.map(found);
    },
    close: () => pool.end(),
  };
}

type Row = Record<string, string | readonly string[] | boolean | null>;

function queryText(schema: string): string {
  return `SELECT s.stream, s.seq::text AS seq, (extract(epoch FROM s.at) * 1000000)::bigint::text AS at_us, s.session_id,
      s.agent, s.owner, s.on_behalf_of, s.run, s.database, s.role, left(s.sql, ${SQL_CHARACTERS}) AS sql,
      coalesce(length(s.sql) > ${SQL_CHARACTERS}, false) AS cut, encode(s.sql_sha256, 'hex') AS sql_sha256, s.class,
      s.decision, s.rule, s.reasons, s.relations, s.request_id, s.approvers, s.outcome, s.tag, s.rows::text AS rows,
      s.bytes::text AS bytes, s.duration_us::text AS duration_us, s.sqlstate, s.policy_digest
    FROM ${quoteName(schema)}.statements s
    WHERE s.at >= $1 AND ($2::timestamptz IS NULL OR s.at <= $2)
      AND ($3::text IS NULL OR s.agent = $3) AND ($4::text IS NULL OR s.class = $4)
      AND ($5::text IS NULL OR s.decision = $5)
      AND ($6::text IS NULL OR coalesce(s.outcome, 'running') = $6)
      AND ($7::text IS NULL OR s.request_id = $7)
      AND ($8::text IS NULL OR position(lower($8) IN lower(s.sql)) > 0)
      AND ($9::bigint IS NULL OR (s.at, s.stream, s.seq)
        < (timestamptz 'epoch' + $9 * interval '1 microsecond', $10::text, $11::bigint))
    ORDER BY s.at DESC, s.stream DESC, s.seq DESC LIMIT $12`;
}

function valuesOf(filter: StatementFilter): unknown[] {
  const { from, to, agent, class: rank, decision, outcome, requestId, text, after, limit } = filter;
  const place =
    after === undefined ? [null, null, null] : [String(after.atUs), after.stream, String(after.seq)];
  const given = [agent, rank, decision, outcome, requestId, text].map((value) => value ?? null);
  return [from, to, ...given, ...place, limit];
}

function found(row: Row): FoundStatement {
  const number = (name: string) => (row[name] == null ? null : BigInt(String(row[name])));
  return {
    stream: row['stream'] as string,
    seq: BigInt(String(row['seq'])),
    atUs: BigInt(String(row['at_us'])),
    sessionId: row['session_id'] as string | null,
    agent: row['agent'] as string,
    owner: row['owner'] as string | null,
    onBehalfOf: row['on_behalf_of'] as string | null,
    run: row['run'] as string | null,
    database: row['database'] as string,
    role: row['role'] as string,
    sql: row['sql'] as string | null,
    cut: row['cut'] === true,
    sqlSha256: row['sql_sha256'] as string | null,
    class: row['class'] as string,
    decision: row['decision'] as FoundStatement['decision'],
    rule: row['rule'] as string,
    reasons: (row['reasons'] ?? []) as readonly string[],
    relations: (row['relations'] ?? []) as readonly string[],
    requestId: row['request_id'] as string | null,
    approvers: (row['approvers'] ?? []) as readonly string[],
    outcome: row['outcome'] as FoundStatement['outcome'],
    tag: row['tag'] as string | null,
    rows: number('rows'),
    bytes: number('bytes'),
    durationUs: number('duration_us'),
    sqlstate: row['sqlstate'] as string | null,
    policyDigest: row['policy_digest'] as string | null,
  };
}
