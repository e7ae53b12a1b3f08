import { ByteWriter } from './bytes.ts';
import { type Content, type Row, writeContent, writeRow } from './canonical.ts';
import { sha256 } from './sha256.ts';

/** What stands before the first row of a stream. */
export const GENESIS_HASH: Buffer = Buffer.alloc(32);

export const HASH_BYTES = 32;

/** `sha256(prev_hash || canonical fields)`. */
export function rowHash(previous: Buffer, row: Row): Buffer {
  scratch.seek(0);
  scratch.raw(previous);
  writeRow(scratch, row);
  return sha256(scratch.written());
}

/** The commitment that is hashed in place of the statement's text, digest and parameters. */
export function contentHash(content: Content): Buffer {
  scratch.seek(0);
  writeContent(scratch, content);
  return sha256(scratch.written());
}

/** What a batch's signature is over: rows `from` to `to` of a stream, between two hashes of its chain. */
export type BatchFacts = {
  readonly stream: string;
  readonly fromSeq: bigint;
  readonly toSeq: bigint;
  /** Hash of the row before the first one. */
  readonly prevHash: Buffer;
  /** Hash of the last row. */
  readonly hash: Buffer;
};

/** The bytes that are signed for a batch; also the leaf of the checkpoint's tree. */
export function batchBytes(batch: BatchFacts): Buffer {
  const writer = new ByteWriter(256);
  writer.textField('countersign audit batch v1');
  writer.textField(batch.stream);
  writer.integerField(batch.fromSeq);
  writer.integerField(batch.toSeq);
  writer.bytesField(batch.prevHash);
  writer.bytesField(batch.hash);
  return writer.written();
}

/** What the installation's key signs to let a stream's key sign batches. */
export function endorsementBytes(stream: string, streamKid: string): Buffer {
  const writer = new ByteWriter(256);
  writer.textField('countersign audit stream v1');
  writer.textField(stream);
  writer.textField(streamKid);
  return writer.written();
}

/** Checks an Ed25519 signature with a key that is known by its thumbprint; null: that key is not known. */
export type CheckSignature = (kid: string, bytes: Uint8Array, signature: Buffer) => boolean | null;

/** One buffer for every hash: nothing here is asynchronous, so that two uses cannot meet. */
const scratch = new ByteWriter();
