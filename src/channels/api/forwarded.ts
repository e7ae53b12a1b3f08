import { BlockList, isIP } from 'node:net';

/** Whose address counts for a request: the socket's own, or, behind proxies that are trusted, whom they name. */
export type ClientAddress = (socket: string | null, forwardedFor: string | undefined) => string | null;

/** Longest header that is read from its right end, characters. */
const HEADER_CHARACTERS = 4_096;

/**
 * `proxies`: networks in CIDR form or single addresses. Only where the socket's own address is one of theirs is
 * `X-Forwarded-For` (attacker-controlled, up to what a trusted proxy put at its right end) read: from the right, the first
 * address that is no trusted proxy. What is left of that anybody may have written. Where an entry is no address, or all are
 * trusted, it is the last trusted one before.
 */
export function clientAddress(proxies: readonly string[]): ClientAddress {
  const trusted = new BlockList();
  for (const network of proxies) addTo(trusted, network);
  const isTrusted = (address: string) => trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  return (socket, forwardedFor) => {
    let last = socket === null ? null : plain(socket);
    if (proxies.length === 0 || last === null || !isTrusted(last)) return socket;
    const entries = (forwardedFor ?? '').slice(-HEADER_CHARACTERS).split(',').reverse();
    for (const entry of entries) {
      const address = plain(entry.trim());
      if (address === null) return last;
      last = address;
      if (!isTrusted(address)) return address;
    }
    return last;
  };
}

function addTo(list: BlockList, network: string): void {
  const [address = '', length] = network.split('/');
  const type = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  list.addSubnet(address, length === undefined ? (type === 'ipv6' ? 128 : 32) : Number(length), type);
}

/** Without port, brackets, zone and the form in which a socket for both versions shows version 4; null: no address. */
function plain(text: string): string | null {
  const bare = /^\[([^\]]*)\](?::\d+)?$/.exec(text)?.[1] ?? text.replace(/^([\d.]+):\d+$/, '$1');
  const address = bare.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '').replace(/%.*$/, '');
  return isIP(address) === 0 ? null : address;
}
