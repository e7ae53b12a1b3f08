/** What readiness depends on, gathered by whoever can see it. */
export type HealthFacts = {
  /** Both listeners are open. */
  readonly listening: boolean;
  /** A stop was asked for; sessions that are there may finish. */
  readonly draining: boolean;
  /** The last contact with upstream went well. */
  readonly upstreamReachable: boolean;
  /** The audit log takes entries (`AuditLog.healthy`). */
  readonly auditHealthy: boolean;
  /** Requests can be opened and answered. */
  readonly approvalsReachable: boolean;
};

export type Health = {
  readonly status: 200 | 503;
  readonly body: {
    readonly status: 'ok' | 'unavailable';
    /** What is missing, in words; empty when ready. */
    readonly reasons: readonly string[];
  };
};

/** Alive while the process answers at all: a restart would mend nothing that this could see. */
export function livez(): Health {
  return { status: 200, body: { status: 'ok', reasons: [] } };
}

/** Ready for new sessions. Not ready takes the process out of a load balancer; it goes on serving those it has. */
export function readyz(facts: HealthFacts): Health {
  const reasons = [
    facts.listening ? null : 'not listening yet',
    facts.draining ? 'draining' : null,
    facts.upstreamReachable ? null : 'upstream cannot be reached',
    facts.auditHealthy ? null : 'the audit log takes no entries',
    facts.approvalsReachable ? null : 'the approval store cannot be reached',
  ].filter((reason) => reason !== null);
  return reasons.length === 0
    ? { status: 200, body: { status: 'ok', reasons } }
    : { status: 503, body: { status: 'unavailable', reasons } };
}
