/**
 * Backend messages (manual, "Message Formats"): what the proxy has to read of them, and the few it writes itself.
 */

export const BACKEND = {
  parseComplete: 0x31, // 1
  bindComplete: 0x32, // 2
  closeComplete: 0x33, // 3
  notification: 0x41, // A
  commandComplete: 0x43, // C
  dataRow: 0x44, // D
  error: 0x45, // E
  copyInResponse: 0x47, // G
  copyOutResponse: 0x48, // H
  emptyQuery: 0x49, // I
  backendKeyData: 0x4b, // K
  notice: 0x4e, // N
  authentication: 0x52, // R
  parameterStatus: 0x53, // S
  rowDescription: 0x54, // T
  functionCallResponse: 0x56, // V
  copyBothResponse: 0x57, // W
  readyForQuery: 0x5a, // Z
  copyDone: 0x63, // c
  copyData: 0x64, // d
  noData: 0x6e, // n
  portalSuspended: 0x73, // s
  parameterDescription: 0x74, // t
  negotiateProtocolVersion: 0x76, // v
} as const;

/** Transaction status as ReadyForQuery tells it: idle, in a transaction, in a failed one. */
export type TransactionStatus = 'I' | 'T' | 'E';

/** Fields of an ErrorResponse or NoticeResponse by their codes (manual, "Error and Notice Message Fields"). */
export type ErrorFields = Readonly<Record<string, string>>;

/** Reads the fields of a whole E or N frame; unknown fields are kept, a broken tail is left out. */
export function decodeErrorFields(frame: Buffer): Record<string, string> {
  const fields: Record<string, string> = {};
  let at = 5;
  while (at < frame.length && frame[at] !== 0) {
    const end = frame.indexOf(0, at + 1);
    if (end === -1) break;
    fields[String.fromCharCode(frame[at] ?? 0)] = frame.toString('utf8', at + 1, end);
    at = end + 1;
  }
  return fields;
}

export function encodeError(fields: ErrorFields): Buffer {
  return encodeFields(BACKEND.error, fields);
}

export function encodeNotice(fields: ErrorFields): Buffer {
  return encodeFields(BACKEND.notice, fields);
}

/** An error of the proxy's own that ends the session. */
export function fatalError(code: string, message: string, hint?: string): Buffer {
  return encodeError({
    S: 'FATAL',
    V: 'FATAL',
    C: code,
    M: message,
    ...(hint === undefined ? {} : { H: hint }),
  });
}

/** Any message: type byte, length, body. */
export function encodeFrame(type: number, body: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(5 + body.length);
  frame.writeUInt8(type, 0);
  frame.writeInt32BE(4 + body.length, 1);
  body.copy(frame, 5);
  return frame;
}

/** The command tag of a whole CommandComplete frame. */
export function commandTag(frame: Buffer): string {
  return frame.toString('utf8', 5, frame.length - 1);
}

/** Rows that a command tag counts (`INSERT 0 5`, `SELECT 3`, `COPY 7`); null where it counts none. */
export function rowsOfTag(tag: string): number | null {
  const match = /^(?:INSERT \d+|SELECT|UPDATE|DELETE|MERGE|COPY|FETCH|MOVE) (\d+)$/.exec(tag);
  return match === null ? null : Number(match[1]);
}

/** Name and value of a whole ParameterStatus frame. */
export function decodeParameterStatus(frame: Buffer): { readonly name: string; readonly value: string } {
  const end = frame.indexOf(0, 5);
  return { name: frame.toString('utf8', 5, end), value: frame.toString('utf8', end + 1, frame.length - 1) };
}

function encodeFields(type: number, fields: ErrorFields): Buffer {
  const parts: Buffer[] = [];
  for (const [code, value] of Object.entries(fields)) {
    // A NUL would end the field early: the text may hold the agent's own words.
    parts.push(Buffer.from(`${code}${value.replaceAll('\0', '\u2400')}\0`, 'utf8'));
  }
  parts.push(Buffer.of(0));
  return encodeFrame(type, Buffer.concat(parts));
}
