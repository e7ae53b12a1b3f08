/** The agents' port: accepts, lets in, connects upstream, and relays. */
import { randomBytes } from 'node:crypto';
import { createServer, type Server, type Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import type { Approvals } from '../approval/port.ts';
import type { AuditLog, SessionFacts } from '../audit/entry.ts';
import type { Agent, Config } from '../config/config.ts';
import type { Decision } from '../policy/decision.ts';
import { type ErrorFields, encodeError, encodeFrame, fatalError } from '../protocol/backend.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import { PINNED, parseSearchPath } from '../session/replies.ts';
import type { SessionSetup } from '../session/state.ts';
import type { Analysis, NameScope } from '../statement/analysis.ts';
import { type CancelRoutes, Cancels } from './cancels.ts';
import {
  AUTHENTICATION_OK,
  type LoggedIn,
  type LoginFailure,
  type LoginSetup,
  logIn,
} from './client-login.ts';
import { LoginRefused } from './client-parameters.ts';
import { nowMicros } from './clock.ts';
import type { RelayLog } from './questions.ts';
import { Relay } from './relay.ts';
import type { RelayObserver } from './relay-observer.ts';
import { mockSecretOf } from './scram-server.ts';
import { askUpstream, cancelUpstream, openUpstream, type Upstream, UpstreamRefused } from './upstream.ts';

/** What is known about statements of one agent in one database; made by the composition root. */
export type Knowledge = {
  readonly analyse: SessionSetup['analyse'];
  readonly analyseLater: (sql: Buffer, scope: NameScope, catalogCertain: boolean) => Promise<Analysis>;
  readonly decide: (analysis: Analysis) => Decision;
  readonly version: () => string;
  readonly probe: (sql: Buffer, scope: NameScope) => Promise<ErrorFields | null>;
  readonly refreshCatalog: () => Promise<void>;
};

export type ListenerPorts = {
  readonly config: Config;
  readonly audit: AuditLog;
  readonly approvals: Approvals;
  readonly cancels: CancelRoutes;
  readonly log: RelayLog & { readonly info: (facts: object, message: string) => void };
  readonly observe: RelayObserver & {
    readonly sessions: (change: 1 | -1) => void;
    readonly loginRefused: () => void;
  };
  /** Rejects when the database cannot be looked into. */
  readonly knowledge: (agent: Agent, database: string) => Promise<Knowledge>;
};

export type Listener = {
  readonly address: { readonly host: string; readonly port: number };
  /** No new sessions; holds are told to come again; resolves when all have ended, or after `ms`. */
  readonly drain: (ms: number) => Promise<void>;
  readonly close: () => Promise<void>;
};

/** Rejects with the system's error when the address cannot be taken. */
export async function startListener(ports: ListenerPorts): Promise<Listener> {
  const sessions = new Sessions(ports);
  const server = createServer({ noDelay: true, keepAlive: true }, (socket) => {
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
  /** Those that have not said yet who they are, oldest first. */
  readonly #strangers = new Set<Socket>();
  readonly #perAgent = new Map<string, number>();
  #count = 0;

  constructor(ports: ListenerPorts) {
    this.#ports = ports;
    const { agents, limits, listen } = ports.config;
    this.#cancels = new Cancels(ports.cancels);
    this.#login = {
      agents: new Map(agents.map((agent) => [agent.name, agent])),
      limits,
      tls:
        listen.tls === null
          ? null
          : {
              context: createSecureContext({
                cert: listen.tls.cert,
                key: listen.tls.key,
                minVersion: 'TLSv1.2',
              }),
              required: listen.tls.required,
            },
      mockSecret: mockSecretOf(agents.map(({ scramVerifier }) => scramVerifier)),
    };
  }

  async accept(socket: Socket): Promise<void> {
    this.#sockets.add(socket);
    this.#strangers.add(socket);
    const address = socket.remoteAddress ?? null;
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#strangers.delete(socket);
    });
    // Silence must not cost others their place: the oldest goes.
    const [oldest] = this.#strangers;
    if (this.#strangers.size > UNAUTHENTICATED) oldest?.destroy();
    const client = await logIn(socket, this.#login, (failure) => this.#refused(failure, address));
    this.#strangers.delete(socket);
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
    const name = client.agent.name;
    try {
      this.#reserve(name);
    } catch (error) {
      return this.#sendAway(client, error as Error, address);
    }
    let begun = false;
    let upstream: Upstream | null = null;
    try {
      const database = this.#database(client);
      upstream = await this.#connect(client, database);
      await this.#relay(client, upstream, database, address);
      begun = true;
    } catch (error) {
      upstream?.wire.destroy();
      this.#sendAway(client, error as Error, address);
    } finally {
      if (!begun) this.#free(name);
    }
  }

  #reserve(agent: string): void {
    const { limits } = this.#ports.config;
    const mine = this.#perAgent.get(agent) ?? 0;
    if (this.#count >= limits.sessions)
      throw new LoginRefused(SQLSTATE.tooManyConnections, 'sorry, too many clients already');
    if (mine >= limits.sessionsPerAgent)
      throw new LoginRefused(SQLSTATE.tooManyConnections, `too many connections for agent "${agent}"`);
    this.#count += 1;
    this.#perAgent.set(agent, mine + 1);
    this.#ports.observe.sessions(1);
  }

  #free(agent: string): void {
    this.#count -= 1;
    this.#perAgent.set(agent, (this.#perAgent.get(agent) ?? 1) - 1);
    this.#ports.observe.sessions(-1);
  }

  #database(client: LoggedIn): string {
    const configured = this.#ports.config.upstream.database;
    const asked = client.parameters.database;
    if (configured === null) return asked ?? client.agent.name;
    if (asked !== null && asked !== configured)
      throw new LoginRefused(
        '3D000',
        `database "${asked}" is not reachable through this proxy`,
        `Connect to "${configured}".`,
      );
    return configured;
  }

  #connect(client: LoggedIn, database: string): Promise<Upstream> {
    const { config } = this.#ports;
    const { user, password } = client.agent.upstream;
    return openUpstream(
      config.upstream,
      { user, password, database, parameters: client.parameters.passed },
      config.limits.authenticationMs,
    );
  }

  async #relay(
    client: LoggedIn,
    upstream: Upstream,
    database: string,
    address: string | null,
  ): Promise<void> {
    const { config, audit, approvals, log, observe } = this.#ports;
    const facts = sessionFacts(client, database, address);
    const knowledge = await this.#ports.knowledge(client.agent, database);
    const reported = upstream.parameters.get('search_path');
    const searchPath =
      reported ??
      (await askUpstream(
        upstream,
        "SELECT pg_catalog.current_setting('search_path')",
        config.limits.authenticationMs,
      ));
    const setup: SessionSetup = {
      facts,
      mode: config.mode,
      limits: config.limits,
      policyDigest: config.policy.digest,
      markerPrefix: `cs:${randomBytes(9).toString('hex')}`,
      reportsSearchPath: reported !== undefined,
      searchPath: searchPath === null ? null : parseSearchPath(searchPath, facts.role),
      analyse: knowledge.analyse,
      decide: knowledge.decide,
      knowledge: knowledge.version,
    };
    for (const [setting, value] of Object.entries(PINNED))
      if (upstream.parameters.get(setting) !== value && config.mode === 'enforce')
        throw new LoginRefused(
          SQLSTATE.featureNotSupported,
          `countersign: the server does not keep ${setting} at ${value}`,
        );
    audit.append({
      kind: 'session_start',
      at: BigInt(nowMicros()),
      session: facts,
      requestId: null,
      people: [],
      receipt: null,
      detail: {},
    });
    let key = { processId: 0 };
    const relay: Relay = new Relay(
      client.wire,
      upstream,
      setup,
      {
        limits: config.limits,
        audit,
        strict: config.audit.durability === 'strict',
        approvals,
        log,
        analyseLater: knowledge.analyseLater,
        probe: knowledge.probe,
        refreshCatalog: knowledge.refreshCatalog,
        cancelUpstream: () => cancelUpstream(config.upstream, upstream, config.limits.cancelMs),
        observe,
      },
      (why) => {
        this.#cancels.revoke(key.processId);
        this.#relays.delete(relay);
        this.#free(client.agent.name);
        this.#recordEnd(facts, why);
      },
    );
    const issued = this.#cancels.issue(client.protocol, () => relay.cancel());
    key = issued;
    this.#relays.add(relay);
    audit.write();
    client.wire.write(greeting(upstream, issued));
    relay.start(client.ahead());
  }

  #recordEnd(facts: SessionFacts, why: string): void {
    try {
      this.#ports.audit.append({
        kind: 'session_end',
        at: BigInt(nowMicros()),
        session: facts,
        requestId: null,
        people: [],
        receipt: null,
        detail: { why },
      });
    } catch (error) {
      this.#ports.log.error({ err: error as Error }, 'the end of a session could not be recorded');
    }
  }

  /** A client that proved who it is, but cannot be served. */
  #sendAway(client: LoggedIn, error: Error, address: string | null): void {
    const code =
      error instanceof LoginRefused
        ? error.code
        : error instanceof UpstreamRefused
          ? (error.fields['C'] ?? '')
          : SQLSTATE.sqlclientUnableToConnect;
    this.#refused({ user: client.agent.name, code, message: error.message, tls: client.tls }, address);
    const fields =
      error instanceof UpstreamRefused ? encodeError({ ...error.fields, S: 'FATAL', V: 'FATAL' }) : null;
    client.wire.write(
      fields ?? fatalError(code, error.message, error instanceof LoginRefused ? error.hint : undefined),
    );
    client.wire.end();
  }

  #refused(failure: LoginFailure, address: string | null): void {
    const detail = {
      user: failure.user ?? '',
      code: failure.code,
      message: failure.message,
      address: address ?? '',
      tls: String(failure.tls),
    };
    this.#ports.log.warn(detail, 'log-in refused');
    this.#ports.observe.loginRefused();
    try {
      this.#ports.audit.append({
        kind: 'login_refused',
        at: BigInt(nowMicros()),
        session: null,
        requestId: null,
        people: [],
        receipt: null,
        detail,
      });
    } catch (error) {
      this.#ports.log.error({ err: error as Error }, 'a refused log-in could not be recorded');
    }
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
  }
}

/** Sockets that may be open before they have said who they are. */
const UNAUTHENTICATED = 200;

function sessionFacts(client: LoggedIn, database: string, address: string | null): SessionFacts {
  const sessionId = randomBytes(12).toString('hex');
  return {
    sessionId,
    agent: client.agent.name,
    owner: client.agent.owner,
    onBehalfOf: null,
    run: client.parameters.run ?? sessionId,
    runVerified: false,
    database,
    role: client.agent.upstream.user,
    applicationName: client.parameters.applicationName,
    clientAddress: address,
    tls: client.tls,
  };
}

/** What a client gets after it is let in: the server's own parameters, and a cancel key of ours. */
function greeting(upstream: Upstream, key: { readonly processId: number; readonly key: Buffer }): Buffer {
  const head = Buffer.alloc(4);
  head.writeInt32BE(key.processId, 0);
  const frames = [AUTHENTICATION_OK];
  for (const [name, value] of upstream.parameters)
    frames.push(encodeFrame(0x53, Buffer.from(`${name}\0${value}\0`)));
  frames.push(
    ...upstream.notices,
    encodeFrame(0x4b, Buffer.concat([head, key.key])),
    encodeFrame(0x5a, Buffer.from('I')),
  );
  return Buffer.concat(frames);
}
