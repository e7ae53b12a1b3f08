import type { RequestJson } from '../channels/api/json.ts';
import { visible } from '../channels/visible.ts';

/** What the API refused, or why it could not be asked. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: string;
  readonly exitCode: 1 | 2;
  constructor(code: string, message: string, exitCode: 1 | 2) {
    super(message);
    this.code = code;
    this.exitCode = exitCode;
  }
}

export type VerdictAnswer = {
  readonly id: string;
  readonly state: string;
  readonly approvals: number;
  readonly quorum: number;
  /** For the person: that they approve very fast, or that an agent floods them. */
  readonly notice?: string | null;
  /** Each that was answered together; of what was refused there is no id. */
  readonly answered?: readonly {
    readonly id: string | null;
    readonly state: string | null;
    readonly code: string | null;
  }[];
};

/** The HTTP API as functions. All reject with `ApiError`. */
export type RequestsApi = {
  readonly list: (state: string) => Promise<readonly RequestJson[]>;
  readonly get: (id: string) => Promise<RequestJson>;
  /** `all`: the requests that are answered together with it; empty: it alone. */
  readonly answer: (
    id: string,
    verdict: 'approve' | 'deny',
    reason: string | null,
    all: readonly string[],
  ) => Promise<VerdictAnswer>;
  /** Puts a request off, for oneself; 0 minutes: no longer. */
  readonly snooze: (
    id: string,
    minutes: number,
  ) => Promise<{ readonly id: string; readonly minutes: number }>;
  /** Takes back an approval that was not used yet. */
  readonly withdraw: (id: string, reason: string | null) => Promise<VerdictAnswer>;
  /** The whole id of the one request whose id begins so; `req_` may be left out. */
  readonly resolve: (start: string) => Promise<string>;
  /** Calls back for every event of the server's stream until it ends. False: this server has no stream. */
  readonly follow: (changed: () => void, signal: AbortSignal) => Promise<boolean>;
};

/** Time for one call of the API. */
const CALL_MS = 15_000;
const WHOLE_ID = /^req_[0-9A-Za-z]{20,26}$/;
/** Fewer characters than this, beside `req_`, are too easily somebody else's request. */
const SHORTEST = 4;

/** Comments of a stream of events say only that it stands. */
const HEARTBEAT = /^(?::[^\n]*\n|\n)*$/;

/** The API that `COUNTERSIGN_URL` and `COUNTERSIGN_TOKEN` name. Throws `ApiError` where they are not usable. */
export function apiFromEnvironment(env: Readonly<Record<string, string | undefined>>): RequestsApi {
  const [url, token] = [env['COUNTERSIGN_URL'], env['COUNTERSIGN_TOKEN']];
  const missing = [
    url ? '' : 'COUNTERSIGN_URL (e.g. http://127.0.0.1:8432)',
    token ? '' : 'COUNTERSIGN_TOKEN',
  ];
  if (!url || !token)
    throw new ApiError('configuration', `set ${missing.filter((name) => name !== '').join(' and ')}`, 2);
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw new ApiError('configuration', 'COUNTERSIGN_URL is no http or https URL', 2);
  if (/[^\x21-\x7e]/.test(token))
    throw new ApiError(
      'configuration',
      'COUNTERSIGN_TOKEN has blanks or other characters that no token has',
      2,
    );
  return requestsApi(url, token);
}

export function requestsApi(url: string, token: string): RequestsApi {
  const call = async <T>(path: string, body?: object): Promise<T> => {
    const response = await reach(url, path, token, { signal: AbortSignal.timeout(CALL_MS), body });
    const answer: unknown = await response.json().catch(() => null);
    if (!response.ok) throw refusalOf(response.status, answer);
    return answer as T;
  };
  const list = async (state: string) =>
    (await call<{ requests: RequestJson[] }>(`/api/requests?limit=200&state=${encodeURIComponent(state)}`))
      .requests;
  return {
    list,
    get: (id) => call(`/api/requests/${encodeURIComponent(id)}`),
    answer: (id, verdict, reason, all) =>
      call(`/api/requests/${encodeURIComponent(id)}/verdict`, {
        verdict,
        reason,
        ...(all.length === 0 ? {} : { all }),
      }),
    snooze: (id, minutes) => call(`/api/requests/${encodeURIComponent(id)}/snooze`, { minutes }),
    withdraw: (id, reason) => call(`/api/requests/${encodeURIComponent(id)}/withdraw`, { reason }),
    resolve: async (start) => {
      if (WHOLE_ID.test(start)) return start;
      const wanted = start.startsWith('req_') ? start : `req_${start}`;
      if (!/^[0-9A-Za-z]*$/.test(wanted.slice(4)) || wanted.length < 4 + SHORTEST)
        throw new ApiError(
          'bad_id',
          `an id, or its first ${SHORTEST} or more characters after req_, is needed`,
          2,
        );
      // Those that can still be answered first: an old request makes no new one ambiguous.
      for (const state of ['live', 'all']) {
        const found = (await list(state)).map(({ id }) => id).filter((id) => id.startsWith(wanted));
        if (found.length > 1) throw new ApiError('ambiguous_id', `${found.join(', ')} all begin so`, 2);
        if (found[0] !== undefined) return found[0];
      }
      throw new ApiError('not_found', `no request begins with ${wanted}`, 1);
    },
    follow: async (changed, signal) => {
      const response = await reach(url, '/api/requests/events', token, {
        signal,
        accept: 'text/event-stream',
      });
      const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') === true;
      if (!response.ok || !isStream || response.body === null) {
        await response.body?.cancel();
        if (response.status === 401 || response.status === 403) throw refusalOf(response.status, null);
        return false;
      }
      // What an event holds is not read: what is true now is asked for.
      const decoder = new TextDecoder();
      for await (const chunk of response.body)
        if (!HEARTBEAT.test(decoder.decode(chunk, { stream: true }))) changed();
      return true;
    },
  };
}

type Call = {
  readonly signal: AbortSignal;
  readonly body?: object | undefined;
  readonly accept?: string;
};

async function reach(
  url: string,
  path: string,
  token: string,
  { signal, body, accept }: Call,
): Promise<Response> {
  try {
    return await fetch(`${url.replace(/\/+$/, '')}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        ...(accept === undefined ? {} : { accept }),
      },
      body: body === undefined ? null : JSON.stringify(body),
      signal,
      // A token goes to the address that was given and to no other.
      redirect: 'error',
    });
  } catch (error) {
    const cause =
      error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    throw new ApiError('connection', `cannot reach ${url}: ${cause}`, 2);
  }
}

function refusalOf(status: number, answer: unknown): ApiError {
  const { code, detail } = (typeof answer === 'object' && answer !== null ? answer : {}) as {
    code?: unknown;
    detail?: unknown;
  };
  // The other side's words: a terminal must not obey them.
  const told = typeof detail === 'string' ? visible(detail).replace(/\s+/g, ' ') : null;
  const text =
    status === 401
      ? `COUNTERSIGN_TOKEN is not accepted: ${told ?? 'no reason given'}`
      : (told ?? `the API answered ${status}`);
  const known = typeof code === 'string' && /^[a-z_]{1,64}$/.test(code) ? code : null;
  // 401, 429 and 5xx are about the way there; the others are about the request.
  const exitCode = status === 401 || status === 429 || status >= 500 || known === null ? 2 : 1;
  return new ApiError(known ?? 'unexpected_answer', text, exitCode);
}
