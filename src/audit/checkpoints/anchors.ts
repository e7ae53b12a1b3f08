/** Places outside the audit database where checkpoints are kept, so that it alone cannot rewrite what was. */
import { open } from 'node:fs/promises';
import pg from 'pg';
import type { AnchorPlace } from '../../config/config.ts';

export type Anchor = {
  readonly name: string;
  /** Rejects when the note is not certain to be there. */
  readonly publish: (note: string) => Promise<void>;
  /** The last note there; null: none, or this kind of anchor cannot tell. */
  readonly newest: () => Promise<string | null>;
};

export function anchorAt(place: AnchorPlace): Anchor {
  if (place.kind === 'file') return fileAnchor(place.path);
  return place.kind === 'database'
    ? databaseAnchor(place.url, place.name)
    : webhookAnchor(place.url, place.name);
}

/** A file, one checkpoint a line as JSON `{"at", "note"}`; best on another machine's disk, or one that is written once. */
export function fileAnchor(path: string): Anchor {
  return {
    name: `file ${path}`,
    publish: async (note) => {
      const file = await open(path, 'a', 0o644);
      try {
        await file.write(`${JSON.stringify({ at: new Date().toISOString(), note })}\n`);
        await file.datasync();
      } finally {
        await file.close();
      }
    },
    newest: async () => lastNote(await tailOf(path)),
  };
}

/**
 * A table `countersign_checkpoint (note text PRIMARY KEY, at timestamptz)` in another database, which must be there: give
 * the role INSERT and SELECT on it and nothing else.
 */
export function databaseAnchor(url: string, name: string): Anchor {
  const connected = async <T>(work: (client: pg.Client) => Promise<T>): Promise<T> => {
    const client = new pg.Client({
      connectionString: url,
      application_name: 'countersign checkpoint',
      connectionTimeoutMillis: 10_000,
      query_timeout: 10_000,
    });
    client.on('error', () => {});
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  };
  return {
    name: `database ${name}`,
    publish: (note) =>
      connected(async (client) => {
        await client.query(
          'INSERT INTO countersign_checkpoint (note, at) VALUES ($1, clock_timestamp()) ON CONFLICT DO NOTHING',
          [note],
        );
      }),
    newest: () =>
      connected(async (client) => {
        const { rows } = await client.query<{ note: string }>(
          'SELECT note FROM countersign_checkpoint ORDER BY at DESC LIMIT 1',
        );
        return rows[0]?.note ?? null;
      }),
  };
}

/** Any HTTP server: the note is the body of a POST. It is signed, so it needs no other proof of where it came from. */
export function webhookAnchor(url: string, name: string): Anchor {
  return {
    name: `webhook ${name}`,
    publish: async (note) => {
      const response = await fetch(url, {
        method: 'POST',
        body: note,
        headers: { 'content-type': 'text/plain; charset=utf-8' },
        redirect: 'error',
        signal: AbortSignal.timeout(10_000),
      });
      if (!response.ok) throw new Error(`${name} answered HTTP ${response.status}`);
    },
    newest: () => Promise.resolve(null),
  };
}

/** The end of the file; empty where there is none. */
async function tailOf(path: string): Promise<string> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
  try {
    const { size } = await file.stat();
    const length = Math.min(size, TAIL_BYTES);
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.toString('utf8');
  } finally {
    await file.close();
  }
}

/** More than two notes can take. */
const TAIL_BYTES = 65_536;

/** The last whole line's note in the text of a file anchor; a crash may have cut the last line. Null: there is none. */
export function lastNote(text: string): string | null {
  for (const line of text.split('\n').reverse()) {
    const note = noteIn(line);
    if (note !== null) return note;
  }
  return null;
}

function noteIn(line: string): string | null {
  try {
    const { note } = Object(JSON.parse(line));
    return typeof note === 'string' ? note : null;
  } catch {
    return null;
  }
}
