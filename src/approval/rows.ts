import type { SessionFacts } from '../audit/entry.ts';
import type { ApprovalDemand } from '../policy/decision.ts';
import { demandAt } from '../policy/escalation.ts';
import type { Binding, Told } from './digest.ts';
import type { Channel, RequestView, ShownOutcome, ShownParameter, ShownVerdict } from './guard.ts';
import { isLive } from './machine.ts';
import { ALIKE } from './merging.ts';
import type { Ended, Question, RequestContext, RequestState } from './port.ts';

/** A row of `countersign.request` with its verdicts, as `REQUEST_COLUMNS` selects it. */
export type RequestRow = {
  readonly id: string;
  readonly state: RequestState;
  readonly sql: string;
  readonly class: string;
  readonly rule: string;
  readonly command: string;
  readonly shown: string;
  readonly parameters: string | null;
  readonly cut: boolean;
  readonly binding: string;
  readonly digest: string;
  readonly forbidden: readonly string[];
  readonly agent: string;
  readonly owner: string | null;
  readonly on_behalf_of: string | null;
  readonly database: string;
  readonly role: string;
  readonly quorum: number;
  readonly assurance: number;
  readonly nonce: string;
  readonly created_at: Date;
  readonly expires_at: Date;
  /** The database's time when the row was read, milliseconds since 1970 UTC. */
  readonly now_ms: number;
  readonly revision: string;
  readonly attached: boolean;
  /** Of the hold that it was opened for, or that attached to it last. */
  readonly waits_until: Date | null;
  readonly receipt: string | null;
  readonly receipt_expires_at: Date | null;
  readonly ended_at: Date | null;
  readonly ended_by: string | null;
  readonly end_reason: string | null;
  readonly outcome: string | null;
  readonly verdicts: readonly VerdictRow[];
  /** Open requests that are shown as one with this one, oldest first, itself among them. */
  readonly alike: readonly string[];
  /** Requests of its agent that were not opened within the last ten minutes, for it was over a limit; 0 once ended. */
  readonly refusals: number;
};

export type VerdictRow = {
  readonly person: string;
  readonly verdict: 'approve' | 'deny';
  readonly reason: string | null;
  readonly channel: Channel;
  readonly assurance: 1 | 2 | 3;
  readonly ids: readonly string[];
  readonly facts: string;
  /** Milliseconds since 1970 UTC. */
  readonly at_ms: number;
  /** `sealVerdict`; attacker-controlled. */
  readonly seal: string;
};

/** True where a live process holds request `r`. */
export const ATTACHED = `(r.attached_by IS NOT NULL AND EXISTS (SELECT FROM countersign.process p
  WHERE p.id = r.attached_by AND p.lease_until > clock_timestamp()))`;

const COLUMNS = `r.id, r.state, r.class, r.rule, r.command, r.shown, r.binding, r.digest,
  r.forbidden, r.agent, r.owner, r.on_behalf_of, r.database, r.role, r.quorum, r.assurance, r.nonce, r.created_at,
  r.expires_at, floor(extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now_ms, r.revision,
  ${ATTACHED} AS attached, r.waits_until, r.receipt, r.receipt_expires_at, r.ended_at, r.ended_by,
  r.end_reason, r.outcome, (SELECT coalesce(json_agg(json_build_object('person', v.person, 'verdict', v.verdict,
    'reason', v.reason, 'channel', v.channel, 'assurance', v.assurance, 'ids', v.ids, 'facts', v.facts, 'seal', v.seal,
    'at_ms', floor(extract(epoch FROM v.at) * 1000)) ORDER BY v.at, v.person), '[]')
    FROM countersign.verdict v WHERE v.request_id = r.id) AS verdicts, ${ALIKE} AS alike,
  CASE WHEN r.state IN ('open', 'approved') THEN (SELECT coalesce(sum(f.refused), 0)::int
    FROM countersign.agent_refusal f WHERE f.agent = r.agent AND f.minute > clock_timestamp() - interval '10 minutes')
    ELSE 0 END AS refusals`;

