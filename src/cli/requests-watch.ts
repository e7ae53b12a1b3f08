import type { RequestJson } from '../channels/api/json.ts';
import { ApiError, type RequestsApi } from './requests-api.ts';

/** How often is looked, where the server has no stream of events or it was lost; and beside one that stands. */
const POLL_MS = 2_000;
const STREAM_POLL_MS = 30_000;

export type WatchCalls = {
  /** `isNew`: it came while we watched. */
  readonly changed: (request: RequestJson, isNew: boolean) => void;
  /** The server is away (told once), and null: it is back. */
  readonly away: (error: ApiError | null) => void;
};

/**
 * Calls back with everything live now, and then with every change of it, until stopped. A server that goes away is
 * waited for, once it has answered; other refusals reject with `ApiError`.
 */
export async function watchRequests(
  api: RequestsApi,
  stopped: AbortSignal,
  calls: WatchCalls,
): Promise<void> {
  const known = new Map<string, string>();
  const bell = wakeUp(stopped);
  const stream = followStream(api, stopped, bell.ring);
  let answered = false;
  let isAway = false;
  while (!stopped.aborted) {
    try {
      const news = await changes(api, known);
      if (isAway) calls.away(null);
      isAway = false;
      for (const request of news) calls.changed(request, answered && !known.has(request.id));
      for (const request of news)
        if (request.endedAt === null) known.set(request.id, standing(request));
        else known.delete(request.id);
      answered = true;
    } catch (error) {
      const waits = error instanceof ApiError && AWAY.has(error.code) && answered;
      if (!waits) throw error;
      if (!isAway) calls.away(error);
      isAway = true;
    }
    await bell.rung(stream.stands() ? STREAM_POLL_MS : POLL_MS);
  }
}

const AWAY: ReadonlySet<string> = new Set(['connection', 'unavailable', 'unexpected_answer', 'rate_limited']);

/** What is new of those that live, and of those that did. */
async function changes(
  api: RequestsApi,
  known: ReadonlyMap<string, string>,
): Promise<readonly RequestJson[]> {
  const live = await api.list('live');
  const gone = [...known.keys()].filter((id) => !live.some((request) => request.id === id));
  const ended = await Promise.all(gone.map((id) => api.get(id)));
  return [...live]
    .reverse()
    .concat(ended)
    .filter((request) => known.get(request.id) !== standing(request));
}

/** What people are told of again when it changes: how it stands, and who may answer it. */
function standing({ state, escalated, onCallNow }: RequestJson): string {
  return JSON.stringify([state, escalated, onCallNow]);
}

/** Rings for every event. Where there is no stream, or it breaks, polling goes on alone, and it is tried again. */
function followStream(api: RequestsApi, stopped: AbortSignal, ring: () => void) {
  let stands = false;
  const follow = async () => {
    while (!stopped.aborted) {
      stands = true;
      const was = await api.follow(ring, stopped).catch(() => null);
      stands = false;
      // Whoever sleeps does so for as long as with a stream.
      ring();
      if (was === false) return;
      await pause(POLL_MS, stopped);
    }
  };
  void follow();
  return { stands: () => stands };
}

function wakeUp(stopped: AbortSignal) {
  let rang = false;
  let wake: (() => void) | null = null;
  return {
    ring: () => {
      rang = true;
      wake?.();
    },
    /** Resolves when it rang, or that time is over, or all is to stop. */
    rung: async (ms: number): Promise<void> => {
      if (!rang) {
        const over = new AbortController();
        wake = () => over.abort();
        await pause(ms, AbortSignal.any([stopped, over.signal]));
        wake = null;
      }
      rang = false;
    },
  };
}

function pause(ms: number, stopped: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (stopped.aborted) return resolve();
    const timer = setTimeout(resolve, ms);
    const stop = () => {
      clearTimeout(timer);
      resolve();
    };
    stopped.addEventListener('abort', stop, { once: true });
  });
}
