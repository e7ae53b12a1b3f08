import type { RequestView } from '../../approval/guard.ts';
import { factLines } from '../fact-lines.ts';

/** What the database kept of the moment, beside what never changes of a request. */
export type EventFacts = {
  readonly at_ms: number;
  readonly state: string;
  readonly end_reason: string | null;
  /** JSON text. */
  readonly outcome: string | null;
  readonly verdicts: readonly ToldVerdict[];
  /** Which of them this is about; left out: about none alone. */
  readonly verdict?: ToldVerdict;
};

type ToldVerdict = {
  readonly person: string;
  readonly verdict: string;
  readonly reason: string | null;
  readonly channel: string;
  readonly assurance: number;
};

/**
 * The body of a message: the same at each attempt, whatever has happened to the request since. `summary` has no text
 * of the statement, no parameters, no names of data, and nobody's reasons; `full` has them, secrets replaced, and where
 * that is longer than `mostBytes`, `cut: true` and the summary. There is nothing in it with which one could approve.
 */
export function payloadOf(
  event: string,
  facts: EventFacts,
  view: RequestView,
  include: 'summary' | 'full',
  mostBytes: number,
): string {
  const data = summary(facts, view);
  const text = (more: object) =>
    JSON.stringify({
      type: event,
      timestamp: new Date(facts.at_ms).toISOString(),
      data: { ...data, ...more },
    });
  if (include === 'summary') return text({});
  const full = text(details(facts, view));
  return Buffer.byteLength(full) > mostBytes ? text({ cut: true }) : full;
}

function summary({ state, outcome, verdicts, verdict }: EventFacts, view: RequestView) {
  const { session, demand } = view;
  return {
    id: view.id,
    state,
    agent: session.agent,
    owner: session.owner,
    onBehalfOf: session.onBehalfOf,
    database: session.database,
    role: session.role,
    class: view.class,
    rule: view.rule,
    command: view.command,
    sqlLength: view.sqlLength,
    sqlSha256: view.sqlSha256,
    digest: view.digest,
    inTransaction: view.inTransaction,
    quorum: demand.quorum,
    assurance: demand.assurance,
    limits: view.limits,
    createdAt: view.createdAt.toISOString(),
    expiresAt: view.expiresAt.toISOString(),
    url: view.url,
    verdicts: verdicts.map(withoutReason),
    ...(verdict === undefined ? {} : { verdict: withoutReason(verdict) }),
    outcome: outcome === null ? null : (JSON.parse(outcome) as unknown),
  };
}

function withoutReason({ person, verdict, channel, assurance }: ToldVerdict) {
  return { person, verdict, channel, assurance };
}

function details({ end_reason, verdicts, verdict }: EventFacts, view: RequestView) {
  return {
    sql: view.sql,
    parameters: view.parameters,
    reasons: view.reasons,
    relations: view.relations,
    facts: factLines(view),
    endReason: end_reason,
    verdicts,
    ...(verdict === undefined ? {} : { verdict }),
  };
}
