/** What processes say to one another about cancels, before it is sealed. All messages have one length. */
import type { CancelAsked } from './cancels.ts';

export type CancelMessage =
  | {
      readonly kind: 'cancel';
      /** The sender's own; the answer has it, too. */
      readonly id: bigint;
      /** By the database's clock, milliseconds: later it must not be acted on, for nobody waits for it any more. */
      readonly until: number;
      readonly asked: CancelAsked;
    }
  | { readonly kind: 'done'; readonly id: bigint };

/** int8 kind, int64 id, float64 until, int32 process id, int16 length of the key, key, zeros. */
const KEY_AT = 23;
const LONGEST_KEY = 256;
const LENGTH = KEY_AT + LONGEST_KEY;

export function encodeCancelMessage(message: CancelMessage): Buffer {
  const bytes = Buffer.alloc(LENGTH);
  bytes.writeUInt8(message.kind === 'cancel' ? 1 : 2, 0);
  bytes.writeBigUInt64BE(message.id, 1);
  if (message.kind === 'done') return bytes;
  const { processId, key } = message.asked;
  bytes.writeDoubleBE(message.until, 9);
  bytes.writeInt32BE(processId, 17);
  bytes.writeUInt16BE(key.length, 21);
  key.copy(bytes, KEY_AT);
  return bytes;
}

/** Null for what no process of this version sends. */
export function decodeCancelMessage(bytes: Buffer): CancelMessage | null {
  if (bytes.length !== LENGTH) return null;
  const kind = bytes.readUInt8(0);
  const id = bytes.readBigUInt64BE(1);
  if (kind === 2) return { kind: 'done', id };
  const length = bytes.readUInt16BE(21);
  if (kind !== 1 || length > LONGEST_KEY) return null;
  const key = Buffer.from(bytes.subarray(KEY_AT, KEY_AT + length));
  return {
    kind: 'cancel',
    id,
    until: bytes.readDoubleBE(9),
    asked: { processId: bytes.readInt32BE(17), key },
  };
}
