import { connect, type Socket } from 'node:net';
import { BACKEND, decodeErrorFields, encodeFrame } from '../../src/protocol/backend.ts';
import { logInRaw } from './scram-client.ts';
import { type Bytes, packet } from './support.ts';

/** A client that sends frames as it likes, and knows its own cancel key. */
export class CancelClient {
  readonly #client: Bytes;
  readonly processId: number;
  readonly key: Buffer;

  private constructor(client: Bytes, keyData: Buffer) {
    this.#client = client;
    this.processId = keyData.readInt32BE(5);
    this.key = keyData.subarray(9);
  }

  static async open(url: string, protocol = 0x30002): Promise<CancelClient> {
    const { client, frames } = await logInRaw(url, protocol);
    return new CancelClient(
      client,
      frames.find((frame) => frame[0] === BACKEND.backendKeyData) ?? Buffer.alloc(9),
    );
  }

  get packet(): Buffer {
    return cancelPacket(this.processId, this.key);
  }

  get socket(): Socket {
    return this.#client.socket;
  }

  send(...frames: Buffer[]): void {
    this.#client.send(...frames);
  }

  /** What comes until so many ReadyForQuery: the type of each frame, errors with SQLSTATE, Z with its status. */
  async answer(ready = 1): Promise<string[]> {
    const seen: string[] = [];
    for (let left = ready; left > 0; ) {
      const word = await this.next();
      if (word.startsWith('Z')) left -= 1;
      seen.push(word);
    }
    return seen;
  }

  /** The next frame, as `answer` has it. */
  async next(): Promise<string> {
    const frame = await this.#client.frame(PATIENCE_MS);
    if (frame.length === 0) return 'Z end of the connection';
    const type = String.fromCharCode(frame[0] ?? 0);
    if (type === 'E') return `E:${decodeErrorFields(frame)['C']}`;
    if (type === 'Z') return `Z:${frame.toString('latin1', 5)}`;
    if (type === 'D') return `D:${frame.toString('utf8', 11)}`;
    return type;
  }

  query(sql: string): Promise<string[]> {
    this.send(simple(sql));
    return this.answer();
  }

  close(): void {
    this.#client.close();
  }
}

/** How long a loaded machine may take for one frame. */
const PATIENCE_MS = 60_000;

export const simple = (sql: string) => encodeFrame(0x51, Buffer.from(`${sql}\0`));

export function cancelPacket(processId: number, key: Buffer): Buffer {
  const id = Buffer.alloc(4);
  id.writeInt32BE(processId, 0);
  return packet(80877102, Buffer.concat([id, key]));
}

/** Sends a cancel request to `url` and resolves at the end of its socket, as libpq does. */
export async function sendCancel(
  url: string,
  bytes: Buffer,
  how: (socket: Socket, bytes: Buffer) => Promise<void> | void = (socket) => void socket.write(bytes),
): Promise<void> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  socket.on('error', () => {});
  const ended = new Promise<void>((done) => socket.once('close', () => done()));
  await new Promise<void>((done) => socket.once('connect', () => done()));
  socket.resume();
  await how(socket, bytes);
  await ended;
}

/** The same numbers each time. */
export function randoms(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return (state >>> 8) % below;
  };
}
