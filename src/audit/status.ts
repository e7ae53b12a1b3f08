import pg from 'pg';
import { quoteName } from './quote-name.ts';

export type StreamStatus = {
  readonly stream: string;
  readonly state: 'open' | 'closed' | 'recovered';
  readonly entries: number;
  readonly signedUpTo: number;
  /** Every row up to the head is there and signed for; `verify` checks what they say. */
  readonly complete: boolean;
  readonly host: string;
  readonly pid: string;
};

/** The streams of a log, oldest first, as the view `integrity` has them. Rejects when it cannot be read. */
export async function auditStatus(url: string, schema: string): Promise<StreamStatus[]> {
  const client = new pg.Client({ connectionString: url, application_name: 'countersign audit status' });
  await client.connect();
  try {
    const { rows } = await client.query(
      `SELECT stream, state, entries_recorded, signed_up_to, complete, host, pid
         FROM ${quoteName(schema)}.integrity ORDER BY started_at, stream`,
    );
    return rows.map((row) => ({
      stream: row.stream,
      state: row.state,
      entries: Number(row.entries_recorded),
      signedUpTo: Number(row.signed_up_to ?? 0),
      complete: row.complete === true,
      host: row.host ?? '',
      pid: row.pid ?? '',
    }));
  } finally {
    await client.end();
  }
}
