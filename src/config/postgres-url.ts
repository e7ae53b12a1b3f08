import type { UpstreamAddress } from './config.ts';

/** The parts of a `postgres://` URL. `host` is a name, an address, or a socket directory. */
export type PostgresUrl = {
  readonly host: string;
  readonly port: number;
  readonly user: string | null;
  readonly password: string | null;
  readonly database: string | null;
  readonly sslmode: SslMode | null;
  /** Path of a file with the certificates of authorities. */
  readonly sslrootcert: string | null;
};

/** libpq's modes without the two that fall back to plain text unasked. */
export const SSL_MODES = ['disable', 'require', 'verify-ca', 'verify-full'] as const;
export type SslMode = (typeof SSL_MODES)[number];

const PARAMETERS = ['host', 'port', 'sslmode', 'sslrootcert'];

/**
 * Reads a URL as libpq does: `postgres://user:password@host:port/database`, socket directories as
 * `postgres://user@/database?host=/run/postgresql` or percent-encoded in the host's place. A string is the reason why
 * it cannot be read; it never holds a part of the URL, which may have a password in it.
 */
export function parsePostgresUrl(text: string): PostgresUrl | string {
  const scheme = /^postgres(?:ql)?:\/\//.exec(text);
  if (scheme === null) return 'expected a URL that begins with postgres://';
  // WHATWG URLs do not allow a user without a host, which is how a socket is written.
  const rest = text.slice(scheme[0].length);
  const hostless = /^([^/?#]*@)?(?=[/?]|$)/.exec(rest);
  const url = parse(
    `postgres://${hostless ? `${hostless[1] ?? ''}socket.invalid${rest.slice(hostless[0].length)}` : rest}`,
  );
  if (url === null) return 'expected postgres://user@host:port/database';
  for (const name of url.searchParams.keys())
    if (!PARAMETERS.includes(name)) return `of URL parameters only ${PARAMETERS.join(', ')} are known`;

  const named = decode(url.hostname.replace(/^\[|\]$/g, ''));
  const host = url.searchParams.get('host') ?? (named === 'socket.invalid' ? '' : named);
  const port = Number(url.searchParams.get('port') ?? (url.port || 5432));
  if (host === '') return 'expected a host, or ?host=/directory of a Unix socket';
  if (!Number.isInteger(port) || port < 1 || port > 65535) return 'expected a port from 1 to 65535';
  const sslmode = url.searchParams.get('sslmode');
  if (sslmode !== null && !isSslMode(sslmode)) return `expected sslmode to be one of ${SSL_MODES.join(', ')}`;
  return {
    host,
    port,
    user: decode(url.username) || null,
    password: decode(url.password) || null,
    database: decode(url.pathname.slice(1)) || null,
    sslmode,
    sslrootcert: url.searchParams.get('sslrootcert'),
  };
}

/** The URL again, in the form that node-postgres reads, with libpq's meaning of `sslmode`. */
export function formatPostgresUrl(parts: PostgresUrl): string {
  const socket = parts.host.startsWith('/');
  // A host is there for a socket too, since WHATWG URLs have no user without one; ?host= wins over it.
  const named = parts.host.includes(':') ? `[${parts.host}]` : parts.host;
  const host = socket ? 'localhost' : `${named}:${parts.port}`;
  const credentials = [parts.user, parts.password]
    .filter((part) => part !== null)
    .map(encodeURIComponent)
    .join(':');
  const query = new URLSearchParams(socket ? { host: parts.host, port: String(parts.port) } : {});
  if (parts.sslmode !== null) query.set('sslmode', parts.sslmode);
  if (parts.sslrootcert !== null) query.set('sslrootcert', parts.sslrootcert);
  // Without this node-postgres takes `require` and `verify-ca` for `verify-full`.
  if (parts.sslmode === 'require' || parts.sslmode === 'verify-ca') query.set('uselibpqcompat', 'true');
  const authority = `${credentials && `${credentials}@`}${host}`;
  const parameters = query.size === 0 ? '' : `?${query}`;
  return `postgres://${authority}/${encodeURIComponent(parts.database ?? '')}${parameters}`;
}

/** True where the way to the server does not leave this machine, so that TLS would protect nothing. */
export function isLocal(host: UpstreamAddress['host']): boolean {
  return host.startsWith('/') || host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function isSslMode(text: string): text is SslMode {
  return (SSL_MODES as readonly string[]).includes(text);
}

function parse(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
