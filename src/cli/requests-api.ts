import type { RequestJson } from '../channels/api/json.ts';

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
};

/** The HTTP API as functions. All reject with `ApiError`. */
export type RequestsApi = {
  readonly list: (state: string) => Promise<readonly RequestJson[]>;
  readonly get: (id: string) => Promise<RequestJson>;
  readonly answer: (id: string, verdict: 'approve' | 'deny', reason: string | null) => Promise<VerdictAnswer>;
};

/** Time for one call of the API. */
const CALL_MS = 15_000;

export function requestsApi(url: string, token: string): RequestsApi {
  const call = async <T>(path: string, body?: object): Promise<T> => {
    const response = await reach(url, path, token, body);
    const answer: unknown = await response.json().catch(() => null);
    if (!response.ok) throw refusalOf(response.status, answer);
    return answer as T;
  };
  return {
    list: async (state) =>
      (await call<{ requests: RequestJson[] }>(`/api/requests?state=${encodeURIComponent(state)}`)).requests,
    get: (id) => call(`/api/requests/${encodeURIComponent(id)}`),
    answer: (id, verdict, reason) =>
      call(`/api/requests/${encodeURIComponent(id)}/verdict`, { verdict, reason }),
  };
}

async function reach(url: string, path: string, token: string, body?: object): Promise<Response> {
  try {
    return await fetch(`${url.replace(/\/+$/, '')}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(CALL_MS),
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
  const text = typeof detail === 'string' ? detail : `the API answered ${status}`;
  // 401 and 5xx are about the way there; the others are about the request.
  const exitCode = status === 401 || status >= 500 || typeof code !== 'string' ? 2 : 1;
  return new ApiError(typeof code === 'string' ? code : 'unexpected_answer', text, exitCode);
}
