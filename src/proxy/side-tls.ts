import type { ConnectionOptions } from 'node:tls';
import type { UpstreamAddress } from '../config/config.ts';

/** TLS for side connections made by `pg`, as `upstream.tls` says; false: none (a Unix socket needs none). */
export function sslOptions({ host, tls }: UpstreamAddress): ConnectionOptions | false {
  if (tls.mode === 'disable' || host.startsWith('/')) return false;
  if (tls.mode === 'require') return { rejectUnauthorized: false };
  const { ca } = tls;
  return tls.mode === 'verify-ca' ? { ca, checkServerIdentity: () => undefined } : { ca };
}