/** Everything that a `RequestRow` has. */
export const REQUEST_COLUMNS = `r.sql, r.parameters, false AS cut, ${COLUMNS}`;

/** The same for listings: fifty statements of ten megabytes are nothing to hold in memory for a table. */
export function listedColumns(characters: number): string {
  const [sql, parameters] = [
    `length(r.sql) > ${characters}`,
    `length(coalesce(r.parameters, '')) > ${characters}`,
  ];
  return `left(r.sql, ${characters}) AS sql, CASE WHEN ${parameters} THEN NULL ELSE r.parameters END AS parameters,
    (${sql} OR ${parameters}) AS cut, ${COLUMNS}`;
}

/** What the request's row keeps for people beside its own columns, as JSON text. */
export type Shown = {
  readonly session: SessionFacts;
  readonly sqlLength: number;
  readonly reasons: readonly string[];
  readonly inTransaction: boolean;
  /** Slack channel that the rule names; left out: the configuration's. */
  readonly channel?: string;
  /** The one that gets a card when the request escalates. */
  readonly escalationChannel?: string;
  readonly context?: RequestContext;
};

export function shownOf(question: Question): Shown {
  const { channel, escalation } = question.demand;
  return {
    session: question.session,
    sqlLength: question.sqlBytes.length,
    reasons: question.reasons,
    inTransaction: question.inTransaction,
    ...(channel === undefined ? {} : { channel }),
    ...(escalation?.channel === undefined ? {} : { escalationChannel: escalation.channel }),
    ...(question.context === undefined ? {} : { context: question.context }),
  };
}

/** What the row's people were told, for the digest. */
export function toldOf(row: RequestRow): Told {
  const { reasons, inTransaction, context } = parseShown(row);
  const { class: rank, rule, command } = row;
  return {
    class: rank,
    rule,
    command,
    reasons,
    inTransaction,
    ...(context === undefined ? {} : { context }),
  };
}

/** The parameters as they are stored, JSON text. */
export function parametersText({ parameters }: Question): string | null {
  if (parameters === null) return null;
  const shown: readonly ShownParameter[] = parameters.map(({ typeOid, format, shown, value }) => ({
    typeOid,
    format,
    shown,
    length: value?.length ?? 0,
  }));
  return JSON.stringify(shown);
}

export function viewOf(row: RequestRow, publicUrl: string): RequestView {
  const shown = parseShown(row);
  const binding = parseBinding(row);
  return {
    id: row.id,
    state: row.state,
    session: shown.session,
    sql: row.sql,
    sqlLength: shown.sqlLength,
    sqlSha256: binding.sqlSha256,
    parameters: parseParameters(row),
    ...(row.cut ? { cut: true } : {}),
    command: row.command,
    class: row.class,
    rule: row.rule,
    reasons: shown.reasons,
    relations: binding.relations.map(({ name, mode }) => ({ name, mode })),
    searchPath: binding.searchPath,
    policyDigest: binding.policyDigest,
    demand: demandOf(binding, shown),
    escalatesAt: escalatesAt(binding),
    demandNow: demandNow(row),
    escalated: (binding.demand.escalation?.fromMs ?? Number.POSITIVE_INFINITY) <= row.now_ms,
    limits: binding.limits,
    inTransaction: shown.inTransaction,
    context: shown.context ?? null,
    digest: row.digest,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    url: requestUrl(publicUrl, row.id),
    waiting: row.attached && isLive(row.state),
    waitsUntil: row.attached && isLive(row.state) ? row.waits_until : null,
    alike: row.alike,
    refusals: row.refusals,
    verdicts: row.verdicts.map(shownVerdict),
    endedAt: row.ended_at,
    endReason: row.end_reason,
    outcome: row.outcome === null ? null : parseOutcome(row.outcome),
    elapsedMs: row.outcome === null ? null : elapsedMs(row.outcome),
    receipt: row.receipt,
    revision: BigInt(row.revision),
  };
}

