import type { Policy } from '../policy/rule.ts';
import { ConfigError } from './errors.ts';

/** The policy in force. Another object only when its content is another one. */
export type PolicyKeeper = {
  readonly current: () => Policy;
  /** When this process put it in force. */
  readonly since: () => Date;
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

/**
 * A file that is being written may be bad, or good and short of its last rules: what is found counts when it has stayed so
 * for a while.
 */
const SETTLE_MS = 100;

/**
 * Keeps the policy as its file says. The file is read at an interval rather than watched: editors and mounted
 * configuration exchange files and links in ways that file events miss.
 */
export function keepPolicy(options: PolicyKeeperOptions): PolicyKeeper {
  const { load, pollMs, changed, failed } = options;
  let policy = options.initial;
  let since = new Date();
  let problem: string | null = null;
  let running: Promise<void> | null = null;
  let closed = false;

  const outcome = (read: () => Promise<Policy>): Promise<Policy | Error> =>
    read().catch((error: unknown) => error as Error);
  const look = async (): Promise<void> => {
    if (load === null) return;
    let found = await outcome(load);
    for (let before = problem ?? policy.digest; sign(found) !== before; ) {
      before = sign(found);
      await new Promise((done) => setTimeout(done, SETTLE_MS));
      found = await outcome(load);
    }
    const was = policy;
    const known = sign(found) === problem;
    problem = found instanceof Error ? found.message : null;
    if (closed || known) return;
    if (found instanceof Error) return failed(found, policy);
    if (found.digest === was.digest) return;
    policy = found;
    since = new Date();
    changed(found, was);
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
    since: () => since,
    reload,
    close: () => {
      closed = true;
      if (timer !== null) clearInterval(timer);
    },
  };
}

function sign(found: Policy | Error): string {
  return found instanceof Error ? found.message : found.digest;
}

/** What is said of a file that cannot be used: all problems that were found, each with file, line and key. */
export function problemsOf(error: Error): string {
  return error instanceof ConfigError ? error.message : `the policy could not be read: ${error.message}`;
}
