/** Who may be here at once: sessions in all, of one agent and from one address, and strangers. */
import type { Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import { LoginRefused } from './client-parameters.ts';

/** Counts sessions; a place is had by `reserve` and given back once. */
export class Admission {
  readonly #limits: Limits;
  readonly #agents = new Tally();
  readonly #addresses = new Tally();
  #all = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Takes a place and returns how to give it back. Throws `LoginRefused` (53300) where there is none. */
  reserve(agent: string, address: string | null): () => void {
    const { sessions, sessionsPerAgent, sessionsPerAddress } = this.#limits;
    const origin = originOf(address);
    if (this.#all >= sessions)
      throw new LoginRefused(SQLSTATE.tooManyConnections, 'sorry, too many clients already');
    if (this.#agents.of(agent) >= sessionsPerAgent)
      throw new LoginRefused(SQLSTATE.tooManyConnections, `too many connections for agent "${agent}"`);
    if (this.#addresses.of(origin) >= sessionsPerAddress)
      throw new LoginRefused(SQLSTATE.tooManyConnections, 'too many connections from this address');
    this.#count(agent, origin, 1);
    let taken = true;
    return () => {
      if (taken) this.#count(agent, origin, -1);
      taken = false;
    };
  }

  #count(agent: string, origin: string, change: 1 | -1): void {
    this.#all += change;
    this.#agents.add(agent, change);
    this.#addresses.add(origin, change);
  }
}

/**
 * Sockets that have not said yet who they are. Silence must not cost others their place: where one address has too
 * many, its oldest goes; where there are too many in all, the oldest of the address that has the most.
 */
export class Strangers {
  readonly #limits: Limits;
  readonly #sockets = new Map<string, Set<Socket>>();
  #all = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Takes a new one in, and sends an old one away where that is one too many. */
  add(socket: Socket, address: string | null): void {
    const origin = originOf(address);
    const mine = this.#sockets.get(origin) ?? new Set();
    this.#sockets.set(origin, mine.add(socket));
    this.#all += 1;
    if (mine.size > this.#limits.strangersPerAddress) this.#sendAwayOldest(origin, mine);
    else if (this.#all > this.#limits.strangers) this.#sendAwayOldest(...this.#mostCrowded());
  }

  /** It has said who it is, or is gone. */
  remove(socket: Socket, address: string | null): void {
    const origin = originOf(address);
    const mine = this.#sockets.get(origin);
    if (mine?.delete(socket) !== true) return;
    this.#all -= 1;
    if (mine.size === 0) this.#sockets.delete(origin);
  }

  #mostCrowded(): [string, Set<Socket>] {
    let most: [string, Set<Socket>] = ['', new Set()];
    for (const entry of this.#sockets) if (entry[1].size > most[1].size) most = entry;
    return most;
  }

  #sendAwayOldest(origin: string, sockets: Set<Socket>): void {
    const [oldest] = sockets;
    if (oldest === undefined) return;
    this.remove(oldest, origin);
    oldest.destroy();
  }
}

/** What counts as one address: IPv4 as it is (also where IPv6 carries it), of IPv6 the /64 that one site has. */
export function originOf(address: string | null): string {
  if (address === null) return '';
  const v4 = address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '');
  if (!v4.includes(':')) return v4;
  const [head = '', tail] = (v4.split('%', 1)[0] ?? '').toLowerCase().split('::');
  const words = head === '' ? [] : head.split(':');
  const behind = tail === undefined || tail === '' ? [] : tail.split(':');
  // An IPv4 address at the end stands for two words.
  const dotted = behind.at(-1)?.includes('.') || words.at(-1)?.includes('.') ? 1 : 0;
  const gap = tail === undefined ? 0 : Math.max(0, 8 - dotted - words.length - behind.length);
  const whole = [...words, ...Array<string>(gap).fill('0'), ...behind];
  return `${whole
    .slice(0, 4)
    .map((word) => word.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`;
}

class Tally {
  readonly #counts = new Map<string, number>();

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  add(name: string, change: 1 | -1): void {
    const count = this.of(name) + change;
    if (count === 0) this.#counts.delete(name);
    else this.#counts.set(name, count);
  }
}
