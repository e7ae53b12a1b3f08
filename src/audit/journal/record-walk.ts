/**
 * Goes over a record's fields and says where each begins, without decoding them. Throws `RangeError` where a field ends
 * after its record.
 */
export class RecordWalk {
  readonly #record: Buffer;
  at: number;
  /** Whether every text so far can be stored as it is: Postgres' text has no NUL. Attacker-controlled. */
  storable = true;

  constructor(record: Buffer, at: number) {
    this.#record = record;
    this.at = at;
  }

  /** Each of these returns where the field began. */
  skip(bytes: number): number {
    const start = this.at;
    if (bytes < 0 || start + bytes > this.#record.length) throw new RangeError('the record ends too early');
    this.at = start + bytes;
    return start;
  }

  field(): number {
    const start = this.skip(4);
    const length = this.#record.readInt32BE(start);
    if (length !== -1) this.skip(length);
    return start;
  }

  text(): number {
    const start = this.field();
    if (this.storable && hasNul(this.#record, start + 4, this.at)) this.storable = false;
    return start;
  }

  texts(): number {
    const start = this.skip(4);
    if (this.#record.readInt32BE(start) === -1) return start;
    const count = this.#record.readInt32BE(this.skip(4));
    for (let i = 0; i < count; i += 1) this.text();
    return start;
  }

  /** The bytes of a field that is not null. */
  bytes(): Buffer {
    return this.#record.subarray(this.field() + 4, this.at);
  }

  /** Whether the next field is NULL. */
  isNull(): boolean {
    const start = this.skip(4);
    this.at = start;
    return this.#record.readInt32BE(start) === -1;
  }

  get atEnd(): boolean {
    return this.at === this.#record.length;
  }
}

function hasNul(bytes: Buffer, start: number, end: number): boolean {
  if (end - start > 64) {
    const found = bytes.indexOf(0, start);
    return found !== -1 && found < end;
  }
  for (let i = start; i < end; i += 1) if (bytes[i] === 0) return true;
  return false;
}
