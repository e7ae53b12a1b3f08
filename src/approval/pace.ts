import pg from 'pg';
import type { Transaction } from './context.ts';
import type { RequestRow } from './rows.ts';

/** How fast one person approves, and what they are told about it. */

/** First half of the advisory lock under which one person's approvals are counted; the second is a hash of their id. */
const PACE_LOCK = 0x63737063;

/**
 * Approvals that this person gave within the last minute, in whatever process and channel. What commits at the same
 * moment counts: approvals of one person take turns from here to the end of the transaction.
 */
export async function approvalsInMinute({ client }: Transaction, person: string): Promise<number> {
  const id = pg.escapeLiteral(person);
  // Two statements, because the second must see what was committed while the first waited; one round trip.
  const results: unknown = await client.query(
    `SELECT pg_advisory_xact_lock(${PACE_LOCK}, hashtext(${id}));
     SELECT count(*)::int AS count FROM countersign.verdict
     WHERE person = ${id} AND verdict = 'approve' AND at > clock_timestamp() - interval '1 minute'`,
  );
  const [, counted] = results as readonly pg.QueryResult<{ count: number }>[];
  if (counted?.rows[0] === undefined) throw new Error('the database did not count');
  return counted.rows[0].count;
}

/** What somebody should know who has just approved; null: nothing. `approvals`: within the minute, this one included. */
export function noticeFor(row: RequestRow, approvals: number, noticedFrom: number): string | null {
  const { refusals } = row;
  const words = [
    ...(approvals < noticedFrom
      ? []
      : [
          `You have approved ${approvals} requests within a minute: faster than statements can be read. Is each of them right?`,
        ]),
    ...(refusals === 0
      ? []
      : [
          `In the last ten minutes ${refusals} more statements of agent ${row.agent} were refused, because it asks more than its limits let it.`,
        ]),
  ];
  return words.length === 0 ? null : words.join(' ');
}
