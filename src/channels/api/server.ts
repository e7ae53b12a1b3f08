import { createServer, type Server } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import type { Hono } from 'hono';
import { answerParserErrors } from './parser-errors.ts';
import { problemText } from './problem.ts';

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

/** For tests, which cannot wait so long. */
export type HttpTimes = { readonly headersMs: number; readonly requestMs: number };

/** Serves `app`. Rejects with the socket's error when the address cannot be bound. */
export function listenHttp(
  app: Pick<Hono, 'fetch'>,
  address: { readonly host: string; readonly port: number },
  times: HttpTimes = { headersMs: HEADERS_MS, requestMs: REQUEST_MS },
): Promise<HttpServer> {
  return new Promise((resolve, reject) => {
    const server = createServer(
      {
        headersTimeout: times.headersMs,
        requestTimeout: times.requestMs,
        connectionsCheckingInterval: Math.min(1_000, times.headersMs),
        // Node would answer a request without Host by itself, with nothing; so the listener refuses it.
        requireHostHeader: false,
      },
      getRequestListener(app.fetch, { errorHandler: refuseUnreadable }),
    );
    answerParserErrors(server);
    server.once('error', reject);
    server.listen(address.port, address.host, () => {
      server.off('error', reject);
      const bound = server.address();
      const port = bound === null || typeof bound === 'string' ? address.port : bound.port;
      resolve({ port, close: () => closeServer(server) });
    });
  });
}

/** A Host or a target that makes no URL: the application never sees it. */
function refuseUnreadable(error: unknown): Response {
  const itsOwn = error instanceof Error && error.name === 'RequestError';
  const { status, body } = itsOwn
    ? problemText('bad_request', 'Host and request target make no URL.')
    : problemText('unavailable', 'The request could not be handled now. Trying again is safe.');
  return new Response(body, { status, headers: { 'content-type': 'application/problem+json' } });
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
