/**
 * Cancel requests between the processes of an installation: by NOTIFY in the audit database, on a channel of each
 * process, sealed so that only the process that gave out a key can read it. Nothing of a cancel is stored.
 */
import { randomInt } from 'node:crypto';
import type { Limits } from '../config/limits.ts';
import { Allowances } from './allowance.ts';
import { CancelDatabase, type Heard, type PeerRow } from './cancel-database.ts';
import { MAX_INSTANCE } from './cancel-keys.ts';
import { type CancelMessage, decodeCancelMessage, encodeCancelMessage } from './cancel-message.ts';
import type { CancelAsked, CancelRoutes } from './cancels.ts';

/** What seals messages; made of the installation's keys by the composition root. */
export type CancelSealing = {
  readonly announce: (number: number) => PeerRow;
  /** Null where the installation did not sign the row. */
  readonly peer: (row: PeerRow) => Promise<CancelPeer | null>;
};
export type CancelPeer = {
  readonly seal: (plain: Buffer) => Buffer;
  /** Null for what the peer did not send to this process, or had sent before. */
  readonly open: (sealed: Buffer) => Buffer | null;
};

export type CancelRoutingOptions = {
  /** Connection of the writer role to the database with the schema `countersign`. */
  readonly url: string;
  readonly sealing: CancelSealing;
  readonly limits: Pick<
    Limits,
    'cancelMs' | 'cancelsRoutedPerSecond' | 'cancelsRoutedPerAddressPerSecond' | 'cancelsWaiting'
  >;
  readonly log: { readonly warn: (facts: object, message: string) => void };
};

export type CancelRouting = CancelRoutes & { readonly close: () => Promise<void> };

/** A message that is older has missed its sender: nobody waits any more. Milliseconds. */
const FRESH_MS = 2_000;
/** By so much the estimates of the database's clock of two processes may differ. */
const CLOCKS_DIFFER_MS = 1_000;

/** Rejects when the audit database is away, or its schema is an old one. */
export async function startCancelRouting(options: CancelRoutingOptions): Promise<CancelRouting> {
  const routing = new Routing(options);
  await routing.start();
  return {
    instance: () => routing.instance,
    send: (asked, instance, address) => routing.send(asked, instance, address),
    receive: (handle) => routing.receive(handle),
    close: () => routing.close(),
  };
}

type Peer = { readonly row: PeerRow; readonly channel: CancelPeer };

class Routing {
  readonly #options: CancelRoutingOptions;
  readonly #database: CancelDatabase;
  readonly #allowances: Allowances;
  #peers: ReadonlyMap<number, Peer> = new Map();
  /** Of cancels that were passed on and not answered yet. */
  readonly #waiting = new Map<bigint, () => void>();
  #lastId = 0n;
  #handle: (asked: CancelAsked) => Promise<void> = async () => {};

  constructor(options: CancelRoutingOptions) {
    const { cancelsRoutedPerSecond, cancelsRoutedPerAddressPerSecond } = options.limits;
    this.#options = options;
    this.#allowances = new Allowances(cancelsRoutedPerSecond, cancelsRoutedPerAddressPerSecond);
    this.#database = new CancelDatabase({
      url: options.url,
      announce: () => options.sealing.announce(randomInt(1, MAX_INSTANCE + 1)),
      peersRead: (rows) => this.#meet(rows),
      heard: (heard) => this.#heard(heard),
      log: options.log,
    });
  }

  start(): Promise<void> {
    return this.#database.start();
  }

  get instance(): number {
    return this.#database.instance;
  }

  receive(handle: (asked: CancelAsked) => Promise<void>): void {
    this.#handle = handle;
  }

  async send(asked: CancelAsked, instance: number, address: string): Promise<void> {
    const { limits } = this.#options;
    const peer = this.#peers.get(instance);
    if (peer === undefined || this.#waiting.size >= limits.cancelsWaiting) return;
    if (!this.#allowances.take(address, performance.now())) return;
    const now = this.#database.now();
    if (now === null) return;
    this.#lastId += 1n;
    const id = this.#lastId;
    const answered = new Promise<void>((done) => this.#waiting.set(id, done));
    // The other process acts on it in this time or not at all, and is done with it after `cancelMs`.
    const timer = setTimeout(() => this.#answer(id), FRESH_MS + CLOCKS_DIFFER_MS + limits.cancelMs);
    this.#tell(peer, { kind: 'cancel', id, until: now + FRESH_MS, asked }).catch((error: Error) => {
      this.#options.log.warn({ err: error }, 'a cancel request was not passed on');
      this.#answer(id);
    });
    await answered;
    clearTimeout(timer);
  }

  async close(): Promise<void> {
    await this.#database.close();
    for (const id of [...this.#waiting.keys()]) this.#answer(id);
  }

  #answer(id: bigint): void {
    const done = this.#waiting.get(id);
    this.#waiting.delete(id);
    done?.();
  }

  #tell(peer: Peer, message: CancelMessage): Promise<void> {
    return this.#database.tell(peer.row.number, peer.channel.seal(encodeCancelMessage(message)));
  }

  /** Anybody who may connect to the database may have sent it. */
  async #heard({ from, sealed }: Heard): Promise<void> {
    if (!this.#peers.has(from)) await this.#database.readPeers();
    const peer = this.#peers.get(from);
    const plain = peer?.channel.open(sealed) ?? null;
    const message = plain === null ? null : decodeCancelMessage(plain);
    if (peer === undefined || message === null) return;
    if (message.kind === 'done') return this.#answer(message.id);
    const now = this.#database.now();
    if (now === null || now > message.until) return;
    await this.#handle(message.asked);
    await this.#tell(peer, { kind: 'done', id: message.id });
  }

  async #meet(rows: readonly PeerRow[]): Promise<void> {
    const peers = new Map<number, Peer>();
    for (const row of rows) {
      const known = this.#peers.get(row.number);
      const channel = known?.row.publicKey.equals(row.publicKey)
        ? known.channel
        : await this.#options.sealing.peer(row);
      if (channel !== null) peers.set(row.number, { row, channel });
      else
        this.#options.log.warn(
          { number: row.number, kid: row.kid },
          'a process of another installation, or none, in countersign.cancel_instance',
        );
    }
    this.#peers = peers;
  }
}
