import { durationMs } from '../policy/duration.ts';
import type { PolicyRule } from '../policy/rule.ts';
import type { Path } from './document.ts';
import { DEFAULT_LIMITS, type Limits } from './limits.ts';

/** A hold that waits in vain. `path` is in the list of rules. */
export type HoldFinding = {
  readonly severity: 'warning';
  readonly code: 'hold_outlasts_request';
  readonly path: Path;
  readonly problem: string;
  readonly advice: string;
};

/** Rules whose connections wait longer than their requests can be answered. `limits`: those of the configuration. */
export function checkHolds(
  limits: { readonly [K in keyof Limits]?: number | undefined },
  rules: readonly PolicyRule[],
): readonly HoldFinding[] {
  const lifetime = limits.requestLifetimeMs ?? DEFAULT_LIMITS.requestLifetimeMs;
  return rules.flatMap(({ holdTimeout, expiry }, at): readonly HoldFinding[] => {
    const holdMs = holdTimeout === undefined ? null : durationMs(holdTimeout);
    const expiryMs = (expiry === undefined ? null : durationMs(expiry)) ?? lifetime;
    if (holdMs === null || holdMs <= expiryMs) return [];
    return [
      {
        severity: 'warning',
        code: 'hold_outlasts_request',
        path: [at, 'holdTimeout'],
        problem: `the connection waits ${holdTimeout}, and its request expires after ${expiry ?? `${lifetime / 1000} s (limits.requestLifetimeMs)`}`,
        advice: 'Give expiry at least as long, or a shorter holdTimeout: after the expiry nobody can answer.',
      },
    ];
  });
}
