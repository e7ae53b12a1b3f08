/** The agents' port: accepts, lets in, and hands over to sessions. */

import { constants } from 'node:crypto';
import { createServer, type Server, type Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import { Admission, Strangers } from './admission.ts';
import { createAuthentication } from './authentication.ts';
import { Cancels } from './cancels.ts';
import { type LoggedIn, type LoginSetup, logIn } from './client-login.ts';
import { nowMicros } from './clock.ts';
import { notServed } from './farewells.ts';
import type { ListenerPorts } from './listener-ports.ts';
import { openSession } from './open-session.ts';
import { RefusedLogins } from './refused-logins.ts';
import type { Relay } from './relay.ts';
import { serverEndPoint } from './server-end-point.ts';

export type Listener = {
  readonly address: { readonly host: string; readonly port: number };
  /** No new sessions; holds are told to come again; resolves when all have ended, or after `ms`. */
  readonly drain: (ms: number) => Promise<void>;
  readonly close: () => Promise<void>;
};

/** Rejects with the system's error when the address cannot be taken. */
export async function startListener(ports: ListenerPorts): Promise<Listener> {
  const sessions = new Sessions(ports);
  const server = createServer({ noDelay: true, keepAlive: true, allowHalfOpen: true }, (socket) => {
    sessions.accept(socket).catch((error: Error) => {
      ports.log.error({ err: error }, 'a connection failed');
      socket.destroy();
    });
  });
  const { host, port } = ports.config.listen;
  await new Promise<void>((done, failed) => {
    server.once('error', failed);
    server.listen(port, host, () => done());
  });
  server.on('error', (error) => ports.log.error({ err: error }, "the agents' port failed"));
  return {
    address: addressOf(server, host),
    drain: async (ms) => {
      server.close();
      await sessions.drain(ms);
    },
    close: async () => {
      const closed = new Promise<void>((done) => server.close(() => done()));
      sessions.killAll();
      await closed;
    },
  };
}

function addressOf(server: Server, host: string): { host: string; port: number } {
  const address = server.address();
  return address !== null && typeof address === 'object' ? { host, port: address.port } : { host, port: 0 };
}

class Sessions {
  readonly #ports: ListenerPorts;
  readonly #login: LoginSetup;
  readonly #cancels: Cancels;
  readonly #relays = new Set<Relay>();
  readonly #sockets = new Set<Socket>();
  readonly #admission: Admission;
  readonly #strangers: Strangers;
  readonly #refused: RefusedLogins;

  constructor(ports: ListenerPorts) {
    this.#ports = ports;
    this.#login = loginSetup(ports);
    this.#cancels = new Cancels(ports.cancels);
    const { limits } = ports.config;
    this.#admission = new Admission(limits);
    this.#strangers = new Strangers(limits);
    this.#refused = new RefusedLogins({ ...ports, limits });
  }

  async accept(socket: Socket): Promise<void> {
    const address = socket.remoteAddress ?? null;
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#strangers.remove(socket, address);
    });
    this.#strangers.add(socket, address);
    const client = await logIn(socket, this.#login, (failure) => this.#refused.add(failure, address));
    this.#strangers.remove(socket, address);
    if (client === null) return;
    if (client.kind === 'cancel') {
      // No answer either way: a guess must not learn anything.
      await this.#cancels.handle(client, address ?? '');
      client.wire.end(100);
      return;
    }
    await this.#begin(client, address);
  }

  async #begin(client: LoggedIn, address: string | null): Promise<void> {
    let leave = () => {};
    try {
      const free = this.#admission.reserve(client.proof.agent.name, address);
      this.#ports.observe.sessions(1);
      leave = () => {
        leave = () => {};
        free();
        this.#ports.observe.sessions(-1);
      };
      await openSession(client, address, this.#ports, this.#cancels, {
        began: (relay) => this.#relays.add(relay),
        ended: (relay) => {
          this.#relays.delete(relay);
          leave();
        },
      });
    } catch (error) {
      leave();
      this.#sendAway(client, error as Error, address);
    }
  }

  /** A client that proved who it is, but cannot be served. */
  #sendAway(client: LoggedIn, error: Error, address: string | null): void {
    const { code, word } = notServed(error);
    this.#refused.add(
      { user: client.proof.agent.name, code, message: error.message, tls: client.tls },
      address,
    );
    client.wire.write(word);
    client.wire.end();
  }

  async drain(ms: number): Promise<void> {
    const until = nowMicros() + ms * 1000;
    while (this.#relays.size > 0 && nowMicros() < until) {
      for (const relay of this.#relays) relay.drain();
      if (this.#relays.size > 0) await new Promise((done) => setTimeout(done, 50));
    }
    this.killAll();
  }

  killAll(): void {
    for (const relay of [...this.#relays]) relay.kill();
    for (const socket of this.#sockets) if (!socket.destroyed) socket.destroySoon();
    this.#refused.close();
  }
}

function loginSetup({ config }: ListenerPorts): LoginSetup {
  const { agents, limits, listen } = config;
  return {
    limits,
    observe: config.mode === 'observe',
    tls:
      listen.tls === null
        ? null
        : {
            context: createSecureContext({
              cert: listen.tls.cert,
              key: listen.tls.key,
              minVersion: 'TLSv1.2',
              ...(listen.tls.clientCa === null ? {} : { ca: listen.tls.clientCa }),
              // As Postgres: who resumes or renegotiates would not show its certificate again.
              secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
            }),
            required: listen.tls.required,
            clientCertificates: listen.tls.clientCa !== null,
          },
    authenticate: createAuthentication({
      agents,
      limits,
      endPoint: listen.tls === null ? null : serverEndPoint(listen.tls.cert),
      secret: listen.tls?.key ?? null,
    }),
  };
}
