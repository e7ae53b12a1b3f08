/**
 * A growing buffer of length-prefixed fields, shared by the journal's records and by the canonical form that is
 * hashed: a field is an int32 length (−1 for NULL) and its bytes; integers are 8 bytes big-endian, text UTF-8, a list
 * its own field that holds an int32 count and a field for each element.
 */
export class ByteWriter {
  #bytes: Buffer;
  #view: DataView;
  #length = 0;

  constructor(initialBytes = 64 * 1024) {
    this.#bytes = Buffer.allocUnsafe(initialBytes);
    this.#view = viewOf(this.#bytes);
  }

  get length(): number {
    return this.#length;
  }

  /** Goes back to (or, for a header that is filled in later, forward to) this length. */
  seek(length: number): void {
    this.#reserve(Math.max(0, length - this.#length));
    this.#length = length;
  }

  /** What was written, without a copy: valid until the next write. */
  written(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  uint8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length] = value;
    this.#length += 1;
  }

  int32(value: number): void {
    this.#reserve(4);
    this.#view.setInt32(this.#length, value);
    this.#length += 4;
  }

  int64(value: bigint): void {
    this.#reserve(8);
    this.#view.setBigInt64(this.#length, value);
    this.#length += 8;
  }

  /** Sets an int32 that was written before. */
  int32At(position: number, value: number): void {
    this.#view.setInt32(position, value);
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Appends a range of other bytes. */
  copy(source: Buffer, start: number, end: number): void {
    const length = end - start;
    this.#reserve(length);
    const bytes = this.#bytes;
    const at = this.#length;
    if (length > SHORT) source.copy(bytes, at, start, end);
    else for (let i = 0; i < length; i += 1) bytes[at + i] = source[start + i] ?? 0;
    this.#length = at + length;
  }

  integerField(value: bigint | null): void {
    if (value === null) {
      this.int32(-1);
      return;
    }
    this.#reserve(12);
    this.#view.setInt32(this.#length, 8);
    this.#view.setBigInt64(this.#length + 4, value);
    this.#length += 12;
  }

  bytesField(value: Uint8Array | null): void {
    if (value === null) {
      this.int32(-1);
      return;
    }
    this.int32(value.length);
    this.raw(value);
  }

  textField(value: string | null): void {
    if (value === null) {
      this.int32(-1);
      return;
    }
    // A UTF-16 unit is at most three bytes of UTF-8.
    this.#reserve(4 + value.length * 3);
    const start = this.#length + 4;
    const written = value.length <= SHORT ? this.#ascii(value, start) : -1;
    const bytes = written >= 0 ? written : this.#bytes.write(value, start, 'utf8');
    this.#view.setInt32(this.#length, bytes);
    this.#length = start + bytes;
  }

  textsField(values: readonly (string | null)[] | null): void {
    if (values === null) {
      this.int32(-1);
      return;
    }
    const at = this.#length;
    this.int32(0);
    this.int32(values.length);
    for (const value of values) this.textField(value);
    this.int32At(at, this.#length - at - 4);
  }

  /** Writes short ASCII without a call into native code, which costs more than the loop; −1 when it is not ASCII. */
  #ascii(value: string, start: number): number {
    const bytes = this.#bytes;
    for (let i = 0; i < value.length; i += 1) {
      const unit = value.charCodeAt(i);
      if (unit > 0x7f) return -1;
      bytes[start + i] = unit;
    }
    return value.length;
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    this.#view = viewOf(grown);
  }
}

/** Strings up to this many units, and bytes, are copied by a loop. */
const SHORT = 64;

/** Reads what `ByteWriter` wrote. Throws `RangeError` when the bytes end too early: then they are not such a record. */
export class ByteReader {
  readonly #bytes: Buffer;
  #position: number;

  constructor(bytes: Buffer, position = 0) {
    this.#bytes = bytes;
    this.#position = position;
  }

  get position(): number {
    return this.#position;
  }

  uint8(): number {
    return this.#bytes.readUInt8(this.#advance(1));
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.#advance(4));
  }

  int64(): bigint {
    return this.#bytes.readBigInt64BE(this.#advance(8));
  }

  integerField(): bigint | null {
    const length = this.int32();
    if (length === -1) return null;
    if (length !== 8) throw new RangeError(`an integer of ${length} bytes`);
    return this.int64();
  }

  bytesField(): Buffer | null {
    const length = this.int32();
    if (length === -1) return null;
    const start = this.#advance(length);
    return this.#bytes.subarray(start, start + length);
  }

  textField(): string | null {
    const length = this.int32();
    if (length === -1) return null;
    const start = this.#advance(length);
    return this.#bytes.toString('utf8', start, start + length);
  }

  textsField(): (string | null)[] | null {
    if (this.int32() === -1) return null;
    const count = this.int32();
    const values: (string | null)[] = [];
    for (let i = 0; i < count; i += 1) values.push(this.textField());
    return values;
  }

  #advance(length: number): number {
    const start = this.#position;
    if (length < 0 || start + length > this.#bytes.length) throw new RangeError('the record ends too early');
    this.#position = start + length;
    return start;
  }
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
