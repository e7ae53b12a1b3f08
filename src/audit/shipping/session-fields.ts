import { ByteWriter } from '../chain/bytes.ts';
import type { Row } from '../chain/canonical.ts';
import type { SessionFacts } from '../entry.ts';
import { sessionFrom } from '../journal/record.ts';
import { sessionColumns } from './row.ts';

type SessionColumn = Exclude<keyof ReturnType<typeof sessionColumns>, 'run_verified' | 'tls'> & keyof Row;

/** What a session's facts are in every row of it. */
export type SessionFields = {
  readonly facts: SessionFacts;
  /** All eleven columns in their canonical form, and the first alone. */
  readonly canonical: Buffer;
  readonly id: Buffer;
  /** Each text column's field. */
  readonly fields: readonly (readonly [SessionColumn, Buffer])[];
  readonly runVerified: boolean;
  readonly tls: boolean;
};

/** Encodes each session's facts once; bounded, because the number of sessions is the agents' choice. */
export class EncodedSessions {
  readonly #known = new Map<string, SessionFields>();
  #lastBytes: Buffer = Buffer.alloc(0);
  #last: SessionFields | null = null;

  /** For the bytes of a session in a record. */
  get(bytes: Buffer): SessionFields {
    if (this.#last !== null && this.#lastBytes.equals(bytes)) return this.#last;
    const key = bytes.toString('latin1');
    let fields = this.#known.get(key);
    if (fields === undefined) {
      fields = encodeSession(sessionFrom(bytes));
      if (this.#known.size >= KNOWN_SESSIONS) this.#known.clear();
      this.#known.set(key, fields);
    }
    this.#lastBytes = bytes;
    this.#last = fields;
    return fields;
  }
}

function encodeSession(facts: SessionFacts): SessionFields {
  const columns = sessionColumns(facts);
  const writer = new ByteWriter(512);
  const fields: [SessionColumn, Buffer][] = [];
  for (const [name, value] of Object.entries(columns)) {
    const start = writer.length;
    if (typeof value === 'boolean') writer.integerField(value ? 1n : 0n);
    else {
      writer.textField(value);
      fields.push([name as SessionColumn, Buffer.from(writer.written().subarray(start))]);
    }
  }
  return {
    facts,
    canonical: Buffer.from(writer.written()),
    id: fields[0]?.[1] ?? Buffer.alloc(0),
    fields,
    runVerified: columns.run_verified,
    tls: columns.tls,
  };
}

const KNOWN_SESSIONS = 4_096;
