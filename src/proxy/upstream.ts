/** Opening an upstream connection: TLS, start-up (3.2, or what the server speaks), questions and cancels. */

import { isIP } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { serialize } from 'pg-protocol';
import type { UpstreamAddress, UpstreamTls } from '../config/config.ts';
import {
  BACKEND,
  decodeErrorFields,
  decodeParameterStatus,
  type ErrorFields,
  encodeFrame,
} from '../protocol/backend.ts';
import { FrameReader } from '../protocol/frame-reader.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import { PROTOCOL_3_0, PROTOCOL_3_2 } from '../protocol/startup.ts';
import { PINNED } from '../session/pinned.ts';
import { authenticator } from './upstream-authentication.ts';
import { Wire } from './wire.ts';

/** Postgres refused the connection: its own error, for the client. */
export class UpstreamRefused extends Error {
  override readonly name = 'UpstreamRefused';
  readonly fields: ErrorFields;
  /** Said before anything else, in answer to the protocol that was asked for. */
  readonly unknownProtocol: boolean;
  constructor(fields: ErrorFields, unknownProtocol = false) {
    super(fields['M'] ?? 'the upstream server refused the connection');
    this.fields = fields;
    this.unknownProtocol = unknownProtocol;
  }
}

/** Postgres could not be reached or does not speak as expected. */
export class UpstreamUnavailable extends Error {
  override readonly name = 'UpstreamUnavailable';
}

export type UpstreamLogin = {
  readonly user: string;
  readonly password: string | null;
  readonly database: string;
  /** Further start-up parameters, checked by the caller. */
  readonly parameters: ReadonlyMap<string, string>;
  /** False: no setting but those of `parameters` is asked for (mode observe). */
  readonly pin?: boolean;
};

export type Upstream = {
  readonly wire: Wire;
  /** As told before the first ReadyForQuery. */
  readonly parameters: ReadonlyMap<string, string>;
  readonly notices: readonly Buffer[];
  readonly processId: number;
  /** Four bytes in 3.0, up to 256 in 3.2 (Postgres 18: 32). */
  readonly cancelKey: Buffer;
};

/** Start-up messages are short; a server that sends longer ones is not Postgres. */
const STARTUP_FRAME = 64 * 1024;

/**
 * Opens, authenticates and pins a connection. Rejects with `UpstreamRefused` (the server's own error) or
 * `UpstreamUnavailable`, after `timeoutMs` at the latest.
 */
export async function openUpstream(
  address: UpstreamAddress,
  login: UpstreamLogin,
  timeoutMs: number,
): Promise<Upstream> {
  try {
    return await open(address, login, PROTOCOL_3_2, timeoutMs);
  } catch (error) {
    if (!(error instanceof UpstreamRefused && error.unknownProtocol)) throw error;
    // Postgres negotiates; what stands before it may not know how to.
    return open(address, login, PROTOCOL_3_0, timeoutMs);
  }
}

async function open(
  address: UpstreamAddress,
  login: UpstreamLogin,
  protocol: number,
  timeoutMs: number,
): Promise<Upstream> {
  const wire = await connectUpstream(address, timeoutMs);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    wire.destroy();
  }, timeoutMs);
  try {
    wire.write(startupMessage(login, protocol));
    const secret = address.tls.mode !== 'disable' || address.host.startsWith('/');
    return await startUp(wire, login, protocol, secret);
  } catch (error) {
    wire.destroy();
    // It was this side that hung up.
    if (late)
      throw new UpstreamUnavailable(
        `the upstream server has not let the session begin within ${timeoutMs} ms`,
      );
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** A plain or TLS connection to upstream, before start-up; also for cancel requests. */
export async function connectUpstream(address: UpstreamAddress, timeoutMs: number): Promise<Wire> {
  const options = address.host.startsWith('/')
    ? { path: join(address.host, `.s.PGSQL.${address.port}`) }
    : { host: address.host, port: address.port };
  let wire: Wire;
  try {
    wire = await withTimeout(Wire.connect(options), timeoutMs, (late) => late.destroy());
  } catch (error) {
    throw new UpstreamUnavailable(`cannot connect to the upstream server: ${(error as Error).message}`);
  }
  if (address.tls.mode === 'disable' || address.host.startsWith('/')) return wire;
  const plain = wire;
  return withTimeout(upgrade(plain, address.host, address.tls), timeoutMs).catch((error: Error) => {
    plain.destroy();
    throw error;
  });
}

/** SSLRequest, then TLS; no byte may come between the server's answer and the handshake. */
async function upgrade(
  wire: Wire,
  host: string,
  tls: Exclude<UpstreamTls, { mode: 'disable' }>,
): Promise<Wire> {
  const answer = await new Promise<Buffer>((done, failed) => {
    wire.listen({
      chunk: (chunk) => done(Buffer.from(chunk)),
      closed: () =>
        failed(new UpstreamUnavailable('the upstream server closed the connection instead of starting TLS')),
      drained: () => {},
    });
    wire.write(serialize.requestSsl());
  });
  if (answer.length !== 1 || answer[0] !== 0x53) {
    wire.destroy();
    throw new UpstreamUnavailable('the upstream server does not offer TLS, which upstream.tls asks for');
  }
  const socket = wire.release();
  return new Promise((done, failed) => {
    const secure = connectTls({
      socket,
      // What the certificate is checked against; by itself Node would take `localhost` for an address.
      host,
      minVersion: 'TLSv1.2',
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...(tls.mode === 'require' ? { rejectUnauthorized: false } : { ca: tls.ca }),
      ...(tls.mode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}),
    });
    secure.once('secureConnect', () => done(Wire.adopt(secure)));
    secure.once('error', (error) =>
      failed(new UpstreamUnavailable(`TLS with the upstream server failed: ${error.message}`)),
    );
  });
}

