/** One frontend message of a random program: its bytes for the server itself and for the proxy, and how it is shown. */
import { serialize } from 'pg-protocol';

/** By the manual's type byte; Describe is two, because a statement's has one answer more; `H!` is malformed. */
export type Kind = 'P' | 'B' | 'E' | 'DS' | 'DP' | 'C' | 'S' | 'H' | 'H!' | 'Q' | 'F' | 'd' | 'c' | 'f' | 'X';

/**
 * A text that policy denies, and the one that takes its place on plain Postgres: it fails there by itself, in the same
 * message (both are rejected at Bind when they are sent as Parse, unless they are rejected at Parse).
 */
export type Refused = { readonly refused: string; readonly genuine: string };
export type Text = string | Refused;

export type Message = {
  readonly kind: Kind;
  readonly label: string;
  readonly direct: Buffer;
  readonly proxied: Buffer;
  /** Through the proxy, the client sends nothing more until it has what the server answered so far. */
  readonly wait: boolean;
};

export const parse = (name: string, text: Text): Message =>
  withText('P', `P:${name}`, text, (sql) => serialize.parse({ name, text: sql, types: [] }));
export const query = (text: Text): Message => withText('Q', 'Q', text, (sql) => serialize.query(sql));
export const bind = (portal: string, statement: string, count = 0, binary = false): Message =>
  message(
    'B',
    `B:${portal}<-${statement}/${count}${binary ? ' binary' : ''}`,
    serialize.bind({ statement, portal, values: Array(count).fill('5'), binary }),
  );
export const execute = (portal: string, rows = 0): Message =>
  message('E', `E:${portal}/${rows}`, serialize.execute({ portal, rows }));
export const describeStatement = (name: string): Message =>
  message('DS', `DS:${name}`, serialize.describe({ type: 'S', name }));
export const describePortal = (name: string): Message =>
  message('DP', `DP:${name}`, serialize.describe({ type: 'P', name }));
export const closeStatement = (name: string): Message =>
  message('C', `CS:${name}`, serialize.close({ type: 'S', name }));
export const closePortal = (name: string): Message =>
  message('C', `CP:${name}`, serialize.close({ type: 'P', name }));
export const sync = (): Message => message('S', 'S', serialize.sync());
export const flush = (): Message => message('H', 'H', serialize.flush());
export const copyData = (text: string): Message =>
  message('d', `d ${JSON.stringify(text)}`, serialize.copyData(Buffer.from(text)));
export const copyDone = (): Message => message('c', 'c', serialize.copyDone());
export const copyFail = (): Message => message('f', 'f', serialize.copyFail('no'));
export const terminate = (): Message => message('X', 'X', serialize.end());

/** A message of that kind whose body is these bytes: what a broken client sends. */
export const raw = (kind: Kind, body: Buffer, what: string): Message => {
  const frame = Buffer.alloc(5 + body.length);
  frame.write(kind.charAt(0), 0, 'latin1');
  frame.writeInt32BE(4 + body.length, 1);
  body.copy(frame, 5);
  return message(kind, `${kind} ${what}`, frame);
};

/** Calls the function of that number without arguments, results as text; through the proxy, perhaps another one. */
export const functionCall = (oid: number, refused = oid): Message => {
  const call = (which: number) => {
    const body = Buffer.alloc(10);
    body.writeUInt32BE(which, 0);
    return raw('F', body, `function ${refused}`);
  };
  return { ...call(oid), proxied: call(refused).proxied };
};

function withText(kind: Kind, label: string, text: Text, make: (sql: string) => Buffer): Message {
  if (typeof text === 'string') return message(kind, `${label} ${text}`, make(text));
  const shown = `${label} ${text.refused} (plain: ${text.genuine})`;
  return { ...message(kind, shown, make(text.genuine)), proxied: make(text.refused) };
}

function message(kind: Kind, label: string, frame: Buffer): Message {
  return { kind, label, direct: frame, proxied: frame, wait: false };
}
