/** A client's way in: TLS, start-up packet, authentication. Everything here happens before anybody is trusted. */
import type { Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';
import type { Limits } from '../config/limits.ts';
import { encodeFrame, fatalError } from '../protocol/backend.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import {
  decodeStartup,
  PROTOCOL_3_0,
  PROTOCOL_3_2,
  StartupError,
  type StartupPacket,
} from '../protocol/startup.ts';
import { type Authentication, type Proof, TLS_REQUIRED } from './authentication.ts';
import { ByteQueue, HandshakeClosed } from './byte-queue.ts';
import { type ClientCertificate, readClientCertificate } from './client-certificate.ts';
import { type ClientParameters, LoginRefused, readClientParameters } from './client-parameters.ts';
import { ScramError } from './scram-server.ts';
import { Wire } from './wire.ts';

export type LoginSetup = {
  readonly limits: Limits;
  /** Mode observe: pinned settings may be asked for. */
  readonly observe: boolean;
  /** Null: TLS is not offered. */
  readonly tls: {
    readonly context: SecureContext;
    readonly required: boolean;
    /** Ask clients for a certificate. */
    readonly clientCertificates: boolean;
  } | null;
  readonly authenticate: Authentication;
};

export type LoggedIn = {
  readonly kind: 'session';
  readonly wire: Wire;
  readonly proof: Proof;
  readonly parameters: ClientParameters;
  readonly tls: boolean;
  /** 3.0 or 3.2, as agreed. */
  readonly protocol: number;
  /** What the client has sent since; whoever asks must listen to the wire at once. */
  readonly ahead: () => Buffer;
};
export type CancelAsked = {
  readonly kind: 'cancel';
  readonly wire: Wire;
  readonly processId: number;
  readonly key: Buffer;
};

/** What the log is told of a client that did not get in; `user` as claimed. */
export type LoginFailure = {
  readonly user: string | null;
  readonly code: string;
  readonly message: string;
  readonly tls: boolean;
};

/**
 * Resolves with a client that proved who it is, or with a cancel request; null where the client was sent away (it
 * has got its error, `refused` was told). Never rejects for what a client does.
 */
export async function logIn(
  socket: Socket,
  setup: LoginSetup,
  refused: (failure: LoginFailure) => void,
): Promise<LoggedIn | CancelAsked | null> {
  const attempt = new Attempt(socket, setup);
  const timer = setTimeout(() => attempt.expire(), setup.limits.authenticationMs);
  try {
    return await attempt.run();
  } catch (error) {
    attempt.turnAway(error as Error, refused);
    return null;
  } finally {
    clearTimeout(timer);
  }
}

class Attempt {
  readonly #setup: LoginSetup;
  #socket: Socket;
  #wire: Wire;
  #queue: ByteQueue;
  #tls = false;
  #certificate: ClientCertificate | null = null;
  #user: string | null = null;
  /** Ends a TLS handshake that takes too long. */
  #expireHandshake: (() => void) | null = null;

  constructor(socket: Socket, setup: LoginSetup) {
    this.#setup = setup;
    this.#socket = socket;
    this.#wire = Wire.adopt(socket);
    this.#queue = new ByteQueue(this.#wire, setup.limits.startupBytes);
  }

  expire(): void {
    this.#queue.fail(new LoginRefused(SQLSTATE.queryCanceled, 'canceling authentication due to timeout'));
    this.#expireHandshake?.();
  }