function startupMessage(login: UpstreamLogin, protocol: number): Buffer {
  const parameters: Record<string, string> = {
    user: login.user,
    database: login.database,
    ...Object.fromEntries(login.parameters),
    ...(login.pin === false ? {} : PINNED),
  };
  // A NUL within a value would start another parameter.
  for (const [name, value] of Object.entries(parameters))
    if (name.includes('\0') || value.includes('\0'))
      throw new UpstreamUnavailable(`start-up parameter ${name} has a NUL`);
  const body = Object.entries(parameters).map(([name, value]) => `${name}\0${value}\0`);
  const packet = Buffer.from(`12345678${body.join('')}\0`);
  packet.writeUInt32BE(packet.length, 0);
  packet.writeUInt32BE(protocol, 4);
  return packet;
}

/** `secret`: nobody between here and the server can read along. */
function startUp(wire: Wire, login: UpstreamLogin, protocol: number, secret: boolean): Promise<Upstream> {
  return new Promise((done, failed) => {
    const reader = new FrameReader(STARTUP_FRAME);
    const parameters = new Map<string, string>();
    const notices: Buffer[] = [];
    let processId = 0;
    let cancelKey: Buffer = Buffer.alloc(0);
    const authenticate = authenticator(wire, login, secret, (error) =>
      failed(new UpstreamUnavailable(error.message)),
    );
    let spoken = protocol;
    let first = true;
    const onFrame = (type: number, frame: Buffer): boolean => {
      const atFirst = first;
      first = false;
      switch (type) {
        case BACKEND.authentication:
          authenticate(frame);
          return true;
        case BACKEND.negotiateProtocolVersion:
          spoken = negotiated(frame, spoken);
          return true;
        case BACKEND.parameterStatus: {
          const { name, value } = decodeParameterStatus(frame);
          parameters.set(name, value);
          return true;
        }
        case BACKEND.backendKeyData:
          processId = frame.readInt32BE(5);
          cancelKey = cancelKeyOf(frame, spoken);
          return true;
        case BACKEND.notice:
          notices.push(Buffer.from(frame));
          return true;
        case BACKEND.error:
          failed(refusal(decodeErrorFields(frame), atFirst && protocol !== PROTOCOL_3_0));
          return false;
        case BACKEND.readyForQuery:
          done({ wire, parameters, notices, processId, cancelKey });
          return false;
        default:
          failed(new UpstreamUnavailable(`unexpected message ${String.fromCharCode(type)} during start-up`));
          return false;
      }
    };
    wire.listen({
      chunk: (chunk) => {
        try {
          reader.push(chunk, onFrame);
        } catch (error) {
          failed(
            new UpstreamUnavailable(`the upstream server broke the protocol: ${(error as Error).message}`),
          );
        }
      },
      closed: (error) =>
        failed(
          new UpstreamUnavailable(
            `the upstream server closed the connection${error ? `: ${error.message}` : ''}`,
          ),
        ),
      drained: () => {},
    });
  });
}

