import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { StringDecoder } from 'node:string_decoder';

export type WrittenFile = { readonly bytes: number; readonly sha256: string };

/** A new file that only its owner reads, written in pieces, hashed meanwhile. Fails where there is one already. */
export class EvidenceFile {
  readonly #handle: FileHandle;
  readonly #hash: Hash = createHash('sha256');
  #pieces: string[] = [];
  #characters = 0;
  #bytes = 0;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  static async create(path: string): Promise<EvidenceFile> {
    return new EvidenceFile(await open(path, 'wx', 0o600));
  }

  /** Resolves at once where there is room; await it, so that memory stays flat. */
  async write(text: string): Promise<void> {
    this.#pieces.push(text);
    this.#characters += text.length;
    if (this.#characters >= BUFFERED) await this.#flush();
  }

  /** On disk. */
  async close(): Promise<WrittenFile> {
    try {
      await this.#flush();
      await this.#handle.sync();
    } finally {
      await this.#handle.close();
    }
    return { bytes: this.#bytes, sha256: this.#hash.digest('hex') };
  }

  async #flush(): Promise<void> {
    const bytes = Buffer.from(this.#pieces.join(''));
    this.#pieces = [];
    this.#characters = 0;
    this.#hash.update(bytes);
    this.#bytes += bytes.length;
    await this.#handle.writeFile(bytes);
  }
}

/** Hex. Rejects where the file cannot be read. */
export async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** The lines of a file, without their ends; the last one need not have one. Throws `RangeError` for one that is too long. */
export async function* linesOf(path: string): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  let pieces: string[] = [];
  let length = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES })) {
    const lines = decoder.write(chunk as Buffer).split('\n');
    const rest = lines.pop() ?? '';
    if (lines.length > 0) {
      lines[0] = pieces.join('') + (lines[0] ?? '');
      yield* lines;
      pieces = [];
      length = 0;
    }
    pieces.push(rest);
    length += rest.length;
    if (length > LONGEST_LINE) throw new RangeError(`a line is longer than ${LONGEST_LINE} characters`);
  }
  const last = pieces.join('') + decoder.end();
  if (last !== '') yield last;
}

/** Characters that are kept before they are written. */
const BUFFERED = 256 * 1024;
const CHUNK_BYTES = 256 * 1024;
/** An entry has one statement's text, which may be some megabytes, and escapes may make it six times as long. */
const LONGEST_LINE = 128 * 1024 * 1024;
