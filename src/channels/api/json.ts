import type * as z from 'zod';
import { askedAt } from '../../approval/eligibility.ts';
import type { RequestView } from '../../approval/guard.ts';
import { challengeOf } from '../../signing/assertion.ts';
import { relyingPartyOf } from '../../signing/passkey.ts';
import { factLines } from '../fact-lines.ts';
import type { requestSchema } from './schemas.ts';

/** A request as the HTTP API gives it. */
export type RequestJson = z.output<typeof requestSchema>;

/** A request in the form that `schemas.ts` describes. */
export function requestJson(view: RequestView, snoozedUntil: Date | null = null): RequestJson {
  const { session, outcome } = view;
  return {
    id: view.id,
    state: view.state,
    revision: String(view.revision),
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
    context: view.context,
    facts: factLines(view),
    approvers: view.demand.approvers,
    quorum: view.demand.quorum,
    assurance: view.demand.assurance,
    escalation:
      view.demand.escalation === undefined || view.escalatesAt === null
        ? null
        : { at: view.escalatesAt.toISOString(), approvers: view.demand.escalation.approvers },
    escalated: view.escalated,
    limits: view.limits,
    policyDigest: view.policyDigest,
    digest: view.digest,
    passkey: passkeyOf(view),
    createdAt: view.createdAt.toISOString(),
    expiresAt: view.expiresAt.toISOString(),
    waiting: view.waiting,
    waitsUntil: view.waitsUntil?.toISOString() ?? null,
    alike: view.alike,
    refusals: view.refusals,
    onCall: view.demand.onCall ?? [],
    onCallNow: askedAt({ ...view.demandNow, approvers: [] }, Date.now()),
    maxPerMinute: view.demand.maxPerMinute ?? null,
    snoozedUntil: snoozedUntil?.toISOString() ?? null,
    url: view.url,
    verdicts: view.verdicts.map((verdict) => ({ ...verdict, at: verdict.at.toISOString() })),
    endedAt: view.endedAt?.toISOString() ?? null,
    endReason: view.endReason,
    outcome:
      outcome === null ? null : { ...outcome, rows: String(outcome.rows), bytes: String(outcome.bytes) },
    elapsedMs: view.elapsedMs,
    receipt: view.receipt,
  };
}

/** The address of its page begins with that of the installation. */
function passkeyOf({ digest, url }: RequestView): RequestJson['passkey'] {
  const party = relyingPartyOf(url);
  return party === null ? null : { challenge: challengeOf(digest), rpId: party.id, origin: party.origin };
}

/** For lists and events: without the text and parameters that are longer than `characters`. */
export function cutJson(view: RequestView, characters: number): RequestJson {
  const { sql, parameters } = view;
  const long = sql.length > characters;
  const size = parameters?.reduce((sum, { shown }) => sum + (shown?.length ?? 4), 0) ?? 0;
  if (!long && size <= characters) return requestJson(view);
  return requestJson({
    ...view,
    sql: long ? sql.slice(0, characters).replace(/[\ud800-\udbff]$/, '') : sql,
    parameters: size > characters ? null : parameters,
    cut: true,
  });
}
