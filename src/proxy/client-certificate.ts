import type { TLSSocket } from 'node:tls';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import { LoginRefused } from './client-parameters.ts';

/** A certificate that the client showed, of an authority that we believe. */
export type ClientCertificate = {
  /** Null: none, or more than one. */
  readonly commonName: string | null;
  /** sha256 of its DER form, lower-case hexadecimal. */
  readonly fingerprint: string;
  /** When it ends, milliseconds since 1970. */
  readonly until: number;
};

/**
 * After the handshake; null where the client showed none. Throws `LoginRefused` (28000) for one that does not verify:
 * Postgres ends the handshake then, whoever the client says it is.
 */
export function readClientCertificate(socket: TLSSocket): ClientCertificate | null {
  const certificate = socket.getPeerCertificate();
  if (certificate?.raw === undefined) return null;
  const fault = verificationFault(socket);
  if (fault !== null)
    throw new LoginRefused(
      SQLSTATE.invalidAuthorization,
      `countersign: the client certificate is not accepted (${fault})`,
      'It must be valid now, for clients, and signed by the authority that the proxy is configured with.',
    );
  // Several common names come as a list, which the types do not say.
  const names: unknown = certificate.subject?.CN;
  return {
    commonName: typeof names === 'string' ? names : null,
    fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    until: Date.parse(certificate.valid_to),
  };
}

type TlsHandle = { readonly verifyError?: () => unknown };

/** What OpenSSL found; tls.Server reads the same place. Where it cannot be asked, nothing counts as verified. */
function verificationFault(socket: TLSSocket): string | null {
  const handle = (socket as { _handle?: TlsHandle | null })._handle;
  if (typeof handle?.verifyError !== 'function') return 'UNVERIFIED';
  const error = handle.verifyError();
  if (error === null || error === undefined) return null;
  return typeof error === 'object' && 'code' in error && typeof error.code === 'string'
    ? error.code
    : 'UNVERIFIED';
}
