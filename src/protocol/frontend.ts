/**
 * Frontend messages (manual, "Message Formats"). All input here is attacker-controlled. A frame is a type byte, an
 * int32 length that counts itself, and the body. Decoders take the whole frame and throw `MalformedMessage` where
 * Postgres answers 08P01; they copy nothing.
 */

export const FRONTEND = {
  query: 0x51, // Q
  parse: 0x50, // P
  bind: 0x42, // B
  describe: 0x44, // D
  execute: 0x45, // E
  close: 0x43, // C
  sync: 0x53, // S
  flush: 0x48, // H
  terminate: 0x58, // X
  functionCall: 0x46, // F
  copyData: 0x64, // d
  copyDone: 0x63, // c
  copyFail: 0x66, // f
  password: 0x70, // p
} as const;

/** The client sent a message that Postgres would refuse with 08P01; the text is Postgres' own. */
export class MalformedMessage extends Error {
  override readonly name = 'MalformedMessage';
  /** Where in the message, as Postgres says it in CONTEXT. */
  readonly context: string | null;
  constructor(message: string, context: string | null = null) {
    super(message);
    this.context = context;
  }
}

/** Longest length fields (they count themselves), as in Postgres' libpq.h: PQ_SMALL_ and PQ_LARGE_MESSAGE_LIMIT. */
const SMALL = 10_000;
const LARGE = 0x3fff_fffe;
const LONGEST: Readonly<Record<number, number>> = {
  [FRONTEND.query]: LARGE,
  [FRONTEND.parse]: LARGE,
  [FRONTEND.bind]: LARGE,
  [FRONTEND.functionCall]: LARGE,
  [FRONTEND.copyData]: LARGE,
  [FRONTEND.describe]: SMALL,
  [FRONTEND.execute]: SMALL,
  [FRONTEND.close]: SMALL,
  [FRONTEND.sync]: SMALL,
  [FRONTEND.flush]: SMALL,
  [FRONTEND.terminate]: SMALL,
  [FRONTEND.copyDone]: SMALL,
  [FRONTEND.copyFail]: SMALL,
};

/** The longest length field that Postgres takes in a message of that type after log-in; null: there is no such type. */
export function longestLength(type: number): number | null {
  return LONGEST[type] ?? null;
}

export type ParseMessage = {
  /** First 63 bytes as latin1: names are compared bytewise and cut there (NAMEDATALEN). */
  readonly name: string;
  /** The SQL text's bytes, without the NUL; a view of the frame. */
  readonly sql: Buffer;
  readonly parameterTypes: readonly number[];
};

export type BindMessage = {
  readonly portal: string;
  readonly statement: string;
  readonly parameterFormats: readonly number[];
  /** Views of the frame; null: SQL NULL. */
  readonly parameters: readonly (Buffer | null)[];
  readonly resultFormats: readonly number[];
};

export type NamedMessage = { readonly kind: 'statement' | 'portal'; readonly name: string };
export type ExecuteMessage = { readonly portal: string; readonly maxRows: number };

const HEADER = 5;
/** NAMEDATALEN - 1 (pg_config_manual.h). */
export const MAX_NAME_BYTES = 63;

/** Query: the SQL text's bytes. Throws where the text has no NUL at its end, or another before. */
export function decodeQuery(frame: Buffer): Buffer {
  const end = frame.indexOf(0, HEADER);
  if (end === -1) throw new MalformedMessage('invalid string in message');
  if (end !== frame.length - 1) throw new MalformedMessage('invalid message format');
  return frame.subarray(HEADER, end);
}

export function decodeParse(frame: Buffer): ParseMessage {
  const reader = new BodyReader(frame);
  const name = reader.name();
  const sql = reader.string();
  const count = reader.int16();
  const parameterTypes: number[] = [];
  for (let i = 0; i < count; i++) parameterTypes.push(reader.uint32());
  reader.end();
  return { name, sql, parameterTypes };
}

