/**
 * Frontend messages as text: `Parse "name" "SELECT $1" [23]`. Values are JSON; a value that is no text is
 * `{"hex":"00ff"}`, and `{"times":65535,"of":"1"}` stands in a list for so many of the same. What no other line can
 * say is `Raw`: bytes in hex, and text in quotes.
 */
import { encodeFrame } from '../../src/protocol/backend.ts';
import { FRONTEND } from '../../src/protocol/frontend.ts';

type Json = string | number | null | readonly Json[] | { readonly [key: string]: Json };

/** The bytes of one line; throws where it is not one. */
export function encodeFrontend(text: string): Buffer {
  const [name = '', rest = ''] = cut(text);
  if (name === 'Raw') return encodeRaw(rest);
  const shape = SHAPES[name];
  if (shape === undefined) throw new Error(`unknown frontend message: ${text}`);
  return encodeFrame(shape.type, Buffer.concat(shape.body(parseArguments(rest))));
}

/** One line for any bytes: `encodeFrontend` gives the same bytes again. */
export function printFrontend(frame: Buffer): string {
  for (const [name, { type, print }] of Object.entries(SHAPES)) {
    if (frame[0] !== type) continue;
    try {
      const text = [name, ...print(new Body(frame))].join(' ');
      if (encodeFrontend(text).equals(frame)) return text;
    } catch {
      // Malformed: printed as bytes.
    }
  }
  return printRaw(frame);
}

type Shape = {
  readonly type: number;
  readonly body: (values: readonly Json[]) => readonly Buffer[];
  readonly print: (body: Body) => readonly string[];
};

const plain = (type: number): Shape => ({ type, body: () => [], print: () => [] });
const named = (type: number): Shape => ({
  type,
  body: ([kind, name]) => [Buffer.from(String(kind)), cString(name)],
  print: (body) => [body.bytes(1).toString('latin1'), quoted(body.cString())],
});

const SHAPES: Readonly<Record<string, Shape>> = {
  Query: {
    type: FRONTEND.query,
    body: ([sql]) => [cString(sql)],
    print: (body) => [quoted(body.rest().subarray(0, -1))],
  },
  Parse: {
    type: FRONTEND.parse,
    body: ([name, sql, types]) => [cString(name), cString(sql), counted(list(types), (one) => int32(one))],
    print: (body) => [
      quoted(body.cString()),
      quoted(body.cString()),
      ...optional(body.list(() => body.int32())),
    ],
  },
  Bind: {
    type: FRONTEND.bind,
    body: ([portal, statement, values, formats, results]) => [
      cString(portal),
      cString(statement),
      counted(list(formats), int16),
      counted(list(values), sized),
      counted(list(results), int16),
    ],
    print: (body) => {
      const names = [quoted(body.cString()), quoted(body.cString())];
      const formats = body.list(() => body.int16());
      const values = JSON.stringify(body.list(() => body.value()));
      const results = body.list(() => body.int16());
      if (results.length > 0) return [...names, values, JSON.stringify(formats), JSON.stringify(results)];
      return formats.length > 0 ? [...names, values, JSON.stringify(formats)] : [...names, values];
    },
  },
  Describe: named(FRONTEND.describe),
  Close: named(FRONTEND.close),
  Execute: {
    type: FRONTEND.execute,
    body: ([portal, rows]) => [cString(portal), int32(rows ?? 0)],
    print: (body) => [quoted(body.cString()), String(body.int32())],
  },
  Sync: plain(FRONTEND.sync),
  Flush: plain(FRONTEND.flush),
  Terminate: plain(FRONTEND.terminate),
  CopyData: {
    type: FRONTEND.copyData,
    body: ([data]) => [bytesOf(data)],
    print: (body) => [JSON.stringify(textOf(body.rest()))],
  },
  CopyDone: plain(FRONTEND.copyDone),
  CopyFail: {
    type: FRONTEND.copyFail,
    body: ([why]) => [cString(why)],
    print: (body) => [quoted(body.cString())],
  },
  /** Function, argument formats, arguments, format of the result. */
  FunctionCall: {
    type: FRONTEND.functionCall,
    body: ([oid, formats, values, result]) => [
      int32(oid),
      counted(list(formats), int16),
      counted(list(values), sized),
      int16(result ?? 0),
    ],
    print: (body) => [
      String(body.int32()),
      JSON.stringify(body.list(() => body.int16())),
      JSON.stringify(body.list(() => body.value())),
      String(body.int16()),
    ],
  },
};

