import type { OpenedRequest, OwnRequest, Question, Release } from '../approval/port.ts';
import type { SessionFacts } from '../audit/entry.ts';
import type { Limits } from '../config/limits.ts';
import type { Decision } from '../policy/decision.ts';
import type { ErrorFields, TransactionStatus } from '../protocol/backend.ts';
import type { Analysis, NameScope, StatementAnalysis } from '../statement/analysis.ts';
import type { ParameterValues } from '../statement/context.ts';
import type { OverBudget, SessionBudget } from './budget-port.ts';
import type { Effect } from './effect.ts';
import { Inbox } from './inbox.ts';
import type { InputEnd } from './input-end.ts';
import { Ledger, type LedgerEntry } from './ledger.ts';
import { Names } from './names.ts';
import { OpenRuns } from './open-runs.ts';
import type { Passed, Run } from './run.ts';
import type { Subject } from './subject.ts';

/** Where the session stands with the message that it judges. In every phase but `ready`, further messages wait. */
export const PHASES = [
  'ready',
  /** A worker parses the text. */
  'analysing',
  /** The server is asked what names mean and how large a result is. */
  'clarifying',
  /** A slice of the agent's budget is asked for. */
  'budgeting',
  /** Everything sent before must be answered first. */
  'settling',
  /** The catalog is read again after DDL. */
  'refreshing',
  /** The agent's own requests are looked up. */
  'listing',
  /** The server is asked whether it would reject the text anyway. */
  'probing',
  /** The request is being opened. */
  'opening',
  /** A person is asked. */
  'held',
  /** The receipt is verified and consumed. */
  'releasing',
  /** A result that is measured flows: nothing is sent behind it until it is complete. */
  'streaming',
  /** The rest of a result is thrown away, until the server has ended its statement and answered for it. */
  'stopping',
  'ended',
] as const;
export type Phase = (typeof PHASES)[number];

export type Prepared = {
  /** The SQL text's bytes: of Parse, or of the whole SQL PREPARE. */
  readonly sql: Buffer;
  readonly parameterTypes: readonly number[];
  /** As of `scopeKey`. */
  analysis: Analysis;
  /** What bare names meant when it was analysed; when that has changed (null: always) it is analysed again. */
  scopeKey: string | null;
  /** `namesKey` when its Parse was sent: the server has resolved them then. Null: it was not sent yet. */
  sentUnder: string | null;
  /** SHOW countersign.requests: the server has another text, which is exchanged at each Bind. */
  readonly lists: boolean;
  /** Made by SQL PREPARE: `sql` is that PREPARE alone, without the rest of its string. */
  readonly bySql: boolean;
};

export type Portal =
  /** Bound, in that Sync group, to the name of a statement or cursor that was not there: `fields` is what Execute says. */
  | { readonly kind: 'absent'; readonly fields: ErrorFields; readonly group: number }
  | {
      readonly kind: 'protocol';
      /** Null: an empty statement. */
      readonly run: Run | null;
      readonly copyIn: boolean;
      /** What was judged at Bind. */
      readonly subject: Subject;
      readonly prepared: Prepared;
      /** What the judgement rests on; null for a plain query, which was planned at Bind and cannot change any more. */
      readonly basis: string | null;
    }
  | {
      readonly kind: 'sql';
      readonly body: StatementAnalysis;
      readonly withHold: boolean;
      readonly sql: Buffer;
      /** What was fetched from it so far. */
      readonly passed: Passed;
    };

/** What changes of names are tagged with: the message or, within a Query, the statement. */
export type Tag = LedgerEntry | Run;

export type WithheldParse = { readonly name: string; readonly frame: Buffer; readonly prepared: Prepared };

/** The message that is being judged, with what was found out about it so far; judging starts over after each wait. */
export type Current = {
  readonly type: number;
  /** A copy: the socket's buffer is used again. */
  readonly frame: Buffer;
  analysis: Analysis | null;
  /** What names meant when `analysis` was asked for; it counts only as long as that is so. */
  analysisKey: string | null;
  /** With the server's answers about it, as of `scopeKey`; `analysis` null: it had none. Null: not asked yet. */
  clarified: { readonly scopeKey: string; readonly analysis: Analysis | null } | null;
  /** Undefined: not asked yet; null: the server accepts it. */
  rejection: ErrorFields | null | undefined;
  /** The agent's budgets were asked for more on its behalf. */
  budgetAsked: boolean;
  /** Why they could not be. */
  budgetFailed: string | null;
  /** One of them is used up. */
  overBudget: OverBudget | null;
  /** The agent's own requests, where it asks for them. Undefined: not looked up yet; null: they could not be. */
  listed: readonly OwnRequest[] | null | undefined;
  decision: Decision | null;
  /** When that was decided, microseconds since 1970 UTC: what people are asked is what a release is compared with. */
  decidedAt: number;
  /** What is asked about, for the intents that are recorded when the request has its id. */
  subject: Subject | null;
  /** Microseconds since 1970 UTC: when the hold on this connection ends. */
  waitsUntil: number;
  question: Question | null;
  request: OpenedRequest | null;
  /** People approved it; before the release it is judged once more. */
  approved: boolean;
  runs: readonly Run[];
  /** The client cancelled it before it was sent. */
  cancelled: boolean;
  /** The client left, or was to be sent away, while the request was being opened or released. */
  leave: 'gone' | 'drain' | null;
  release: Release | null;
  refusal: { readonly fields: ErrorFields; readonly outcome: 'denied' | 'expired' | 'withdrawn' } | null;
  /** No message: a statement that was sent, whose result waits in its middle. */
  readonly interrupted: Run | null;
};

