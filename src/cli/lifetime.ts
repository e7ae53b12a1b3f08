import type { Logger } from '../telemetry/log.ts';

/** `npm start` passes on what the terminal has sent to us as well: so soon after the first it is the same Ctrl-C. */
const SAME_SIGNAL_MS = 500;
/** After a clean stop nothing should keep the process; if something does, it ends all the same. */
const LINGER_MS = 2_000;

export type StopSignals = {
  /** True once a stop was asked for. */
  readonly requested: () => boolean;
  /** Resolves at the first SIGINT or SIGTERM. */
  readonly stopped: Promise<NodeJS.Signals>;
};

/** Listens from now on. A second signal ends the process at once: a clean stop can hang on somebody else. */
export function watchSignals(log: Logger): StopSignals {
  let firstAt: number | null = null;
  const stopped = new Promise<NodeJS.Signals>((done) => {
    const onSignal = (signal: NodeJS.Signals) => {
      const now = performance.now();
      if (firstAt === null) {
        firstAt = now;
        log.info({ signal }, 'stopping');
        done(signal);
      } else if (now - firstAt > SAME_SIGNAL_MS) {
        log.warn({ signal }, 'stopping at once');
        process.exit(1);
      }
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
  });
  return { requested: () => firstAt !== null, stopped };
}

/** To be called when everything was closed. */
export function exitWhenIdle(): void {
  setTimeout(() => process.exit(), LINGER_MS).unref();
}

/** What nobody caught leaves the program in an unknown state: say so, and end. */
export function dieOnUncaught(log: Logger): void {
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error }, 'uncaught error');
    process.exit(1);
  });
  process.on('unhandledRejection', (error) => {
    log.fatal({ err: error }, 'unhandled rejection');
    process.exit(1);
  });
}

/** Waits for the work, but not longer than `ms`; tells whether it was done. */
export async function within(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<false>((done) => {
    timer = setTimeout(() => done(false), ms);
  });
  try {
    return await Promise.race([work.then(() => true), timeout]);
  } finally {
    clearTimeout(timer);
  }
}
