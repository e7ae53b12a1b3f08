import type { RequestView } from '../../approval/guard.ts';
import { factLines } from '../fact-lines.ts';

/** A request as the HTTP API gives it. Names and forms are a contract: add, never change. */
export function requestJson(view: RequestView) {
  const { session, outcome } = view;
  return {
    id: view.id,
    state: view.state,
    agent: session.agent,
    owner: session.owner,
    onBehalfOf: session.onBehalfOf,
    run: session.run,
    runVerified: session.runVerified,
    applicationName: session.applicationName,
    clientAddress: session.clientAddress,
    database: session.database,
    role: session.role,
    searchPath: view.searchPath,
    sql: view.sql,
    /** True in a listing where the statement is cut or parameters are left out: ask for the request itself. */
    cut: view.cut === true,
    sqlLength: view.sqlLength,
    sqlSha256: view.sqlSha256,
    parameters: view.parameters,
    command: view.command,
    class: view.class,
    rule: view.rule,
    reasons: view.reasons,
    relations: view.relations,
    inTransaction: view.inTransaction,
    /** For programs: what was found out when the request was opened; null: nothing was. */
    context: view.context,
    /** For people: the same lines as in every other channel, `items` the first of `of`. */
    facts: factLines(view),
    approvers: view.demand.approvers,
    quorum: view.demand.quorum,
    assurance: view.demand.assurance,
    /** Most that an approval lets the result of each statement be; null: no limit. */
    limits: view.limits,
    policyDigest: view.policyDigest,
    digest: view.digest,
    createdAt: view.createdAt.toISOString(),
    expiresAt: view.expiresAt.toISOString(),
    waiting: view.waiting,
    /** Until when the agent's connection waits; null: none does. The request can be answered until `expiresAt`. */
    waitsUntil: view.waitsUntil?.toISOString() ?? null,
    url: view.url,
    verdicts: view.verdicts.map((verdict) => ({ ...verdict, at: verdict.at.toISOString() })),
    endedAt: view.endedAt?.toISOString() ?? null,
    endReason: view.endReason,
    // Counts can exceed what JSON numbers hold exactly: decimal strings.
    outcome:
      outcome === null ? null : { ...outcome, rows: String(outcome.rows), bytes: String(outcome.bytes) },
    receipt: view.receipt,
  };
}

export type RequestJson = ReturnType<typeof requestJson>;