/** Ids come from channels and are attacker-controlled: only of this form do they reach the database. */
export function isRequestId(id: string): boolean {
  return /^req_[0-9A-Za-z]{20,26}$/.test(id);
}

/** What the rule asks of approvers, as it was bound when the request was opened. */
function demandOf({ demand }: Binding, { channel, escalationChannel }: Shown): ApprovalDemand {
  const { approvers, quorum, assurance, onCall, maxPerMinute, escalation } = demand;
  return {
    approvers,
    quorum,
    assurance: assurance === 3 ? 3 : assurance === 2 ? 2 : 1,
    ...(channel === undefined ? {} : { channel }),
    ...(onCall === undefined ? {} : { onCall }),
    ...(maxPerMinute === undefined ? {} : { maxPerMinute }),
    ...(escalation === undefined
      ? {}
      : {
          escalation: {
            afterMs: escalation.afterMs,
            approvers: escalation.approvers,
            ...(escalationChannel === undefined ? {} : { channel: escalationChannel }),
          },
        }),
  };
}

/** The same at the moment when the row was read: who may answer since it escalated is in. */
export function demandNow(row: RequestRow): ApprovalDemand {
  const binding = parseBinding(row);
  const fromMs = binding.demand.escalation?.fromMs ?? null;
  return demandAt(demandOf(binding, parseShown(row)), fromMs, row.now_ms);
}

function escalatesAt({ demand: { escalation } }: Binding): Date | null {
  return escalation === undefined ? null : new Date(escalation.fromMs);
}

export function requestUrl(publicUrl: string, id: string): string {
  return `${publicUrl}/requests/${id}`;
}

/** Null while a request can still be answered or released, and once it was released. */
export function endedOf(row: RequestRow): Ended | null {
  if (row.state !== 'denied' && row.state !== 'expired' && row.state !== 'withdrawn') return null;
  return { people: row.ended_by === null ? [] : [row.ended_by], reason: row.end_reason };
}

/** These two were written by this program; a CHECK ties the digest to the binding. */
export function parseBinding(row: Pick<RequestRow, 'binding'>): Binding {
  return JSON.parse(row.binding) as Binding;
}

export function parseShown(row: Pick<RequestRow, 'shown'>): Shown {
  return JSON.parse(row.shown) as Shown;
}

export function parseParameters({
  parameters,
}: Pick<RequestRow, 'parameters'>): readonly ShownParameter[] | null {
  return parameters === null ? null : (JSON.parse(parameters) as ShownParameter[]);
}

export function outcomeText({ tag, rows, bytes, sqlstate }: ShownOutcome): string {
  return JSON.stringify({ tag, rows: String(rows), bytes: String(bytes), sqlstate });
}

/** Added by the database when it stored the outcome. */
function elapsedMs(outcome: string): number | null {
  const { ms } = JSON.parse(outcome) as { readonly ms?: number };
  return ms ?? null;
}

function parseOutcome(text: string): ShownOutcome {
  const { tag, rows, bytes, sqlstate } = JSON.parse(text) as {
    tag: string | null;
    rows: string;
    bytes: string;
    sqlstate: string | null;
  };
  return { tag, rows: BigInt(rows), bytes: BigInt(bytes), sqlstate };
}

/** As the rules judge them. */
export function standingVerdicts({
  verdicts,
}: RequestRow): readonly (VerdictRow & { readonly atMs: number })[] {
  return verdicts.map((verdict) => ({ ...verdict, atMs: verdict.at_ms }));
}

function shownVerdict({ person, channel, verdict, reason, assurance, at_ms }: VerdictRow): ShownVerdict {
  return { person, channel, verdict, reason, assurance, at: new Date(at_ms) };
}
