/** Statements of each kind, each with a marker of its own in its text, by which the server's log and ours are compared. */
import { serialize } from 'pg-protocol';
import type { RawClient } from '../support/raw-client.ts';

export type Kind = 'read' | 'write' | 'ddl' | 'export' | 'copy' | 'multi' | 'pipeline' | 'bulk';

export type Script = {
  /** A person is asked: `before` it runs, or `midway`. */
  readonly asked: 'no' | 'before' | 'midway';
  /** Only these may run before their intent is safe: then none of the result may reach the client. */
  readonly read: boolean;
  /** Lines in the server's log when it runs whole, and rows that it leaves in `marks`. */
  readonly lines: number;
  readonly marks: number;
  /** Intents that it has. */
  readonly intents: number;
  /** Sends it, and gives every frame that came until its end or the connection's. */
  readonly run: (client: RawClient, marker: string) => Promise<readonly Buffer[]>;
};

export const SAMPLE = `
  CREATE TABLE marks (mark text);
  CREATE TABLE scratch (id integer);
  CREATE TABLE items (id integer, kind text, body text) WITH (autovacuum_enabled = off);
  INSERT INTO items SELECT i, 'old', 'x' FROM generate_series(1, 30000) i;
  ANALYZE;
  INSERT INTO items SELECT i, 'new', 'x' FROM generate_series(1, 3000) i;`;

const PATIENCE_MS = 90_000;
const Q = serialize.query;
const simple = (sql: (marker: string) => string) => (client: RawClient, marker: string) => {
  client.send(Q(sql(marker)));
  return client.ready(1, PATIENCE_MS);
};

export const KINDS: Record<Kind, Script> = {
  read: {
    ...{ asked: 'no', read: true, lines: 1, marks: 0, intents: 1 },
    run: simple((marker) => `SELECT id, '${marker}' AS mark FROM items WHERE id <= 3`),
  },
  write: {
    ...{ asked: 'no', read: false, lines: 1, marks: 1, intents: 1 },
    run: simple((marker) => `INSERT INTO marks VALUES ('${marker}')`),
  },
  ddl: {
    ...{ asked: 'before', read: false, lines: 1, marks: 0, intents: 1 },
    run: simple((marker) => `CREATE TABLE ${marker} (id integer)`),
  },
  bulk: {
    ...{ asked: 'before', read: false, lines: 1, marks: 1, intents: 1 },
    run: simple((marker) => `WITH gone AS (DELETE FROM scratch) INSERT INTO marks VALUES ('${marker}')`),
  },
  export: {
    ...{ asked: 'midway', read: true, lines: 1, marks: 0, intents: 1 },
    run: simple((marker) => `SELECT id, body FROM items WHERE kind = 'new' -- ${marker}`),
  },
  copy: {
    ...{ asked: 'no', read: false, lines: 1, marks: 1, intents: 1 },
    run: async (client, marker) => {
      client.send(Q(`COPY marks FROM STDIN /* ${marker} */`));
      const begun = await client.until(
        (frames) => frames.some(([type]) => type === 0x47 || type === 0x5a),
        PATIENCE_MS,
      );
      // Refused: there is nothing to copy into.
      if (client.closed || begun.some(([type]) => type === 0x5a)) return begun;
      client.send(serialize.copyData(Buffer.from(`${marker}\n`)), serialize.copyDone());
      return [...begun, ...(await client.ready(1, PATIENCE_MS))];
    },
  },
  multi: {
    ...{ asked: 'no', read: false, lines: 1, marks: 1, intents: 2 },
    run: simple(
      (marker) =>
        `INSERT INTO marks VALUES ('${marker}'); SELECT count(*) FROM marks WHERE mark = '${marker}'`,
    ),
  },
  pipeline: {
    ...{ asked: 'no', read: false, lines: 2, marks: 2, intents: 2 },
    run: (client, marker) => {
      const text = `INSERT INTO marks VALUES ('${marker}')`;
      const one = [
        serialize.parse({ text }),
        serialize.bind({}),
        serialize.describe({ type: 'P', name: '' }),
        serialize.execute({}),
      ];
      client.send(...one, ...one, serialize.sync());
      return client.ready(1, PATIENCE_MS);
    },
  },
};

export const ALL_KINDS = Object.keys(KINDS) as readonly Kind[];
