// pg exports these helpers (`"./lib/*"`), without types.
declare module 'pg/lib/crypto/sasl.js' {
  export type SaslSession = {
    readonly mechanism: string;
    readonly response: string;
    readonly message: string;
  };
  export function startSession(mechanisms: readonly string[], stream: unknown): SaslSession;
  export function continueSession(
    session: SaslSession,
    password: string,
    serverData: string,
    stream: unknown,
  ): Promise<void>;
  export function finalizeSession(session: SaslSession, serverData: string): void;
}

declare module 'pg/lib/crypto/cert-signatures.js' {
  /** The name of a DER certificate's signature hash, e.g. `SHA-256`; throws for an unknown algorithm. */
  export function signatureAlgorithmHashFromCertificate(der: Buffer): string;
}