  async run(): Promise<LoggedIn | CancelAsked> {
    const packet = await this.#firstPacket();
    if (packet.kind === 'cancel')
      return { kind: 'cancel', wire: this.#wire, processId: packet.processId, key: packet.key };
    if (packet.kind !== 'startup') throw new StartupError('unsupported request after encryption was agreed');
    const parameters = readClientParameters(packet.parameters, !this.#setup.observe);
    this.#user = parameters.user;
    if (this.#setup.tls?.required && !this.#tls) throw new LoginRefused(...TLS_REQUIRED);
    const protocol = this.#agreeProtocol(packet);
    const proof = await this.#setup.authenticate({
      user: parameters.user,
      secured: this.#tls ? { certificate: this.#certificate } : null,
      read: (length) => this.#queue.read(length),
      write: (bytes) => this.#wire.write(bytes),
    });
    return {
      kind: 'session',
      wire: this.#wire,
      proof,
      parameters,
      tls: this.#tls,
      protocol,
      ahead: () => this.#queue.rest(),
    };
  }

  turnAway(error: Error, refused: (failure: LoginFailure) => void): void {
    if (error instanceof HandshakeClosed && this.#user === null) {
      this.#wire.destroy();
      return;
    }
    const code =
      error instanceof LoginRefused || error instanceof StartupError || error instanceof ScramError
        ? error.code
        : SQLSTATE.protocolViolation;
    const short = (text: string) => (text.length > LOGGED ? `${text.slice(0, LOGGED)}…` : text);
    refused({
      user: this.#user === null ? null : short(this.#user),
      code,
      message: short(error.message),
      tls: this.#tls,
    });
    this.#wire.write(fatalError(code, error.message, error instanceof LoginRefused ? error.hint : undefined));
    this.#wire.end();
  }

  /** The start-up or cancel packet, after whatever encryption the client asked for. Each kind is granted once. */
  async #firstPacket(): Promise<StartupPacket> {
    if ((await this.#queue.peek()) === TLS_HANDSHAKE) await this.#startTls(true);
    const asked = new Set<string>();
    for (;;) {
      const packet = await this.#readPacket();
      if (packet.kind !== 'ssl' && packet.kind !== 'gssenc') return packet;
      if (asked.has(packet.kind) || this.#tls) throw new StartupError(`${packet.kind} request is repeated`);
      asked.add(packet.kind);
      // Bytes before the handshake would be taken for encrypted ones (CVE-2021-23214).
      if (this.#queue.buffered > 0) throw new StartupError('received unencrypted data after SSL request');
      if (packet.kind === 'ssl' && this.#setup.tls !== null) {
        this.#wire.write(Buffer.from('S'));
        await this.#startTls(false);
      } else this.#wire.write(Buffer.from('N'));
    }
  }

  async #readPacket(): Promise<StartupPacket> {
    const length = (await this.#queue.read(4)).readUInt32BE(0);
    if (length < 8 || length > this.#setup.limits.startupBytes)
      throw new StartupError('invalid length of startup packet');
    const body = await this.#queue.read(length - 4);
    const packet = Buffer.allocUnsafe(length);
    packet.writeUInt32BE(length, 0);
    body.copy(packet, 4);
    return decodeStartup(packet);
  }

  /** `direct`: the client began with TLS at once, so ALPN must name the protocol (manual, "SSL Session Encryption"). */
  async #startTls(direct: boolean): Promise<void> {
    const { tls } = this.#setup;
    if (tls === null) throw new StartupError('this proxy does not offer TLS');
    const ahead = this.#queue.rest();
    this.#wire.release();
    if (ahead.length > 0) this.#socket.unshift(ahead);
    const secure = new TLSSocket(this.#socket, {
      isServer: true,
      secureContext: tls.context,
      ALPNProtocols: ['postgresql'],
      requestCert: tls.clientCertificates,
      // Whether it is a good one is looked at after the handshake, so that the client can be told.
      rejectUnauthorized: false,
    });
    await new Promise<void>((done, failed) => {
      this.#expireHandshake = () => secure.destroy(new Error('it took too long'));
      secure.once('secure', done);
      secure.once('error', (error) => failed(new HandshakeClosed(`TLS handshake failed: ${error.message}`)));
      secure.once('close', () =>
        failed(new HandshakeClosed('the client closed the connection during the TLS handshake')),
      );
    });
    this.#expireHandshake = null;
    this.#socket = secure;
    this.#wire = Wire.adopt(secure);
    this.#tls = true;
    this.#queue = new ByteQueue(this.#wire, this.#setup.limits.startupBytes);
    if (tls.clientCertificates) this.#certificate = readClientCertificate(secure);
    if (direct && secure.alpnProtocol !== 'postgresql')
      throw new LoginRefused(
        SQLSTATE.protocolViolation,
        'received direct SSL connection request without ALPN protocol negotiation extension',
      );
  }

  /** 3.0 and 3.2 are spoken; what else was asked for is answered with what there is (NegotiateProtocolVersion). */
  #agreeProtocol(packet: Extract<StartupPacket, { kind: 'startup' }>): number {
    const agreed = packet.protocol >= PROTOCOL_3_2 ? PROTOCOL_3_2 : PROTOCOL_3_0;
    if (packet.protocol > PROTOCOL_3_2 || packet.protocolOptions.length > 0) {
      const names = packet.protocolOptions.map((name) => Buffer.from(`${name}\0`));
      const head = Buffer.alloc(8);
      head.writeUInt32BE(agreed, 0);
      head.writeUInt32BE(names.length, 4);
      this.#wire.write(encodeFrame(0x76, Buffer.concat([head, ...names])));
    }
    return agreed;
  }
}

/** Characters of a stranger's words that are kept: they must not fill the log. */
const LOGGED = 200;

/** First byte of a TLS record that holds a ClientHello. */
const TLS_HANDSHAKE = 0x16;
