/** Backend messages as text, for people to read, and as bytes without what no two servers have in common. */
import { BACKEND, commandTag, decodeErrorFields, decodeParameterStatus } from '../../src/protocol/backend.ts';
import { textOf } from './frontend-text.ts';

/** The server's source file, line and routine. */
const SOURCE_FIELDS = 'FLR';
/** From here on, object ids are those of a database's own objects, and differ from one to the next. */
const FIRST_NORMAL_OID = 16_384;

/** One line for a whole frame: `RowDescription "id":23`, `ErrorResponse {"S":"ERROR",…}`. */
export function printBackend(frame: Buffer): string {
  const shape = SHAPES[frame[0] ?? 0];
  if (shape === undefined) return `Unknown ${frame.toString('hex')}`;
  const [name, print] = shape;
  return [name, ...(print?.(frame) ?? [])].join(' ');
}

/** What must be equal on both ways, byte for byte: all but the source's place and the sender of a notification. */
export function comparable(frame: Buffer): string {
  const type = frame[0] ?? 0;
  if (type === BACKEND.error || type === BACKEND.notice)
    return `${String.fromCharCode(type)} ${JSON.stringify(withoutSource(frame))}`;
  if (type === BACKEND.notification) return `A ${frame.toString('latin1', 9)}`;
  return frame.toString('latin1');
}

type Print = (frame: Buffer) => readonly string[];
const json = (value: unknown) => JSON.stringify(value);
const fields: Print = (frame) => {
  const { V: _, ...rest } = withoutSource(frame);
  return [json(rest)];
};

const SHAPES: Readonly<Record<number, readonly [string, Print?]>> = {
  [BACKEND.parseComplete]: ['ParseComplete'],
  [BACKEND.bindComplete]: ['BindComplete'],
  [BACKEND.closeComplete]: ['CloseComplete'],
  [BACKEND.emptyQuery]: ['EmptyQueryResponse'],
  [BACKEND.noData]: ['NoData'],
  [BACKEND.portalSuspended]: ['PortalSuspended'],
  [BACKEND.copyDone]: ['CopyDone'],
  [BACKEND.commandComplete]: ['CommandComplete', (frame) => [json(commandTag(frame))]],
  [BACKEND.readyForQuery]: ['ReadyForQuery', (frame) => [frame.toString('latin1', 5)]],
  [BACKEND.error]: ['ErrorResponse', fields],
  [BACKEND.notice]: ['NoticeResponse', fields],
  [BACKEND.dataRow]: ['DataRow', (frame) => [json(values(frame))]],
  [BACKEND.copyData]: ['CopyData', (frame) => [json(textOf(frame.subarray(5)))]],
  [BACKEND.copyInResponse]: ['CopyInResponse', copyFormats],
  [BACKEND.copyOutResponse]: ['CopyOutResponse', copyFormats],
  [BACKEND.rowDescription]: ['RowDescription', columns],
  [BACKEND.parameterDescription]: ['ParameterDescription', parameterTypes],
  [BACKEND.parameterStatus]: [
    'ParameterStatus',
    (frame) => {
      const { name, value } = decodeParameterStatus(frame);
      return [json(name), json(value)];
    },
  ],
  [BACKEND.notification]: [
    'NotificationResponse',
    (frame) =>
      frame
        .toString('utf8', 9, frame.length - 1)
        .split('\0')
        .map(json),
  ],
  [BACKEND.functionCallResponse]: ['FunctionCallResponse', functionResult],
};

function withoutSource(frame: Buffer): Record<string, string> {
  const kept = Object.entries(decodeErrorFields(frame)).filter(([code]) => !SOURCE_FIELDS.includes(code));
  return Object.fromEntries(kept);
}

function values(frame: Buffer): readonly unknown[] {
  let at = 7;
  return Array.from({ length: frame.readUInt16BE(5) }, () => {
    const length = frame.readInt32BE(at);
    at += 4 + Math.max(0, length);
    return length === -1 ? null : textOf(frame.subarray(at - length, at));
  });
}

/** Name, type, and where they say something: type modifier and binary format. */
function columns(frame: Buffer): readonly string[] {
  let at = 7;
  return Array.from({ length: frame.readUInt16BE(5) }, () => {
    const end = frame.indexOf(0, at);
    const name = json(frame.toString('utf8', at, end));
    const type = frame.readUInt32BE(end + 7);
    const modifier = frame.readInt32BE(end + 13);
    const format = frame.readInt16BE(end + 17);
    at = end + 19;
    return `${name}:${oid(type)}${modifier === -1 ? '' : `(${modifier})`}${format === 0 ? '' : ':binary'}`;
  });
}

function parameterTypes(frame: Buffer): readonly string[] {
  return Array.from({ length: frame.readUInt16BE(5) }, (_, i) => oid(frame.readUInt32BE(7 + 4 * i)));
}

function oid(value: number): string {
  return value < FIRST_NORMAL_OID ? String(value) : 'own';
}

function copyFormats(frame: Buffer): readonly string[] {
  const formats = Array.from({ length: frame.readUInt16BE(6) }, (_, i) => frame.readInt16BE(8 + 2 * i));
  return [String(frame[5]), json(formats)];
}

function functionResult(frame: Buffer): readonly string[] {
  return [frame.readInt32BE(5) === -1 ? 'null' : json(textOf(frame.subarray(9)))];
}
