import pg from 'pg';
import type { Recorded } from '../policy/replay.ts';
import type { Policy, PolicyRule } from '../policy/rule.ts';
import { namesAll, relationTold } from '../policy/told.ts';
import { toldStatement } from '../policy/told-facts.ts';
import type { StatementClass } from '../statement/analysis.ts';
import { CliError } from './exit.ts';

/** A statement of the audit log, for another look at it. */
export type RecordedRow = {
  readonly recorded: Recorded;
  /** The server rejected its text, as it would under any policy. */
  readonly mistake: boolean;
  readonly relations: readonly string[];
  /** The beginning of its text; null: erased. Attacker-controlled. */
  readonly sql: string | null;
};

type Row = {
  /** Microseconds since 1970. */
  readonly at: string;
  readonly agent: string;
  readonly owner: string | null;
  readonly database: string;
  readonly role: string;
  readonly class: StatementClass;
  readonly rule: string;
  readonly relations: string[] | null;
  readonly sql: string | null;
  readonly outcome: string | null;
  readonly rows: string | null;
  readonly bytes: string | null;
  readonly sqlstate: string | null;
  /** JSON. */
  readonly facts: string | null;
};

const SYNTAX_ERROR = '42601';
const UNDEFINED_COLUMN = '42703';

const AT_ONCE = 2_000;
/** Characters of a text that are looked at. */
export const TEXT = 10_000;

/** Statements of that time, oldest first, a few thousand in memory at once. Throws what `pg` throws, and `CliError`. */
export async function* readRecorded(
  url: string,
  schema: string,
  since: Date,
  until: Date,
): AsyncGenerator<RecordedRow> {
  const client = new pg.Client({ connectionString: url, application_name: 'countersign policy diff' });
  await client.connect();
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await client.query(
      `DECLARE recorded NO SCROLL CURSOR FOR
       SELECT (extract(epoch FROM s.at) * 1000000)::bigint::text AS at, s.agent, s.owner, s.database, s.role, s.class,
              s.rule, s.relations, left(s.sql, ${TEXT}) AS sql, s.outcome, s.rows::text AS rows, s.bytes::text AS bytes, s.sqlstate,
              s.facts::text AS facts
         FROM ${client.escapeIdentifier(schema)}.statements s
        WHERE s.at >= $1 AND s.at < $2
        ORDER BY s.at, s.stream, s.seq`,
      [since, until],
    );
    while (true) {
      const { rows } = await client.query<Row>(`FETCH ${AT_ONCE} FROM recorded`);
      for (const row of rows) yield recordedRow(row);
      if (rows.length < AT_ONCE) return;
    }
  } catch (error) {
    if (error instanceof pg.DatabaseError && error.code === UNDEFINED_COLUMN)
      throw new CliError(
        'audit_schema_old',
        'policy diff: the audit schema is of an older version; countersign audit migrate brings it up to date',
      );
    throw error;
  } finally {
    await client.end();
  }
}

function recordedRow(row: Row): RecordedRow {
  const relations = row.relations ?? [];
  const { agent, owner, database, role } = row;
  const pinned = row.rule === 'floor:pinned';
  return {
    recorded: {
      statement: toldStatement(row.facts, { class: row.class, relations, sql: row.sql, pinned }),
      class: row.class,
      relations: relations.map(relationTold),
      relationsWhole: namesAll(row.class, relations, row.sql),
      context: { agent, owner, database, role, at: Number(row.at) },
      pinned,
      flowed:
        row.outcome === 'executed' ? { rows: Number(row.rows ?? 0), bytes: Number(row.bytes ?? 0) } : null,
    },
    // In mode observe it was sent, and the server said the same.
    mistake: row.rule === 'mistake' || (row.class === 'unparsed' && row.sqlstate === SYNTAX_ERROR),
    relations,
    sql: row.sql,
  };
}

/** The policy whose digest begins so, as it was recorded when it came into force; null: there is none. */
export async function recordedPolicy(url: string, schema: string, digest: string): Promise<Policy | null> {
  const client = new pg.Client({ connectionString: url, application_name: 'countersign policy diff' });
  await client.connect();
  try {
    const { rows } = await client.query<{ digest: string; rules: string }>(
      `SELECT DISTINCT e.detail ->> 'digest' AS digest, e.detail ->> 'rules' AS rules
         FROM ${client.escapeIdentifier(schema)}.events e
        WHERE e.kind = 'policy' AND starts_with(e.detail ->> 'digest', $1)`,
      [digest],
    );
    const [found, another] = rows;
    if (another !== undefined)
      throw new CliError(
        'unknown_policy',
        `policy diff: several policies have a digest that begins with ${digest}`,
      );
    return found === undefined
      ? null
      : { digest: found.digest, rules: JSON.parse(found.rules) as readonly PolicyRule[] };
  } finally {
    await client.end();
  }
}
