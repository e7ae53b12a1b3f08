import type { Policy } from '../policy/rule.ts';
import { ConfigError } from './errors.ts';

/** The policy in force. Another object only when its content is another one. */
export type PolicyKeeper = {
  readonly current: () => Policy;
  /** Looks at the file now. Never rejects: a file that cannot be used leaves the policy as it is, and is told of. */
  readonly reload: () => Promise<void>;
  readonly close: () => void;
};

export type PolicyKeeperOptions = {
  readonly initial: Policy;
  /** Null: there is no file, so the policy never changes. */
  readonly load: (() => Promise<Policy>) | null;
  readonly pollMs: number;
  /** The new policy is in force from now on. */
  readonly changed: (policy: Policy, was: Policy) => void;
  /** Told once for each different problem. `kept` stays in force. */
  readonly failed: (error: Error, kept: Policy) => void;
};

/** A file that is being written may be good, and short of its last rules: it counts when it has stayed so for a while. */
const SETTLE_MS = 100;

/**
 * Keeps the policy as its file says. The file is read at an interval rather than watched: editors and mounted
 * configuration exchange files and links in ways that file events miss.
 */
export function keepPolicy(options: PolicyKeeperOptions): PolicyKeeper {
  const { load, pollMs, changed, failed } = options;
  let policy = options.initial;
  let problem: string | null = null;
  let running: Promise<void> | null = null;
  let closed = false;

  const look = async (): Promise<void> => {
    if (load === null) return;
    try {
      let found = await load();
      for (let before = policy.digest; found.digest !== before; ) {
        before = found.digest;
        await new Promise((done) => setTimeout(done, SETTLE_MS));
        found = await load();
      }
      problem = null;
      if (closed || found.digest === policy.digest) return;
      const was = policy;
      policy = found;
      changed(found, was);
    } catch (error) {
      const { message } = error as Error;
      if (closed || message === problem) return;
      problem = message;
      failed(error as Error, policy);
    }
  };
  const reload = async (): Promise<void> => {
    // One that runs may have read the file before it was changed.
    while (running !== null) await running;
    running = look().finally(() => {
      running = null;
    });
    await running;
  };
  const timer = load === null ? null : setInterval(() => void reload(), pollMs).unref();
  return {
    current: () => policy,
    reload,
    close: () => {
      closed = true;
      if (timer !== null) clearInterval(timer);
    },
  };
}

/** What is said of a file that cannot be used: all problems that were found, each with file, line and key. */
export function problemsOf(error: Error): string {
  return error instanceof ConfigError ? error.message : `the policy could not be read: ${error.message}`;
}
