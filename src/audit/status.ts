import pg from 'pg';
import { quoteName } from './quote-name.ts';
import { type SchemaState, schemaState } from './schema-state.ts';

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

export type AuditStatus = { readonly schema: SchemaState; readonly streams: readonly StreamStatus[] };

/**
 * How the schema stands to this program, and the streams of the log, oldest first, as the view `integrity` has them;
 * none where there is no schema. Rejects when it cannot be read.
 */
export async function auditStatus(url: string, schema: string): Promise<AuditStatus> {
  const client = new pg.Client({ connectionString: url, application_name: 'countersign audit status' });
  await client.connect();
  try {
    const state = await schemaState(client, schema);
    return { schema: state, streams: state.kind === 'absent' ? [] : await streamsOf(client, schema) };
  } finally {
    await client.end();
  }
}

async function streamsOf(client: pg.Client, schema: string): Promise<StreamStatus[]> {
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
}
