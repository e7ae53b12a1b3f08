import pg from 'pg';
import type { Estimate } from '../statement/answers.ts';
import type { QuestionParameter } from './clarify.ts';
import { estimateOfPlan } from './plan-rows.ts';

/**
 * Asks the planner about one statement, as it stands in the agent's text. Planning may run functions, so the caller has
 * made sure that all of them are harmless; what they do is rolled back in any case. The connection is in no transaction
 * and its search_path is what the statement's names mean. Null: the server does not plan it, or there is no estimate.
 *
 * `parameters` are the Bind's, whose values count as the constants that they are; null: not known, so what any value
 * would give.
 */
export async function planEstimate(
  client: pg.Client,
  sql: Buffer,
  parameters: readonly QuestionParameter[] | null,
): Promise<Estimate | null> {
  const plan = await explained(client, sql, parameters, null);
  return plan === null ? null : estimateOfPlan(plan, MAY_HAVE_TIES.test(sql.toString('latin1')));
}

/**
 * The plan as EXPLAIN (VERBOSE, FORMAT JSON) gives it; null where the server does not plan it. As `planEstimate`;
 * `path`: a search_path for this question alone, as Postgres prints one; null: the connection's.
 */
export async function explained(
  client: pg.Client,
  sql: Buffer,
  parameters: readonly QuestionParameter[] | null,
  path: string | null,
): Promise<unknown> {
  await client.query('BEGIN READ ONLY');
  if (path !== null) await client.query(FOR_PEOPLE, [path]);
  const json =
    parameters === null && MAY_HAVE_PARAMETERS.test(sql.toString('latin1'))
      ? await explainedForAny(client, sql)
      : await oneValue(client, extended(Buffer.concat([EXPLAIN, sql]), parameters ?? []));
  await client.query('ROLLBACK');
  return json === null ? null : JSON.parse(json);
}

/** Whoever only wants to tell people does not wait long for a lock. */
const FOR_PEOPLE = `SELECT pg_catalog.set_config('search_path', $1, true),
  pg_catalog.set_config('lock_timeout', '300', true)`;

/** As a prepared statement, by the plan that the server would make for any values. */
async function explainedForAny(client: pg.Client, sql: Buffer): Promise<string | null> {
  const prepared = await oneValue(client, extended(Buffer.concat([PREPARE, sql]), []), 'PREPARE');
  if (prepared === null) return null;
  const { rows } = await client.query<{ n: number }>(COUNT_PARAMETERS);
  const nulls = Array.from({ length: rows[0]?.n ?? 0 }, () => 'NULL').join(', ');
  await client.query('SET LOCAL plan_cache_mode = force_generic_plan');
  const execute = `${NAME}${nulls === '' ? '' : `(${nulls})`}`;
  const json = await oneValue(client, extended(Buffer.from(`${EXPLAIN}EXECUTE ${execute}`), []));
  // It outlives the transaction, and this one may have failed.
  await client.query(`ROLLBACK; DEALLOCATE ${NAME}`);
  return json;
}

/** Extended: the server takes one statement in a Parse, so no text can break out of what stands before it. */
const EXPLAIN = Buffer.from('EXPLAIN (VERBOSE, FORMAT JSON) ');
const NAME = 'countersign_estimate';
const PREPARE = Buffer.from(`PREPARE ${NAME} AS `);
const COUNT_PARAMETERS = `SELECT pg_catalog.cardinality(parameter_types) AS n
  FROM pg_catalog.pg_prepared_statements WHERE name = '${NAME}'`;
const MAY_HAVE_PARAMETERS = /\$[0-9]/;
const MAY_HAVE_TIES = /ties/i;

/** Parse, Bind with the values in the formats in which they came, Execute, Sync. */
function extended(sql: Buffer, parameters: readonly QuestionParameter[]): Buffer {
  const formats = parameters.map(({ format }) => int16(format));
  const values = parameters.flatMap(({ value }) =>
    value === null ? [int32(-1)] : [int32(value.length), value],
  );
  return Buffer.concat([
    message('P', ZERO, sql, ZERO, int16(parameters.length), ...parameters.map((p) => int32(p.typeOid))),
    message(
      'B',
      ZERO,
      ZERO,
      int16(formats.length),
      ...formats,
      int16(parameters.length),
      ...values,
      int16(0),
    ),
    message('E', ZERO, int32(0)),
    message('S'),
  ]);
}

const ZERO = Buffer.alloc(1);

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value | 0);
  return bytes;
}

function message(type: string, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(type), int32(4 + body.length), body]);
}

type DataRow = { readonly fields: readonly (string | null)[] };

/**
 * The first column of the only row, or `noRow` where there are no rows; null where the server objects. Rejects where the
 * connection is lost.
 */
function oneValue(client: pg.Client, frames: Buffer, noRow: string | null = null): Promise<string | null> {
  return new Promise((resolve, reject) => {
    let value = noRow;
    const question = {
      submit: (connection: pg.Connection) => {
        connection.stream.write(frames);
      },
      handleRowDescription: () => undefined,
      handleDataRow: ({ fields }: DataRow) => {
        value = fields[0] ?? null;
      },
      handleCommandComplete: () => undefined,
      handleEmptyQuery: () => undefined,
      handlePortalSuspended: () => undefined,
      handleError: (error: Error) => {
        if (!(error instanceof pg.DatabaseError) || error.severity !== 'ERROR') return reject(error);
        // `pg` forgets the query after its error, so that ReadyForQuery would not come here.
        client.connection.once('readyForQuery', () => resolve(null));
      },
      handleReadyForQuery: () => resolve(value),
    };
    client.query(question);
  });
}
