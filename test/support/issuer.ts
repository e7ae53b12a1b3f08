import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose';

export const ISSUER = 'https://issuer.example';
export const AUDIENCE = 'countersign';

/** An identity provider: keys behind a URL, and tokens that they sign. */
export type Issuer = {
  readonly url: string;
  /** How often the keys were asked for. */
  readonly fetches: () => number;
  /** A new key signs from now on; the old one is not in the set any more. */
  readonly rotate: () => Promise<void>;
  /** What the URL answers instead of the keys: a status, or nothing at all; null: the keys again. */
  readonly answer: (instead: number | 'silence' | Buffer | null) => void;
  readonly keySet: () => { readonly keys: readonly JWK[] };
  /** A good token for agent `agent` for five minutes; claims and header fields replace those (undefined: left out). */
  readonly token: (
    claims?: Record<string, unknown>,
    header?: {
      readonly alg?: string;
      readonly kid?: string;
      readonly typ?: string;
      readonly key?: CryptoKey | Uint8Array;
    },
  ) => Promise<string>;
  readonly close: () => Promise<void>;
};

export async function startIssuer(): Promise<Issuer> {
  let number = 0;
  let fetches = 0;
  let instead: number | 'silence' | Buffer | null = null;
  const make = async () => {
    number += 1;
    const { publicKey, privateKey } = await generateKeyPair('ES256');
    return {
      kid: `key-${number}`,
      privateKey,
      jwk: { ...(await exportJWK(publicKey)), kid: `key-${number}` },
    };
  };
  let current = await make();
  const keySet = () => ({ keys: [current.jwk] });
  const server = createServer((_request, response) => {
    fetches += 1;
    if (instead === 'silence') return;
    if (typeof instead === 'number') response.writeHead(instead, { location: '/elsewhere' });
    response.end(Buffer.isBuffer(instead) ? instead : JSON.stringify(keySet()));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`,
    fetches: () => fetches,
    rotate: async () => {
      current = await make();
    },
    answer: (next) => {
      instead = next;
    },
    keySet,
    token: async (claims = {}, header = {}) => {
      const now = Math.floor(Date.now() / 1000);
      const payload: JWTPayload = {
        iss: ISSUER,
        aud: AUDIENCE,
        sub: 'agent',
        iat: now,
        exp: now + 300,
        ...claims,
      };
      return new SignJWT(JSON.parse(JSON.stringify(payload)) as JWTPayload)
        .setProtectedHeader({
          alg: header.alg ?? 'ES256',
          kid: header.kid ?? current.kid,
          ...(header.typ === undefined ? {} : { typ: header.typ }),
        })
        .sign(header.key ?? current.privateKey);
    },
    close: () =>
      new Promise((done) => {
        server.closeAllConnections();
        server.close(() => done());
      }),
  };
}
