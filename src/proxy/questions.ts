/** Effects of the core that the world answers later: each becomes the event that answers it. */
import type { Approvals, Asker, BoundParameter, ContextFinding, OwnRequest } from '../approval/port.ts';
import { QuestionTooLong, ReleaseRefused, TooManyRequests } from '../approval/port.ts';
import { type AuditLog, AuditUnavailable } from '../audit/entry.ts';
import type { Limits } from '../config/limits.ts';
import type { ErrorFields } from '../protocol/backend.ts';
import type { Effect } from '../session/effect.ts';
import type { Subject } from '../session/subject.ts';
import type { WaitEvent } from '../session/waits.ts';
import type { AskLimit } from '../session/wording.ts';
import type { Analysis, NameScope } from '../statement/analysis.ts';
import type { RelayObserver } from './relay-observer.ts';

export type RelayLog = {
  readonly warn: (facts: object, message: string) => void;
  readonly error: (facts: object, message: string) => void;
};

export type Findings = (
  subject: Subject,
  scope: NameScope,
  catalogCertain: boolean,
) => Promise<readonly ContextFinding[]>;

/** What a relay needs of the rest of the program. */
export type RelayPorts = {
  readonly limits: Limits;
  readonly audit: AuditLog;
  readonly strict: boolean;
  readonly approvals: Approvals;
  readonly log: RelayLog;
  /** In a worker, for texts that are too much for this thread. */
  readonly analyseLater: (sql: Buffer, scope: NameScope, catalogCertain: boolean) => Promise<Analysis>;
  /** The analysis again, with the server's answers (`fresh`: of this moment); null: there were none. */
  readonly clarify: (
    fresh: boolean,
    sql: Buffer,
    scope: NameScope,
    analysis: Analysis,
    parameters: readonly BoundParameter[] | null,
  ) => Promise<Analysis | null>;
  /** Null: the server accepts the text, or could not be asked. */
  readonly probe: (sql: Buffer, scope: NameScope) => Promise<ErrorFields | null>;
  /** What the statement would touch, for people; never rejects, and answers in bounded time. */
  readonly findings: Findings;
  /** What the agent has taken of its budgets, for people; never rejects, and answers in bounded time. */
  readonly standing: (statements: Analysis['statements']) => Promise<readonly ContextFinding[]>;
  readonly refreshCatalog: () => Promise<void>;
  /** Slices of the agent's budgets for these statements; rejects where they cannot be had. */
  readonly budget: (statements: Analysis['statements']) => Promise<void>;
  /** Resolves at the EOF of the cancel's own connection. */
  readonly cancelUpstream: () => Promise<void>;
  readonly observe: RelayObserver;
};

/** What is asked, and told, in the background. */
export type LaterEffect = Extract<
  Effect,
  {
    kind:
      | 'analyse'
      | 'clarify'
      | 'budget'
      | 'probe'
      | 'refreshCatalog'
      | 'list'
      | 'open'
      | 'release'
      | 'withdraw'
      | 'detach'
      | 'end';
  }
>;

/**
 * Resolves with the event that answers; null: nothing waits for it. Rejects where there is no answer and the session
 * cannot go on. `lastSeq`: the last entry recorded for this session.
 */
export async function ask(
  effect: LaterEffect,
  ports: RelayPorts,
  lastSeq: bigint,
): Promise<WaitEvent | null> {
  switch (effect.kind) {
    case 'analyse':
      return {
        kind: 'analysed',
        analysis: await ports.analyseLater(effect.sql, effect.scope, effect.catalogCertain),
      };
    case 'clarify': {
      const { fresh, sql, scope, analysis, parameters } = effect;
      return { kind: 'clarified', analysis: await ports.clarify(fresh, sql, scope, analysis, parameters) };
    }
    case 'probe':
      return { kind: 'probed', rejection: await ports.probe(effect.sql, effect.scope) };
    case 'budget':
      return ports.budget(effect.analysis.statements).then(
        () => ({ kind: 'sliced', failed: null }),
        (error: Error) => ({ kind: 'sliced', failed: whyNot(error, ports.log) }),
      );
    case 'refreshCatalog':
      await ports.refreshCatalog();
      return { kind: 'refreshed' };
    case 'list':
      return { kind: 'listed', requests: await ownRequests(effect, ports) };
    case 'open':
      return open(effect, ports);
    case 'release':
      return release(effect, ports, lastSeq);
    default:
      await tell(effect, ports);
      return null;
  }
}

async function ownRequests(
  asker: Asker,
  { approvals, log }: RelayPorts,
): Promise<readonly OwnRequest[] | null> {
  try {
    return await approvals.openOf(asker);
  } catch (error) {
    log.warn({ err: error as Error }, 'the requests of an agent could not be looked up');
    return null;
  }
}

async function open(
  { question, subject, scope, catalogCertain }: Extract<Effect, { kind: 'open' }>,
  { approvals, findings, standing, log }: RelayPorts,
): Promise<WaitEvent> {
  try {
    const { context } = question;
    if (context === undefined) return { kind: 'opened', request: await approvals.open(question) };
    const found = await Promise.all([
      standing(subject.analysis.statements),
      findings(subject, scope, catalogCertain),
    ]);
    const told = { ...question, context: { ...context, findings: found.flat() } };
    return { kind: 'opened', request: await approvals.open(told) };
  } catch (error) {
    return { kind: 'openFailed', why: whyNot(error as Error, log), limit: limitOf(error) };
  }
}

async function release(
  { requestId, question }: Extract<Effect, { kind: 'release' }>,
  { approvals, audit, log }: RelayPorts,
  lastSeq: bigint,
): Promise<WaitEvent> {
  try {
    // The intent must be in the audit database before anything is consumed.
    await audit.committed(lastSeq);
    return { kind: 'released', release: await approvals.release(requestId, question) };
  } catch (error) {
    return { kind: 'releaseFailed', why: whyNot(error as Error, log, requestId) };
  }
}

/** For the agent: what it may know. Errors of the database and of sockets name hosts and tables, and are for the log. */
function whyNot(error: Error, log: RelayLog, requestId: string | null = null): string {
  log.warn({ err: error, requestId }, 'what a session asked for was refused, or could not be had');
  return OWN_ERRORS.some((own) => error instanceof own) ? error.message : AWAY;
}

const OWN_ERRORS = [TooManyRequests, QuestionTooLong, ReleaseRefused, AuditUnavailable] as const;
const AWAY = 'the store of requests could not be asked at this moment';

function limitOf(error: unknown): AskLimit {
  if (error instanceof TooManyRequests) return 'requests';
  return error instanceof QuestionTooLong ? 'size' : null;
}

/** What fails here is settled by the approval store's own rounds. */
async function tell(
  effect: Extract<LaterEffect, { kind: 'withdraw' | 'detach' | 'end' }>,
  ports: RelayPorts,
): Promise<void> {
  const { approvals, log } = ports;
  const { requestId } = effect;
  try {
    if (effect.kind === 'withdraw') await approvals.withdraw(requestId, effect.why);
    else if (effect.kind === 'detach') await approvals.detach(requestId);
    else {
      const { outcome, tag, sqlstate } = effect;
      await approvals.end(requestId, outcome, {
        tag,
        rows: BigInt(effect.rows),
        bytes: BigInt(effect.bytes),
        sqlstate,
      });
    }
  } catch (error) {
    log.error({ err: error as Error, requestId }, `the approval store was not told: ${effect.kind}`);
  }
}