export function decodeBind(frame: Buffer): BindMessage {
  const reader = new BodyReader(frame);
  const portal = reader.name();
  const statement = reader.name();
  const parameterFormats = reader.int16s();
  const count = reader.int16();
  if (parameterFormats.length > 1 && parameterFormats.length !== count)
    throw new MalformedMessage(
      `bind message has ${parameterFormats.length} parameter formats but ${count} parameters`,
    );
  const parameters: (Buffer | null)[] = [];
  for (let i = 0; i < count; i++) parameters.push(boundValue(reader, portal, i + 1));
  const resultFormats = reader.int16s();
  reader.end();
  return { portal, statement, parameterFormats, parameters, resultFormats };
}

function boundValue(reader: BodyReader, portal: string, position: number): Buffer | null {
  try {
    const length = reader.int32();
    return length === -1 ? null : reader.bytes(length);
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error;
    const name = portal === '' ? 'unnamed portal' : `portal "${Buffer.from(portal, 'latin1').toString()}"`;
    throw new MalformedMessage(error.message, `${name} parameter $${position}`);
  }
}

/** Describe or Close. */
export function decodeNamed(frame: Buffer): NamedMessage {
  const reader = new BodyReader(frame);
  const kind = reader.byte();
  const name = reader.name();
  reader.end();
  if (kind === 0x53) return { kind: 'statement', name };
  if (kind === 0x50) return { kind: 'portal', name };
  const message = frame[0] === FRONTEND.close ? 'CLOSE' : 'DESCRIBE';
  throw new MalformedMessage(`invalid ${message} message subtype ${kind}`);
}

export function decodeExecute(frame: Buffer): ExecuteMessage {
  const reader = new BodyReader(frame);
  const portal = reader.name();
  const maxRows = reader.int32();
  reader.end();
  return { portal, maxRows };
}

/** Flush: it has no body, and the server answers one with an error that skips to Sync. */
export function decodeFlush(frame: Buffer): void {
  new BodyReader(frame).end();
}

/** The key under which a SQL identifier shares a namespace with protocol names. */
export function nameKey(identifier: string): string {
  return Buffer.from(identifier, 'utf8').toString('latin1', 0, MAX_NAME_BYTES);
}

class BodyReader {
  readonly #frame: Buffer;
  #at = HEADER;

  constructor(frame: Buffer) {
    this.#frame = frame;
  }

  #take(length: number): number {
    const at = this.#at;
    if (length < 0 || length > this.#frame.length - at)
      throw new MalformedMessage('insufficient data left in message');
    this.#at = at + length;
    return at;
  }

  byte(): number {
    return this.#frame.readUInt8(this.#take(1));
  }
  /** A count: Postgres reads it unsigned, so up to 65,535. */
  int16(): number {
    return this.#frame.readUInt16BE(this.#take(2));
  }
  int32(): number {
    return this.#frame.readInt32BE(this.#take(4));
  }
  uint32(): number {
    return this.#frame.readUInt32BE(this.#take(4));
  }
  int16s(): number[] {
    const count = this.int16();
    const values: number[] = [];
    for (let i = 0; i < count; i++) values.push(this.#frame.readInt16BE(this.#take(2)));
    return values;
  }
  bytes(length: number): Buffer {
    const at = this.#take(length);
    return this.#frame.subarray(at, at + length);
  }
  string(): Buffer {
    const end = this.#frame.indexOf(0, this.#at);
    if (end === -1) throw new MalformedMessage('invalid string in message');
    const value = this.#frame.subarray(this.#at, end);
    this.#at = end + 1;
    return value;
  }
  name(): string {
    const value = this.string();
    return value.toString('latin1', 0, Math.min(value.length, MAX_NAME_BYTES));
  }
  end(): void {
    if (this.#at !== this.#frame.length) throw new MalformedMessage('invalid message format');
  }
}
