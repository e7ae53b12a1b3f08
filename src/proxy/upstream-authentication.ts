/** Answering a server's Authentication messages (manual, "Start-up"), on pg's SCRAM helper (RFC 5802, RFC 5929). */
import { createHash } from 'node:crypto';
import sasl from 'pg/lib/crypto/sasl.js';
import { serialize } from 'pg-protocol';
import type { Wire } from './wire.ts';

/**
 * Cleartext only where it is `secret`: over TLS or a Unix socket. MD5; SCRAM-SHA-256, over TLS bound to the server's
 * certificate where the server offers it (SCRAM-SHA-256-PLUS). `failed` is called with what is wrong.
 */
export function authenticator(
  wire: Wire,
  login: { readonly user: string; readonly password: string | null },
  secret: boolean,
  failed: (error: Error) => void,
): (frame: Buffer) => void {
  let session: sasl.SaslSession | null = null;
  let proved = false;
  const password = () => {
    if (login.password === null)
      throw new Error(
        `the upstream server asks for a password, and none is configured for role "${login.user}"`,
      );
    return login.password;
  };
  const answer = (frame: Buffer): void => {
    const kind = frame.readInt32BE(5);
    switch (kind) {
      case 0:
        if (session !== null && !proved)
          throw new Error('the upstream server broke off SASL without proving who it is');
        return;
      case 3:
        if (!secret)
          throw new Error(
            'the upstream server asks for the password in clear, which is sent only over TLS or a Unix socket',
          );
        wire.write(serialize.password(password()));
        return;
      case 5:
        wire.write(serialize.password(md5Password(login.user, password(), frame.subarray(9, 13))));
        return;
      case 10:
        session = sasl.startSession(frame.toString('utf8', 9).split('\0').filter(Boolean), wire.tls);
        wire.write(serialize.sendSASLInitialResponseMessage(session.mechanism, session.response));
        return;
      case 11: {
        const current = session;
        if (current === null) throw new Error('SASL continues before it began');
        sasl
          .continueSession(current, password(), frame.toString('utf8', 9), wire.tls)
          .then(() => wire.write(serialize.sendSCRAMClientFinalMessage(current.response)))
          .catch(failed);
        return;
      }
      case 12:
        if (session !== null) sasl.finalizeSession(session, frame.toString('utf8', 9));
        proved = true;
        return;
      default:
        throw new Error(`the upstream server asks for authentication method ${kind}, which is not supported`);
    }
  };
  return (frame) => {
    try {
      answer(frame);
    } catch (error) {
      failed(error as Error);
    }
  };
}

function md5Password(user: string, password: string, salt: Buffer): string {
  const md5 = (data: string | Buffer) => createHash('md5').update(data).digest('hex');
  return `md5${md5(Buffer.concat([Buffer.from(md5(password + user)), salt]))}`;
}
