import { createHash } from 'node:crypto';
import type { ApprovalDemand, DemandWindow } from '../policy/decision.ts';
import { type CanonicalValue, canonicalJson } from './canonical-json.ts';
import type { Question } from './port.ts';

/**
 * What an approval is bound to (DESIGN.md, section 10). Holds digests instead of the statement and the parameters, so
 * that it can be stored where secret literals must not be; flat data only, for RFC 8785.
 */
export type Binding = {
  readonly version: 1;
  readonly sqlSha256: string;
  /** Over the parameters with types and formats, and the result formats. */
  readonly parametersSha256: string;
  /** Over what approvers were shown in their place: a changed card is a changed request. */
  readonly shownSha256: string;
  /** Over what else they were told: class, rule, reasons, and the context (`Told`). */
  readonly toldSha256: string;
  readonly agent: string;
  readonly owner: string | null;
  readonly run: string | null;
  readonly onBehalfOf: string | null;
  readonly database: string;
  readonly role: string;
  readonly searchPath: string;
  readonly relations: readonly {
    readonly name: string;
    readonly oid: number | null;
    readonly mode: 'read' | 'write';
  }[];
  /** Users' functions as the server resolved them, with digests of their bodies. */
  readonly calls: readonly string[];
  readonly policyDigest: string;
  readonly demand: {
    readonly approvers: readonly string[];
    readonly quorum: number;
    readonly assurance: number;
    /** Left out where the rule has none, so that digests of others stay as they are. */
    readonly onCall?: readonly DemandWindow[];
    readonly maxPerMinute?: number;
    /** Who may answer as well from a moment on (`fromMs`, milliseconds since 1970 UTC, by the database's clock). */
    readonly escalation?: {
      readonly approvers: readonly string[];
      readonly afterMs: number;
      readonly fromMs: number;
    };
  };
  readonly limits: { readonly rows: number | null; readonly bytes: number | null };
  readonly nonce: string;
  /** Milliseconds since 1970 UTC, by the database's clock at opening. */
  readonly expiresAtMs: number;
};

/**
 * `openedAtMs`: when the request was opened, by the database's clock. Throws `TypeError` later on, where the text is made,
 * if the demand has an escalation and this was left out.
 */
export function bindingOf(
  question: Question,
  nonce: string,
  expiresAtMs: number,
  openedAtMs: number = Number.NaN,
): Binding {
  const { session, demand } = question;
  return {
    version: 1,
    sqlSha256: sha256Hex(question.sqlBytes),
    parametersSha256: sha256Hex(parametersText(question)),
    shownSha256: shownSha256(question.sql, question.parameters),
    toldSha256: toldSha256(question),
    agent: session.agent,
    owner: session.owner,
    run: session.run,
    onBehalfOf: session.onBehalfOf,
    database: session.database,
    role: session.role,
    searchPath: question.searchPath,
    relations: [...question.relations]
      .map(({ name, oid, mode }) => ({ name, oid, mode }))
      .sort((a, b) => compareText(canonicalJson(a), canonicalJson(b))),
    calls: [...question.calls].sort(),
    policyDigest: question.policyDigest,
    demand: {
      approvers: [...demand.approvers].sort(),
      quorum: demand.quorum,
      assurance: demand.assurance,
      ...(demand.onCall === undefined ? {} : { onCall: demand.onCall }),
      ...(demand.maxPerMinute === undefined ? {} : { maxPerMinute: demand.maxPerMinute }),
      ...escalationBinding(demand, openedAtMs),
    },
    limits: question.limits ?? { rows: null, bytes: null },
    nonce,
    expiresAtMs,
  };
}

function escalationBinding(
  { escalation }: ApprovalDemand,
  openedAtMs: number,
): Pick<Binding['demand'], 'escalation'> {
  if (escalation === undefined) return {};
  const { approvers, afterMs } = escalation;
  return { escalation: { approvers: [...approvers].sort(), afterMs, fromMs: openedAtMs + afterMs } };
}

/** The stored form of a binding; its sha256 is the digest. */
export function bindingText(binding: Binding): string {
  return canonicalJson(binding);
}

export function bindingDigest(binding: Binding): string {
  return sha256Hex(bindingText(binding));
}

/** Equal for a statement that is sent again: the digest's content without run, what was told, nonce and expiry. */
export function attachKey(binding: Binding): string {
  const { run: _run, toldSha256: _told, nonce: _nonce, expiresAtMs: _expires, demand, ...rest } = binding;
  return sha256Hex(canonicalJson({ ...rest, demand: withoutMoment(demand) }));
}

function withoutMoment({ escalation, ...demand }: Binding['demand']): CanonicalValue {
  if (escalation === undefined) return demand;
  return { ...demand, escalation: { approvers: escalation.approvers, afterMs: escalation.afterMs } };
}

/** Equal also when policy or objects changed in between: such an older request is superseded. */
export function statementKey(binding: Binding): string {
  const { sqlSha256, parametersSha256, agent, onBehalfOf, database, role, searchPath } = binding;
  return sha256Hex(
    canonicalJson({ sqlSha256, parametersSha256, agent, onBehalfOf, database, role, searchPath }),
  );
}

function parametersText(question: Question): string {
  return canonicalJson({
    parameters:
      question.parameters?.map(({ typeOid, format, value }) => ({
        typeOid,
        format,
        value: value === null ? null : value.toString('hex'),
      })) ?? null,
    resultFormats: question.resultFormats,
  });
}

/** The sha256 of what people are shown as statement and parameters. */
export function shownSha256(
  sql: string,
  parameters: readonly { readonly shown: string | null }[] | null,
): string {
  // As hex of the UTF-8: shown text may hold what canonical JSON refuses.
  const hex = (text: string) => Buffer.from(text, 'utf8').toString('hex');
  const shown = parameters?.map((parameter) => (parameter.shown === null ? null : hex(parameter.shown)));
  return sha256Hex(canonicalJson({ sql: hex(sql), parameters: shown ?? null }));
}

/** What people are told beside the statement and its parameters. */
export type Told = Pick<Question, 'class' | 'rule' | 'command' | 'reasons' | 'inTransaction' | 'context'>;

export function toldSha256({ class: rank, rule, command, reasons, inTransaction, context }: Told): string {
  // Not canonical JSON: reasons may hold what that refuses. The text is made from the stored form, key by key.
  return sha256Hex(JSON.stringify([rank, rule, command, reasons, inTransaction, context ?? null]));
}

export function sha256Hex(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