/** What may be sent behind a statement whose result is measured. */
export type Stream = {
  /** Nothing: a Query. Of a group, its Sync, unless that would commit something. */
  readonly kind: 'query' | 'group';
  /** The group's Sync was sent. */
  synced: boolean;
  /** The server was asked to answer what it has. */
  flushed: boolean;
};

/** A result whose rest does not go to the client. */
export type Stop = {
  readonly run: Run;
  /** What the client gets in its place. */
  readonly fields: ErrorFields;
};

export type CopyIn = {
  readonly entry: LedgerEntry;
  /** CopyInResponse was seen. */
  open: boolean;
  /** CopyDone or CopyFail was sent. */
  closed: boolean;
  bytes: number;
  /** COPY FROM statements that follow in the same string. */
  readonly left: number;
};

export type CopyProbe = {
  /** The type of the client's message that has no place among COPY data, and was sent without its body; null: none. */
  readonly interruptedBy: number | null;
  /** The COPY was an Execute, so what follows its error is skipped up to Sync. */
  inGroup: boolean;
  /** The bare message was read, so the COPY had ended before it. */
  answered: boolean;
  /** ReadyForQuery since the COPY: those of the client's Sync messages that were not eaten, then those of ours. */
  readonly ready: Buffer[];
};

/** What a session is given. The functions are pure, or a snapshot of what the shell knows. */
export type SessionSetup = {
  readonly facts: SessionFacts;
  readonly mode: 'enforce' | 'observe';
  readonly limits: Limits;
  /** What is recorded of bind parameters where the rule does not say; left out: `full`. */
  readonly parameters?: NonNullable<Decision['parameters']>;
  /** Begins this session's refusal markers; at most 40 bytes of `[a-z0-9:]`. */
  readonly markerPrefix: string;
  /** The server tells of search_path in ParameterStatus (18 and later). */
  readonly reportsSearchPath: boolean;
  /** Pinned settings that have another value from the start: only in mode observe. */
  readonly unpinned?: readonly string[];
  readonly searchPath: readonly string[] | null;
  /** The database's encoding does not have every character; left out: it has. */
  readonly fewCharacters?: boolean;
  /** Null: too much for this thread; ask with the effect `analyse`. */
  readonly analyse: (
    sql: Buffer,
    scope: NameScope,
    catalogCertain: boolean,
    parameters: ParameterValues | null,
  ) => Analysis | null;
  /** `at`: microseconds since 1970 UTC, for rules with times. */
  readonly decide: (analysis: Analysis, at: number) => Decision;
  /** Left out: nothing is counted. */
  readonly budget?: SessionBudget;
  /** Changes when the catalog or the policy does. */
  readonly knowledge: () => string;
  /** Changes when names may have come to mean something else in the database; policy and sizes do not matter. */
  readonly objects: () => string;
};

export type SessionState = {
  readonly setup: SessionSetup;
  /** As of now: the client may have changed its application_name. */
  facts: SessionFacts;
  /** The same with the run that a statement claimed last. */
  traced: SessionFacts | null;
  phase: Phase;
  current: Current | null;
  readonly inbox: Inbox;
  withheld: WithheldParse[];
  readonly ledger: Ledger;
  readonly statements: Names<Prepared, Tag>;
  readonly portals: Names<Portal, Tag>;
  /** Number of the present Sync group. */
  group: number;
  transaction: TransactionStatus;
  /** The server discards everything up to a Sync that was not sent yet. */
  skipping: boolean;
  /** SQLSTATE of the error that failed the group whose Z is due. */
  groupError: string | null;
  copy: CopyIn | null;
  /** Set while nothing may be sent behind a result. */
  stream: Stream | null;
  stop: Stop | null;
  /** A COPY has failed, or is about to, and the server was asked how far it had read; until then nothing goes upstream. */
  copyProbe: CopyProbe | null;
  /** Extended messages were sent since the last Sync or Query: a timeout can strike between two of them. */
  groupOpen: boolean;
  cancelInFlight: boolean;
  /** Another cancel came while one was in flight, for what waits behind it. */
  cancelNext: boolean;
  clientGone: boolean;
  /** Set once the end of the client's input was seen; it takes effect in its place behind what was sent before. */
  inputEnd: InputEnd | null;
  /** Terminate, or the end of the input, waits in the inbox: whoever would be asked about a statement finds nobody. */
  leaving: boolean;
  /** The server itself said why it ends the session. */
  fatalSeen: boolean;
  /** Runs whose outcome is not recorded yet. */
  readonly openRuns: OpenRuns;
  /** Pinned settings that have another value now: only in mode observe. */
  readonly unpinned: Set<string>;
  unpinnedOnce: boolean;
  /** What may change a pinned setting is under way, and the server has not reported since. */
  pinnedUncertain: boolean;
  /** The Sync group of it. */
  pinnedGroup: number;
  statementNo: number;
  refusalNo: number;
  /** Answers about budgets that are to come: only the last one is about what waits now. */
  slicesDue: number;
  /** The Sync group of the last refusal. */
  refusedGroup: number;
  /** A Query has failed in this transaction, perhaps while it was executed. */
  queryFailed: boolean;
  /** Portals whose Bind has failed in this transaction: the server may have them, empty. */
  readonly failedBinds: Set<string>;
  /** A refused Bind has left a statement of ours on the server. */
  leftover: boolean;
  searchPath: readonly string[] | null;
  /** search_path was set since the transaction began: its end may undo that. */
  pathSetInTransaction: boolean;
  /** A statement that may change search_path is under way, or has run where the server does not tell. */
  searchPathUncertain: boolean;
  tempPossible: boolean;
  /** DDL ran in this transaction, or the catalog was not read again since. */
  catalogUncertain: boolean;
  refreshing: boolean;
  effects: Effect[];
  /** Microseconds since 1970 UTC, set by the shell before each call. */
  now: number;
};