function cut(text: string): [string, string] {
  const at = text.indexOf(' ');
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

/** JSON values with blanks between them; a bare letter (`Describe S`) is a text. */
function parseArguments(text: string): readonly Json[] {
  const values: Json[] = [];
  let left = text.trim();
  while (left !== '') {
    const bare = /^[A-Z](?= |$)/.exec(left)?.[0];
    const length = bare === undefined ? lengthOfValue(left) : 1;
    values.push(bare ?? (JSON.parse(left.slice(0, length)) as Json));
    left = left.slice(length).trim();
  }
  return values;
}

/** Where the JSON value ends that the text begins with. */
function lengthOfValue(text: string): number {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const at = text[i] ?? '';
    if (at === '"') i = endOfString(text, i);
    else if ('[{'.includes(at)) depth += 1;
    else if (']}'.includes(at)) depth -= 1;
    if (depth === 0 && (i + 1 === text.length || text[i + 1] === ' ')) return i + 1;
  }
  throw new Error(`not JSON: ${text}`);
}

function endOfString(text: string, from: number): number {
  for (let i = from + 1; i < text.length; i++) {
    if (text[i] === '\\') i += 1;
    else if (text[i] === '"') return i;
  }
  throw new Error(`a text without its end: ${text.slice(from)}`);
}

function encodeRaw(text: string): Buffer {
  const parts: Buffer[] = [];
  let left = text.trim();
  while (left !== '') {
    const length = lengthOfValue(left);
    const token = left.slice(0, length);
    if (!token.startsWith('"') && !/^([0-9a-f]{2})+$/i.test(token)) throw new Error(`not hex: ${token}`);
    parts.push(token.startsWith('"') ? Buffer.from(JSON.parse(token) as string) : Buffer.from(token, 'hex'));
    left = left.slice(length).trim();
  }
  return Buffer.concat(parts);
}

/** Bytes in hex; printable text of some length in quotes. */
export function printRaw(bytes: Buffer): string {
  const tokens: string[] = ['Raw'];
  const shown = bytes.toString('latin1');
  for (const part of shown.match(/[ -~]{4,}|[\s\S]/g) ?? [])
    tokens.push(part.length > 1 ? JSON.stringify(part) : Buffer.from(part, 'latin1').toString('hex'));
  return tokens.join(' ');
}

function list(value: Json | undefined): readonly Json[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new Error(`not a list: ${JSON.stringify(value)}`);
  return (value as readonly Json[]).flatMap((one) => {
    const { times, of } = one !== null && typeof one === 'object' && 'times' in one ? one : {};
    return typeof times === 'number' ? Array<Json>(times).fill(of ?? null) : [one];
  });
}

function counted(values: readonly Json[], encode: (value: Json) => Buffer): Buffer {
  return Buffer.concat([int16(values.length), ...values.map(encode)]);
}

function sized(value: Json): Buffer {
  if (value === null) return int32(-1);
  const bytes = bytesOf(value);
  return Buffer.concat([int32(bytes.length), bytes]);
}

function cString(value: Json | undefined): Buffer {
  return Buffer.concat([bytesOf(value), Buffer.of(0)]);
}

function bytesOf(value: Json | undefined): Buffer {
  if (typeof value === 'string') return Buffer.from(value);
  if (value !== null && typeof value === 'object' && 'hex' in value && typeof value['hex'] === 'string')
    return Buffer.from(value['hex'], 'hex');
  throw new Error(`neither text nor hex: ${JSON.stringify(value)}`);
}

/** Text where it is UTF-8, else hex; the inverse of what a line says. */
export function textOf(bytes: Buffer): string | { readonly hex: string } {
  const text = bytes.toString('utf8');
  return Buffer.from(text).equals(bytes) ? text : { hex: bytes.toString('hex') };
}

function quoted(bytes: Buffer): string {
  return JSON.stringify(textOf(bytes));
}

function optional(values: readonly number[]): readonly string[] {
  return values.length === 0 ? [] : [JSON.stringify(values)];
}

function int16(value: Json): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(Number(value) & 0xffff);
  return bytes;
}

function int32(value: Json | undefined): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(Number(value) | 0);
  return bytes;
}

class Body {
  readonly #frame: Buffer;
  #at = 5;
  constructor(frame: Buffer) {
    this.#frame = frame;
  }
  bytes(length: number): Buffer {
    if (length < 0 || this.#at + length > this.#frame.length) throw new RangeError('beyond the end');
    this.#at += length;
    return this.#frame.subarray(this.#at - length, this.#at);
  }
  rest(): Buffer {
    return this.bytes(this.#frame.length - this.#at);
  }
  cString(): Buffer {
    const end = this.#frame.indexOf(0, this.#at);
    const text = this.bytes(end - this.#at);
    this.#at += 1;
    return text;
  }
  int16(): number {
    return this.bytes(2).readInt16BE();
  }
  int32(): number {
    return this.bytes(4).readInt32BE();
  }
  value(): ReturnType<typeof textOf> | null {
    const length = this.int32();
    return length === -1 ? null : textOf(this.bytes(length));
  }
  list<T>(one: () => T): T[] {
    return Array.from({ length: this.bytes(2).readUInt16BE() }, one);
  }
}
