import { type LookupAddress, type LookupOptions, lookup } from 'node:dns';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/** What became of one attempt. */
export type PostResult =
  | { readonly kind: 'answered'; readonly status: number; readonly retryAfterMs: number | null }
  | { readonly kind: 'failed'; readonly why: string };

/**
 * POSTs once: no redirect is followed, no proxy of the environment used, the answer's body not read. http reaches this
 * machine alone; no address of link-local networks, where clouds keep their credentials, is connected to.
 */
export function post(
  url: URL,
  body: string,
  headers: Readonly<Record<string, string>>,
  timeoutMs: number,
): Promise<PostResult> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const loopbackOnly = url.protocol === 'http:';
  // A name is looked at when it is resolved; an address never is.
  if (isIP(host) !== 0 && !mayConnect(host, loopbackOnly))
    return Promise.resolve({ kind: 'failed', why: 'its address is not one that webhooks may reach' });
  return new Promise((done) => {
    const send = loopbackOnly ? httpRequest : httpsRequest;
    const failed = (why: string) => done({ kind: 'failed', why });
    const call = send(url, {
      method: 'POST',
      agent: false,
      lookup: checkedLookup(loopbackOnly),
      signal: AbortSignal.timeout(timeoutMs),
      headers: {
        ...headers,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'user-agent': 'countersign',
      },
    });
    call.on('response', (response) => {
      const { statusCode = 0 } = response;
      done({
        kind: 'answered',
        status: statusCode,
        retryAfterMs: retryAfter(response.headers['retry-after']),
      });
      response.destroy();
    });
    call.on('error', (error: NodeJS.ErrnoException) => {
      failed(
        error.name === 'TimeoutError' || error.code === 'ABORT_ERR'
          ? `no answer in ${timeoutMs} ms`
          : (error.code ?? error.name),
      );
    });
    call.end(body);
  });
}

const LOOPBACK = blocks(['127.0.0.0', 8, 'ipv4'], ['::1', 128, 'ipv6']);
/** Link-local (metadata services of clouds), unspecified, multicast, and AWS' metadata address in IPv6. */
const FORBIDDEN = blocks(
  ['169.254.0.0', 16, 'ipv4'],
  ['0.0.0.0', 8, 'ipv4'],
  ['224.0.0.0', 3, 'ipv4'],
  ['fe80::', 10, 'ipv6'],
  ['::', 128, 'ipv6'],
  ['ff00::', 8, 'ipv6'],
  ['fd00:ec2::', 32, 'ipv6'],
);

/** Whether a webhook may connect to this address. */
export function mayConnect(address: string, loopbackOnly: boolean): boolean {
  const family = isIP(address);
  if (family === 0) return false;
  // ::ffff:a.b.c.d is a.b.c.d.
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mayConnect(mapped, loopbackOnly);
  const kind = family === 4 ? 'ipv4' : 'ipv6';
  return loopbackOnly ? LOOPBACK.check(address, kind) : !FORBIDDEN.check(address, kind);
}

/** Checks what a name means where it is used, so that it cannot mean something else a moment later. */
function checkedLookup(loopbackOnly: boolean): LookupFunction {
  return (hostname, options, callback) => {
    const asked: LookupOptions & { readonly all: true } = { ...options, all: true };
    lookup(hostname, asked, (error, found: readonly LookupAddress[]) => {
      const [first] = found ?? [];
      if (error !== null || first === undefined) return callback(error ?? new Error('no address'), '', 0);
      if (!found.every(({ address }) => mayConnect(address, loopbackOnly)))
        return callback(Object.assign(new Error('forbidden address'), { code: 'EFORBIDDEN' }), '', 0);
      if (options.all === true) return callback(null, [...found]);
      callback(null, first.address, first.family);
    });
  };
}

function blocks(...subnets: readonly (readonly [string, number, 'ipv4' | 'ipv6'])[]): BlockList {
  const list = new BlockList();
  for (const [network, prefix, family] of subnets) list.addSubnet(network, prefix, family);
  return list;
}

/** RFC 9110, section 10.2.3: seconds or a date. Null: it says nothing that can be understood. */
function retryAfter(text: string | undefined): number | null {
  if (text === undefined) return null;
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : Math.max(0, at - Date.now());
}
