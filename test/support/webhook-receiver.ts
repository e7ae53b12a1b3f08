import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Received = {
  readonly id: string;
  readonly type: string;
  readonly requestId: string;
  readonly body: string;
  readonly payload: {
    readonly type: string;
    readonly timestamp: string;
    readonly data: Record<string, unknown>;
  };
  /** Milliseconds since 1970 UTC. */
  readonly at: number;
};

/** What to do with the next call; `hang`: no answer at all. */
export type Script = (
  received: Received,
  attempt: number,
) => number | 'hang' | { readonly status: number; readonly headers: Record<string, string> };

export type Receiver = {
  readonly url: string;
  /** Every call whose signature was right, in order. */
  readonly calls: Received[];
  /** Those that were answered with 2xx, each id once. */
  readonly taken: Received[];
  /** Why calls were not believed. */
  readonly refused: string[];
  script: Script;
  readonly close: () => Promise<void>;
};

/** How far the time-stamp of a message may be away, seconds; the specification's own tolerance. */
const TOLERANCE = 300;

/**
 * A receiver of Standard Webhooks as their specification has it, written for itself: checks the signature over the raw
 * bytes with any of its secrets, the time-stamp, and that no id is acted on twice.
 */
export async function startReceiver(secrets: readonly string[], port = 0): Promise<Receiver> {
  const state: Omit<Receiver, 'url' | 'close'> = { calls: [], taken: [], refused: [], script: () => 204 };
  const attempts = new Map<string, number>();
  const server = createServer(async (request, response) => {
    const body = await read(request);
    const fault = faultOf(request, body, secrets);
    if (fault !== null) {
      state.refused.push(fault);
      return void response.writeHead(400).end();
    }
    const id = String(request.headers['webhook-id']);
    const payload = JSON.parse(body.toString('utf8')) as Received['payload'];
    const call = {
      id,
      type: payload.type,
      requestId: String(payload.data['id']),
      body: body.toString('utf8'),
      payload,
      at: Date.now(),
    };
    state.calls.push(call);
    const attempt = (attempts.get(id) ?? 0) + 1;
    attempts.set(id, attempt);
    answer(state.script(call, attempt), response, () => {
      if (!state.taken.some((one) => one.id === id)) state.taken.push(call);
    });
  });
  await new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
  return Object.assign(state, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    close: () =>
      new Promise<void>((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  });
}

function answer(said: ReturnType<Script>, response: ServerResponse, taken: () => void): void {
  if (said === 'hang') return;
  const { status, headers } = typeof said === 'number' ? { status: said, headers: {} } : said;
  if (status >= 200 && status < 300) taken();
  response.writeHead(status, headers).end();
}

function faultOf(request: IncomingMessage, body: Buffer, secrets: readonly string[]): string | null {
  const {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signature,
  } = request.headers;
  if (request.method !== 'POST' || request.headers['content-type'] !== 'application/json')
    return 'not a message';
  if (typeof id !== 'string' || typeof timestamp !== 'string' || typeof signature !== 'string')
    return 'no headers';
  if (!/^\d+$/.test(timestamp) || Math.abs(Number(timestamp) - Date.now() / 1000) > TOLERANCE)
    return 'too old';
  const fits = secrets.some((secret) => {
    const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
    const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
    const wanted = createHmac('sha256', key).update(signed).digest();
    return signature.split(' ').some((one) => {
      const [version, value = ''] = one.split(',');
      const given = Buffer.from(value, 'base64');
      return version === 'v1' && given.length === wanted.length && timingSafeEqual(given, wanted);
    });
  });
  return fits ? null : 'wrong signature';
}

async function read(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
