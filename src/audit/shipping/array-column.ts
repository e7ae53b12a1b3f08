import { ByteWriter } from '../chain/bytes.ts';

/** The OIDs of array elements, pg_type.dat. */
export const ELEMENT_OIDS = { boolean: 16, bytes: 17, integer: 20, text: 25 } as const;

/**
 * One array parameter in Postgres' binary form (array_recv): dimensions 1, flags, element type, length, lower bound,
 * then a field for each element. Its fields are those of the journal and of the canonical form, int32 length and
 * bytes, so that most of them are copied as they are. Booleans differ: one byte.
 */
export class ArrayColumn {
  readonly #oid: number;
  readonly #writer = new ByteWriter(4_096);
  #elements = 0;

  constructor(oid: number) {
    this.#oid = oid;
    this.#writer.seek(HEADER_BYTES);
  }

  /** Sets a row's element to a field, length and all, that stands in other bytes; rows only go up. */
  copy(row: number, source: Buffer, start: number, end: number): void {
    // −1: NULL, which is what a row that is not set has.
    if (end - start === 4 && source[start] === 0xff) return;
    this.#before(row);
    this.#writer.copy(source, start, end);
  }

  text(row: number, value: string): void {
    this.#before(row);
    this.#writer.textField(value);
  }

  integer(row: number, value: bigint): void {
    this.#before(row);
    this.#writer.integerField(value);
  }

  bytes(row: number, value: Uint8Array): void {
    this.#before(row);
    this.#writer.bytesField(value);
  }

  boolean(row: number, value: boolean): void {
    this.#before(row);
    this.#writer.int32(1);
    this.#writer.uint8(value ? 1 : 0);
  }

  clear(): void {
    this.#writer.seek(HEADER_BYTES);
    this.#elements = 0;
  }

  /** The parameter for so many rows, and starts again. Null where every row has null, which spares the server work. */
  take(rows: number): Buffer | null {
    if (this.#elements === 0) return null;
    this.#nulls(rows);
    const writer = this.#writer;
    const length = writer.length;
    writer.seek(0);
    for (const value of [1, 1, this.#oid, rows, 1]) writer.int32(value);
    writer.seek(length);
    const taken = Buffer.from(writer.written());
    this.clear();
    return taken;
  }

  #before(row: number): void {
    this.#nulls(row);
    this.#elements += 1;
  }

  #nulls(until: number): void {
    for (; this.#elements < until; this.#elements += 1) this.#writer.int32(-1);
  }
}

const HEADER_BYTES = 20;
