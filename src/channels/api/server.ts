import type { Server } from 'node:http';
import { serve } from '@hono/node-server';
import type { Hono } from 'hono';

export type HttpServer = {
  /** The port that was bound, also where 0 was asked for. */
  readonly port: number;
  /** Stops accepting, waits for requests in flight, at most `DRAIN_MS`. */
  readonly close: () => Promise<void>;
};

/** Milliseconds. Slow clients are cut: headers within 10 s, a whole request within 30 s. */
const HEADERS_MS = 10_000;
const REQUEST_MS = 30_000;
const DRAIN_MS = 3_000;

/** Serves `app`. Rejects with the socket's error when the address cannot be bound. */
export function listenHttp(
  app: Pick<Hono, 'fetch'>,
  address: { readonly host: string; readonly port: number },
): Promise<HttpServer> {
  return new Promise((resolve, reject) => {
    const server = serve(
      {
        fetch: app.fetch,
        hostname: address.host,
        port: address.port,
        serverOptions: { headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS },
      },
      ({ port }) => {
        server.off('error', reject);
        resolve({ port, close: () => closeServer(server) });
      },
    ) as Server;
    server.once('error', reject);
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
    server.close(() => {
      clearTimeout(cut);
      resolve();
    });
    server.closeIdleConnections();
  });
}
