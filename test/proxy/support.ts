import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import pg from 'pg';
import { expect } from 'vitest';
import { decodeErrorFields } from '../../src/protocol/backend.ts';
import { FrameReader } from '../../src/protocol/frame-reader.ts';
import { PROTOCOL_3_0 } from '../../src/protocol/startup.ts';
import type { Stack } from '../support/stack.ts';

const TLS_FIXTURES = new URL('../../fixtures/tls/', import.meta.url);

export const TLS = {
  ca: readFileSync(new URL('ca.crt', TLS_FIXTURES), 'utf8'),
  otherCa: readFileSync(new URL('other-ca.crt', TLS_FIXTURES), 'utf8'),
  cert: readFileSync(new URL('server.crt', TLS_FIXTURES), 'utf8'),
  key: readFileSync(new URL('server.key', TLS_FIXTURES), 'utf8'),
};

/** A file of fixtures/tls, as text. */
export function tlsFixture(name: string): string {
  return readFileSync(new URL(name, TLS_FIXTURES), 'utf8');
}

export const SSL_REQUEST = packet(80877103);
export const GSSENC_REQUEST = packet(80877104);

/** A start-up packet of any kind: length, code, body. */
export function packet(code: number, body: string | Buffer = ''): Buffer {
  const bytes = typeof body === 'string' ? Buffer.from(body, 'latin1') : body;
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + bytes.length, 0);
  head.writeUInt32BE(code, 4);
  return Buffer.concat([head, bytes]);
}

/** `user, agent, …` as the body of a StartupMessage, with its terminator. */
export function startup(parameters: readonly (readonly [string, string])[], protocol = PROTOCOL_3_0): Buffer {
  const body = parameters.map(([name, value]) => `${name}\0${value}\0`).join('');
  return packet(protocol, `${body}\0`);
}

/** A socket that keeps what it gets: bytes before a session begins are not all frames. */
export class Bytes {
  readonly socket: Socket;
  #have: Buffer = Buffer.alloc(0);
  ended = false;
  #wake: () => void = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      this.#have = Buffer.concat([this.#have, chunk]);
      this.#wake();
    });
    socket.on('close', () => {
      this.ended = true;
      this.#wake();
    });
  }

  static async connect(url: string): Promise<Bytes> {
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port) });
    await new Promise<void>((done, failed) => {
      socket.once('connect', done);
      socket.once('error', failed);
    });
    return new Bytes(socket);
  }

  send(...bytes: Buffer[]): void {
    this.socket.write(Buffer.concat(bytes));
  }

  /** Exactly so many bytes, or fewer where the connection ended. */
  async take(length: number, ms = 20_000): Promise<Buffer> {
    await this.#until(() => this.#have.length >= length, ms);
    const taken = this.#have.subarray(0, length);
    this.#have = this.#have.subarray(length);
    return taken;
  }

  async frame(ms = 20_000): Promise<Buffer> {
    const head = await this.take(5, ms);
    return head.length < 5 ? head : Buffer.concat([head, await this.take(head.readInt32BE(1) - 4, ms)]);
  }

  /** Everything until the other side ends. */
  async toEnd(ms = 20_000): Promise<Buffer> {
    await this.#until(() => this.ended, ms);
    return this.take(this.#have.length);
  }

  /** The fields of the FATAL error that ends the connection; anything else before it fails the test. */
  async fatal(ms = 20_000): Promise<Record<string, string>> {
    const rest = await this.toEnd(ms);
    expect(String.fromCharCode(rest[0] ?? 0)).toBe('E');
    expect(rest.length).toBe(rest.readInt32BE(1) + 1);
    const fields = decodeErrorFields(rest);
    expect(fields['S']).toBe('FATAL');
    return fields;
  }

  close(): void {
    this.socket.destroy();
  }

  async #until(enough: () => boolean, ms: number): Promise<void> {
    const deadline = Date.now() + ms;
    while (!enough() && !this.ended) {
      const left = deadline - Date.now();
      if (left <= 0)
        throw new Error(
          `not within ${ms} ms; have ${this.#have.length} bytes: ${this.#have.toString('latin1', 0, 200)}`,
        );
      await new Promise<void>((done) => {
        const timer = setTimeout(done, left);
        this.#wake = () => {
          clearTimeout(timer);
          done();
        };
      });
    }
  }
}

/** TLS from the first byte on. */
export async function overTls(url: string, alpn: readonly string[] = ['postgresql']): Promise<TLSSocket> {
  const { hostname, port } = new URL(url);
  const socket = connectTls({ host: hostname, port: Number(port), ca: TLS.ca, ALPNProtocols: [...alpn] });
  await new Promise<void>((done, failed) => {
    socket.once('secureConnect', done);
    socket.once('error', failed);
  });
  return socket;
}

/** Frames that a whole stream of bytes holds, by type and body. */
export function framesOf(bytes: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  new FrameReader(1 << 30).push(bytes, (_type, frame) => {
    frames.push(Buffer.from(frame));
    return true;
  });
  return frames;
}

/** A new client is let in and served. */
export async function expectServed(url: string): Promise<void> {
  const client = await connectPg({ connectionString: url });
  expect((await client.query('SELECT 40 + 2 AS sum')).rows).toEqual([{ sum: 42 }]);
  await client.end();
}

/** Connected, and without an uncaught error where the connection is ended by the other side. */
export async function connectPg(config: pg.ClientConfig): Promise<pg.Client> {
  const client = new pg.Client(config);
  client.on('error', () => {});
  await client.connect();
  return client;
}

/** The error that the work ends with. */
export async function failure(work: Promise<unknown>): Promise<Error & { readonly code?: string }> {
  return work.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: Error) => error,
  );
}

export type Refused = { readonly user: string; readonly code: string; readonly message: string };

/** Entries are in the database within this time when nobody waits for them, milliseconds. */
const SHIPPED_MS = 1_500;

/**
 * Refused log-ins as the audit schema has them, oldest first; waits until there are so many. 0: how many there are so
 * far, with those that are still on their way.
 */
export async function refusedLogins(stack: Stack, atLeast: number): Promise<Refused[]> {
  if (atLeast === 0) await new Promise((done) => setTimeout(done, SHIPPED_MS));
  for (let i = 0; ; i++) {
    const { rows } = await stack.audit.query(
      "SELECT jsonb_object(detail) AS detail FROM audit.entry WHERE kind = 'login_refused' ORDER BY seq",
    );
    if (rows.length >= atLeast) return rows.map((row: { detail: Refused }) => row.detail);
    if (i > 60) throw new Error(`${rows.length} refused log-ins recorded, wanted ${atLeast}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  ms = 10_000,
): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 25));
  }
}
