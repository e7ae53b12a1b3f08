import { createCipheriv } from 'node:crypto';
import * as zlib from 'node:zlib';
import { ByteReader, ByteWriter } from '../chain/bytes.ts';
import { sha256 } from '../chain/sha256.ts';

/**
 * The journal's blocks. A block is what one `write()` handed over: a header (magic, payload length, CRC32, number of
 * records, number of the first one, sha256 of the block before it) and records. The CRC finds a torn write, the hashes
 * find a block that was changed or replaced afterwards.
 */
export const BLOCK_HEADER_BYTES = 56;

const MAGIC = 0x4353424b; // CSBK
/** From here on the CRC counts: everything but magic, length and itself. */
const CRC_FROM = 12;

/** Fills in the header of a block that was written from byte 0 on, with the records after the header; returns its hash. */
export function sealBlock(writer: ByteWriter, records: number, firstSeq: bigint, previous: Buffer): Buffer {
  const length = writer.length;
  writer.seek(0);
  writer.int32(MAGIC);
  writer.int32(length - BLOCK_HEADER_BYTES);
  writer.int32(0);
  writer.int32(records);
  writer.int64(firstSeq);
  writer.raw(previous);
  writer.seek(length);
  const block = writer.written();
  writer.int32At(8, crc32(block.subarray(CRC_FROM)) | 0);
  return sha256(block);
}

export type Block = {
  readonly records: number;
  readonly firstSeq: bigint;
  readonly payload: Buffer;
  readonly hash: Buffer;
  /** Whole length, header included. */
  readonly length: number;
};

/** What stands at an offset: a block, the end (also where a write was torn), or the need for more bytes to tell. */
export type BlockAt =
  | { readonly kind: 'block'; readonly block: Block }
  | { readonly kind: 'end' }
  | { readonly kind: 'more'; readonly bytes: number };

/** Reads the block at `offset`, which must continue `previous`. Nothing after a block that does not is looked at. */
export function blockAt(bytes: Buffer, offset: number, previous: Buffer): BlockAt {
  if (bytes.length - offset < BLOCK_HEADER_BYTES) return { kind: 'more', bytes: BLOCK_HEADER_BYTES };
  if (bytes.readInt32BE(offset) !== MAGIC) return { kind: 'end' };
  const payload = bytes.readInt32BE(offset + 4);
  if (payload <= 0) return { kind: 'end' };
  const length = BLOCK_HEADER_BYTES + payload;
  if (bytes.length - offset < length) return { kind: 'more', bytes: length };
  const whole = bytes.subarray(offset, offset + length);
  if ((crc32(whole.subarray(CRC_FROM)) | 0) !== whole.readInt32BE(8)) return { kind: 'end' };
  if (!whole.subarray(24, BLOCK_HEADER_BYTES).equals(previous)) return { kind: 'end' };
  return {
    kind: 'block',
    block: {
      records: whole.readInt32BE(12),
      firstSeq: whole.readBigInt64BE(16),
      payload: whole.subarray(BLOCK_HEADER_BYTES),
      hash: sha256(whole),
      length,
    },
  };
}

/** The head of a segment file: which stream it belongs to and what it continues. */
export type SegmentHeader = {
  readonly stream: string;
  readonly number: number;
  /** From this and an entry's number its salt is derived, so that a second attempt to ship it makes the same row. */
  readonly saltSecret: Buffer;
  /** Hash of the last block of the segment before; zeros in the first one. */
  readonly previous: Buffer;
};

export const SEGMENT_HEADER_BYTES = 256;
const SEGMENT_MAGIC = 0x43534a31; // CSJ1

export function segmentHeaderBytes(header: SegmentHeader): Buffer {
  const writer = new ByteWriter(SEGMENT_HEADER_BYTES);
  writer.int32(SEGMENT_MAGIC);
  writer.int32(0);
  writer.int32(header.number);
  writer.textField(header.stream);
  writer.bytesField(header.saltSecret);
  writer.bytesField(header.previous);
  const written = writer.written();
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  bytes.set(written);
  bytes.writeInt32BE(crc32(bytes.subarray(8)) | 0, 4);
  return bytes;
}

/** Null: not a segment, or one whose header was torn. */
export function readSegmentHeader(bytes: Buffer): SegmentHeader | null {
  if (bytes.length < SEGMENT_HEADER_BYTES || bytes.readInt32BE(0) !== SEGMENT_MAGIC) return null;
  const head = bytes.subarray(0, SEGMENT_HEADER_BYTES);
  if ((crc32(head.subarray(8)) | 0) !== head.readInt32BE(4)) return null;
  const reader = new ByteReader(head, 8);
  const number = reader.int32();
  const stream = reader.textField() ?? '';
  const saltSecret = Buffer.from(reader.bytesField() ?? '');
  const previous = Buffer.from(reader.bytesField() ?? '');
  return { stream, number, saltSecret, previous };
}

/**
 * The salts of some entries in a row, 16 bytes each, which nobody can tell without the journal's secret (32 bytes), that
 * goes with the journal: the secret's AES-256 of each entry's number. One call for many, where a hash would be one each.
 */
export function saltsOf(secret: Buffer, firstSeq: bigint, count: number): Buffer {
  const counter = Buffer.alloc(16);
  counter.writeBigInt64BE(firstSeq, 8);
  return createCipheriv('aes-256-ctr', secret, counter).update(Buffer.alloc(16 * count));
}
export const SALT_BYTES = 16;

/** zlib's own is there from Node 20.15 on. */
const crc32: (bytes: Uint8Array) => number =
  'crc32' in zlib && typeof zlib.crc32 === 'function'
    ? (zlib.crc32 as (bytes: Uint8Array) => number)
    : tableCrc32;

function tableCrc32(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) crc = (crc >>> 8) ^ (CRC_TABLE[(crc ^ byte) & 0xff] ?? 0);
  return ~crc >>> 0;
}

const CRC_TABLE: readonly number[] = Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});
