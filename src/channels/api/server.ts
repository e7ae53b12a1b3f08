import { createServer, type RequestListener, type Server } from 'node:http';
import { getRequestListener } from '@hono/node-server';
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

/**
 * Serves `app`, and `before` what a channel answers by itself (Slack's signed requests, which it reads raw): it says
 * whether the path is its own. Rejects with the socket's error when the address cannot be bound.
 */
export function listenHttp(
  app: Pick<Hono, 'fetch'>,
  address: { readonly host: string; readonly port: number },
  before: { readonly path: string; readonly listener: RequestListener } | null = null,
): Promise<HttpServer> {
  const pages = getRequestListener(app.fetch);
  const server = createServer(
    { headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS },
    (request, response) => {
      const own = before !== null && (request.url ?? '').split('?')[0] === before.path;
      if (own) before.listener(request, response);
      else void pages(request, response);
    },
  );
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(address.port, address.host, () => {
      server.off('error', reject);
      const bound = server.address();
      const port = bound !== null && typeof bound === 'object' ? bound.port : address.port;
      resolve({ port, close: () => closeServer(server) });
    });
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