/** `answersProtocol`: it is the first answer to a protocol above 3.0. */
function refusal(fields: ErrorFields, answersProtocol: boolean): UpstreamRefused {
  const code = fields['C'] ?? '';
  const unknown = code === SQLSTATE.featureNotSupported || code === SQLSTATE.protocolViolation;
  return new UpstreamRefused(fields, answersProtocol && unknown);
}

/** NegotiateProtocolVersion: the newest that the server speaks, whole or as its minor number, and options unknown to it. */
function negotiated(frame: Buffer, asked: number): number {
  const said = frame.readInt32BE(5);
  const spoken = said < PROTOCOL_3_0 ? PROTOCOL_3_0 + said : said;
  // 3.1 was never spoken by any server (protocol.h: reserved).
  if (frame.readInt32BE(9) !== 0 || spoken >= asked || spoken !== PROTOCOL_3_0)
    throw new UpstreamUnavailable('the upstream server negotiates a protocol that was not asked for');
  return spoken;
}

function cancelKeyOf(frame: Buffer, protocol: number): Buffer {
  const key = Buffer.from(frame.subarray(9));
  const longest = protocol === PROTOCOL_3_0 ? 4 : 256;
  if (key.length < 4 || key.length > longest)
    throw new UpstreamUnavailable(`the upstream server gives a cancel key of ${key.length} bytes`);
  return key;
}

/**
 * One question by simple protocol, on a connection that nobody else uses yet; the first column of the first row.
 * Rejects as `openUpstream` does.
 */
export function askUpstream(upstream: Upstream, sql: string, timeoutMs: number): Promise<string | null> {
  const answer = new Promise<string | null>((done, failed) => {
    const reader = new FrameReader(STARTUP_FRAME);
    let value: string | null = null;
    upstream.wire.listen({
      chunk: (chunk) => {
        try {
          reader.push(chunk, (type, frame) => {
            if (type === BACKEND.dataRow) {
              const length = frame.readInt32BE(7);
              value = length < 0 ? null : frame.toString('utf8', 11, 11 + length);
            }
            if (type === BACKEND.error) failed(new UpstreamRefused(decodeErrorFields(frame)));
            if (type === BACKEND.readyForQuery) done(value);
            return true;
          });
        } catch (error) {
          failed(
            new UpstreamUnavailable(`the upstream server broke the protocol: ${(error as Error).message}`),
          );
        }
      },
      closed: () => failed(new UpstreamUnavailable('the upstream server closed the connection')),
      drained: () => {},
    });
    upstream.wire.write(serialize.query(sql));
  });
  return withTimeout(answer, timeoutMs);
}

/**
 * Sends a CancelRequest on a connection of its own and resolves at its EOF: from then on it can hit nothing any
 * more. Rejects after `timeoutMs`, and where the connection breaks, for then it may still be on its way.
 */
export function cancelUpstream(address: UpstreamAddress, target: Upstream, timeoutMs: number): Promise<void> {
  return withTimeout(sendCancel(address, target, timeoutMs), timeoutMs);
}

async function sendCancel(address: UpstreamAddress, target: Upstream, timeoutMs: number): Promise<void> {
  const wire = await connectUpstream(address, timeoutMs);
  const ended = new Promise<void>((done, failed) =>
    wire.listen({
      chunk: () => {},
      closed: (error) => (error === null ? done() : failed(error)),
      drained: () => {},
    }),
  );
  const packet = Buffer.alloc(12 + target.cancelKey.length);
  packet.writeInt32BE(packet.length, 0);
  packet.writeInt32BE(80877102, 4);
  packet.writeInt32BE(target.processId, 8);
  target.cancelKey.copy(packet, 12);
  wire.write(packet);
  try {
    await withTimeout(ended, timeoutMs);
  } finally {
    wire.destroy();
  }
}

/** `tooLate`: what becomes of a result that nobody waits for any more. */
function withTimeout<T>(work: Promise<T>, ms: number, tooLate: (result: T) => void = () => {}): Promise<T> {
  return new Promise((done, failed) => {
    const timer = setTimeout(() => {
      failed(new UpstreamUnavailable(`no answer from the upstream server within ${ms} ms`));
      work.then(tooLate, () => {});
    }, ms);
    work.then(done, failed).finally(() => clearTimeout(timer));
  });
}

/** A Terminate message, for a polite end. */
export const TERMINATE = encodeFrame(0x58, Buffer.alloc(0));
