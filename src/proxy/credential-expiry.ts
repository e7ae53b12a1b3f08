import type { Relay } from './relay.ts';

/** Node's longest timer, milliseconds. */
const LONGEST = 2 ** 31 - 1;
/** How often a busy session is looked at. */
const LOOK_MS = 250;

/**
 * A session does not outlive its credential. At `until` (milliseconds since 1970) a hold is told to come again, and an
 * idle session is closed (57P01); a running statement or an open transaction has `graceMs` more, then it is closed too.
 * Returns how to forget it.
 */
export function endWithCredential(
  relay: Pick<Relay, 'drain' | 'kill'>,
  until: number,
  graceMs: number,
): () => void {
  let timer: NodeJS.Timeout;
  const look = (): void => {
    const now = Date.now();
    if (now < until) wait(Math.min(until - now, LONGEST));
    else if (now >= until + graceMs) relay.kill(WORD, WHY);
    else if (!relay.drain(WORD, WHY)) wait(LOOK_MS);
  };
  const wait = (ms: number): void => {
    timer = setTimeout(look, ms);
    timer.unref();
  };
  wait(Math.max(0, Math.min(until - Date.now(), LONGEST)));
  return () => clearTimeout(timer);
}

const WORD = 'countersign: terminating connection, because the credential it was opened with has ended';
const WHY = 'credential ended';