export function createState(setup: SessionSetup): SessionState {
  return {
    setup,
    facts: setup.facts,
    traced: null,
    phase: 'ready',
    current: null,
    inbox: new Inbox(),
    withheld: [],
    ledger: new Ledger(),
    statements: new Names(),
    portals: new Names(),
    group: 1,
    transaction: 'I',
    skipping: false,
    groupError: null,
    copy: null,
    stream: null,
    stop: null,
    copyProbe: null,
    groupOpen: false,
    cancelInFlight: false,
    cancelNext: false,
    clientGone: false,
    inputEnd: null,
    leaving: false,
    fatalSeen: false,
    openRuns: new OpenRuns(),
    unpinned: new Set(setup.unpinned),
    unpinnedOnce: (setup.unpinned?.length ?? 0) > 0,
    pinnedUncertain: false,
    pinnedGroup: 0,
    statementNo: 0,
    refusalNo: 0,
    slicesDue: 0,
    refusedGroup: 0,
    queryFailed: false,
    failedBinds: new Set(),
    leftover: false,
    searchPath: setup.searchPath,
    searchPathUncertain: false,
    pathSetInTransaction: false,
    tempPossible: false,
    catalogUncertain: false,
    refreshing: false,
    effects: [],
    now: 0,
  };
}

/** How bare names are resolved at this moment. */
export function scopeOf(state: SessionState): NameScope {
  return {
    searchPath: state.searchPathUncertain ? null : state.searchPath,
    tempPossible: state.tempPossible,
  };
}

/** Equal keys: the same text means the same. */
export function scopeKey(state: SessionState): string {
  return `${state.setup.knowledge()}\u0001${pathKey(state)}`;
}

/** Equal keys: the server resolves the same text to the same objects. */
export function namesKey(state: SessionState): string {
  return `${state.setup.objects()}\u0001${pathKey(state)}`;
}

function pathKey(state: SessionState): string {
  const path = state.searchPathUncertain ? '?' : (state.searchPath?.join('\u0000') ?? '?');
  return `${state.tempPossible}\u0001${state.catalogUncertain}\u0001${path}`;
}

/** What the judgement of a command that looks names up only when it is executed rests on. */
export function basisOf(state: SessionState, analysis: Analysis): string {
  if (!analysis.statements.some(({ symbols }) => symbols.some(usesName))) return scopeKey(state);
  return `${scopeKey(state)}\u0001${state.statements.changes}\u0001${state.portals.changes}`;
}

function usesName({ kind }: StatementAnalysis['symbols'][number]): boolean {
  return kind === 'execute' || kind === 'fetch';
}

/** All but plain queries, which are analysed and planned at Bind, if no user function looks names up while they run. */
export function looksUpLate(analysis: Analysis): boolean {
  return analysis.statements.some(
    ({ command, class: rank, runsUserCode }) =>
      !PLANNED_AT_BIND.has(command) || rank === 'ddl' || runsUserCode === true,
  );
}

const PLANNED_AT_BIND: ReadonlySet<string> = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'MERGE']);

export function newCurrent(type: number, frame: Buffer, interrupted: Run | null = null): Current {
  return {
    type,
    frame: Buffer.from(frame),
    analysis: null,
    analysisKey: null,
    clarified: null,
    rejection: undefined,
    budgetAsked: false,
    budgetFailed: null,
    overBudget: null,
    listed: undefined,
    decision: null,
    decidedAt: 0,
    subject: null,
    waitsUntil: 0,
    question: null,
    request: null,
    approved: false,
    runs: [],
    cancelled: false,
    leave: null,
    release: null,
    refusal: null,
    interrupted,
  };
}
