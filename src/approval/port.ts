import type { SessionFacts } from '../audit/entry.ts';
import type { ApprovalDemand } from '../policy/decision.ts';

/** What a hold puts to people. Built once, from the bytes; every channel shows the same. */
export type Question = {
  readonly session: SessionFacts;
  /** The statement's bytes exactly as they would be forwarded (the SQL text of Query, or of Parse). */
  readonly sqlBytes: Buffer;
  /** The same for people: control, bidirectional and zero-width characters visible, secrets replaced. */
  readonly sql: string;
  /** Bind parameters as sent, null for simple protocol. Part of the digest. */
  readonly parameters: readonly BoundParameter[] | null;
  readonly resultFormats: readonly number[];
  readonly class: string;
  readonly rule: string;
  readonly reasons: readonly string[];
  readonly relations: readonly {
    readonly name: string;
    readonly oid: number | null;
    readonly mode: 'read' | 'write';
  }[];
  /** Users' functions that the server says are called, with their bodies' digests (`StatementAnalysis.calls`). */
  readonly calls: readonly string[];
  /** The search_path as the session sees it, for the digest. */
  readonly searchPath: string;
  readonly policyDigest: string;
  readonly demand: ApprovalDemand;
  readonly inTransaction: boolean;
  readonly command: string;
  /** What the approval allows to flow at most; absent: no limit of its own. Part of the digest. */
  readonly limits?: { readonly rows: number | null; readonly bytes: number | null };
  /** How long the connection is going to wait for the answer, milliseconds; left out: it does not. */
  readonly holdMs?: number;
  /** Left out where the question is only built to be compared: a request keeps the context that it was opened with. */
  readonly context?: RequestContext;
};

/**
 * What people are told beside the statement, found out once, when a request is opened, and stored with it. Estimates and
 * what agents claim can be wrong, so no decision rests on it; the digest binds what was shown. Every text in it is already
 * visible (`‹U+202E›`) and bounded.
 */
export type RequestContext = {
  /** What the agent says in comments, in the form of sqlcommenter, or (`from`) elsewhere. */
  readonly claims: readonly ContextClaim[];
  /** Of a string of several statements, which run as one; left out: there is one. */
  readonly statements?: {
    readonly of: number;
    readonly held: number;
    readonly first: readonly ContextStatement[];
  };
  /** What the statement crosses to: another role, files, the network … */
  readonly boundary: readonly string[];
  readonly relations: readonly ContextRelation[];
  /** Estimates, locks, and what would be touched, or that it is not known. */
  readonly findings: readonly ContextFinding[];
  /** What has already flowed of a result that is asked about in mid-stream; decimal numbers. */
  readonly sent: { readonly rows: string; readonly bytes: string } | null;
};

export type ContextClaim = {
  readonly key: string;
  readonly value: string;
  readonly from?: 'application_name';
};

export type ContextStatement = {
  /** Its place in the string, from 1. */
  readonly number: number;
  readonly command: string;
  readonly class: string;
  /** It needs approval by itself. */
  readonly held: boolean;
  /** Null: it does not. */
  readonly why: string | null;
};

export type ContextRelation = {
  readonly name: string;
  readonly mode: 'read' | 'write';
  /** Null: any of them. */
  readonly read: readonly string[] | null;
  readonly written: readonly string[] | null;
  readonly tags: readonly string[];
};

export type ContextFinding = {
  readonly label: string;
  readonly text: string;
  /** The first of `of`. */
  readonly items: readonly string[];
  readonly of: number;
};

export type BoundParameter = {
  readonly typeOid: number;
  readonly format: 0 | 1;
  /** Raw bytes as bound; null: SQL NULL. */
  readonly value: Buffer | null;
  /** For people. */
  readonly shown: string | null;
};

export type RequestState =
  | 'open'
  | 'approved'
  | 'denied'
  | 'expired'
  | 'withdrawn'
  | 'consumed'
  | 'executed'
  | 'failed'
  | 'unknown';

/** How an opened (or attached-to) request stands. */
export type OpenedRequest = {
  readonly id: string;
  readonly state: RequestState;
  /** The hold attached to a request that was already there. */
  readonly attached: boolean;
  readonly expiresAt: Date;
  /** Where people can answer: a URL, for the NOTICE's HINT. */
  readonly url: string;
  /** For a request that ended: who and why, for the error's DETAIL. */
  readonly ended: Ended | null;
};
export type Ended = {
  readonly people: readonly string[];
  readonly reason: string | null;
  /** It ended before it was asked about now: until then the same question gets the same answer. */
  readonly repeatedUntil?: Date;
};

/** A receipt that was verified against this very question, and consumed, in the database, by this process alone. */
export type Release = {
  readonly requestId: string;
  readonly receipt: string;
  readonly approvers: readonly string[];
};

/** What the proxy needs of approvals. All calls reject with an Error when the store is away: then nothing runs. */
export type Approvals = {
  /**
   * Opens a request, or attaches to one with the same attach key. Throws `TooManyRequests` at the agent's limit,
   * `QuestionTooLong` for what nobody can read.
   * An approved one that waits for release is returned in state `approved`.
   */
  readonly open: (question: Question) => Promise<OpenedRequest>;
  /** Calls back at once with the present state if it is no longer `open`, and at each change after. */
  readonly watch: (id: string, changed: (state: RequestState, ended: Ended | null) => void) => () => void;
  /**
   * Verifies the receipt (signature, digest over the question, approvers still eligible, not expired) and moves
   * approved -> consumed by compare-and-swap, with an audit entry in the same transaction. Throws `ReleaseRefused`.
   */
  readonly release: (id: string, question: Question) => Promise<Release>;
  /** consumed -> executed | failed | unknown. */
  readonly end: (
    id: string,
    outcome: 'executed' | 'failed' | 'unknown',
    facts: {
      readonly tag: string | null;
      readonly rows: bigint;
      readonly bytes: bigint;
      readonly sqlstate: string | null;
    },
  ) => Promise<void>;
  /** open | approved -> withdrawn (the client cancelled). */
  readonly withdraw: (id: string, why: string) => Promise<void>;
  /** The hold left (client gone, hold_timeout, drain); the request stays open and can be attached to again. */
  readonly detach: (id: string) => Promise<void>;
  /** The asker's own open requests, for `SHOW countersign.requests`. */
  readonly openOf: (asker: Asker) => Promise<readonly OwnRequest[]>;
};

/** An agent, and for whom it works: what it asked for somebody else is not told. */
export type Asker = { readonly agent: string; readonly onBehalfOf: string | null };

/** What an agent is told about a request of its own. */
export type OwnRequest = {
  readonly id: string;
  readonly state: 'open' | 'approved';
  /** Visible, and cut. */
  readonly sql: string;
  /** The same of its parameters; null: it has none. */
  readonly parameters: string | null;
  readonly database: string;
  readonly class: string;
  readonly rule: string;
  readonly reasons: readonly string[];
  readonly createdAt: Date;
  /** Of an approved one: until when it can be used. */
  readonly expiresAt: Date;
  readonly url: string;
  /** A connection waits for its answer. */
  readonly waiting: boolean;
};

/** The agent's to wait for, or to ask for less; the message says which limit, and when to come back. */
export class TooManyRequests extends Error {
  override readonly name = 'TooManyRequests';
}
/** Nobody could read all of it. */
export class QuestionTooLong extends Error {
  override readonly name = 'QuestionTooLong';
}
export class ReleaseRefused extends Error {
  override readonly name = 'ReleaseRefused';
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}
