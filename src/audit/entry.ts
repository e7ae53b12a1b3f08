/**
 * What the audit log holds, as the rest of the program hands it over. The audit part gives each entry its stream,
 * sequence number and hash. Times are microseconds since 1970 UTC, durations microseconds.
 */

/** Who and where: the same on every entry of a session. */
export type SessionFacts = {
  readonly sessionId: string;
  readonly agent: string;
  readonly owner: string | null;
  readonly onBehalfOf: string | null;
  readonly run: string | null;
  /** True where `run` comes from a verified credential; false where the agent claims it. */
  readonly runVerified: boolean;
  readonly database: string;
  readonly role: string;
  readonly applicationName: string | null;
  readonly clientAddress: string | null;
  readonly tls: boolean;
};

export type IntentEntry = {
  readonly kind: 'intent';
  readonly at: bigint;
  readonly session: SessionFacts;
  /** Names this statement within its session; the outcome carries the same number. */
  readonly statementNo: number;
  /** The statement's own text (one of a string), with secret literals replaced. */
  readonly sql: string;
  /** sha256 of the whole message's SQL bytes, as sent. */
  readonly sqlSha256: Buffer;
  /** Bind parameters for people, secrets replaced; null: none or simple protocol. */
  readonly parameters: readonly (string | null)[] | null;
  readonly class: string;
  readonly decision: 'allow' | 'hold' | 'deny';
  readonly rule: string;
  readonly reasons: readonly string[];
  /** `schema.name` each. */
  readonly relations: readonly string[];
  readonly requestId: string | null;
  readonly policyDigest: string;
  /** What a rule in mode observe would have decided; left out: none matched. In the row's `detail`. */
  readonly observed?: { readonly rule: string; readonly decision: 'allow' | 'hold' | 'deny' };
  /** What policy asks about it beside all this, as compact JSON; left out: a plain statement. In the row's `detail`. */
  readonly facts?: string;
  /** Equal for statements that differ in constants alone (16 hexadecimal digits). In the row's `detail`. */
  readonly fingerprint?: string;
};

export type Outcome = 'executed' | 'failed' | 'denied' | 'expired' | 'withdrawn' | 'unknown';

export type OutcomeEntry = {
  readonly kind: 'outcome';
  readonly at: bigint;
  readonly session: SessionFacts;
  readonly statementNo: number;
  readonly requestId: string | null;
  readonly outcome: Outcome;
  /** The command tag, e.g. `SELECT 5`. */
  readonly tag: string | null;
  readonly rows: bigint;
  /** Result bytes relayed (DataRow and CopyData bodies), or CopyData bytes taken in. */
  readonly bytes: bigint;
  readonly durationUs: bigint;
  readonly sqlstate: string | null;
  readonly approvers: readonly string[];
  /** Of a result that came to more than it was let pass for; left out: it did not. In the row's `detail`. */
  readonly rest?: RestFacts;
  /**
   * As the server's next ReadyForQuery said (manual, "Message Formats"): `T`, what it did is not committed yet. Left out:
   * it did not run, or the session ended before. In the row's `detail`.
   */
  readonly transactionStatus?: 'I' | 'T' | 'E';
};

/** Who let the rest of a result pass, or refused it: policy, people (`denied`), time, the client, or a bound set before. */
export type RestRefusal = 'policy' | 'denied' | 'expired' | 'withdrawn' | 'limit';

/** What the rest of a result was judged as, and what became of it. */
export type RestFacts = {
  readonly class: string;
  readonly rule: string;
  readonly reasons: readonly string[];
  /** Null: nobody refused it. */
  readonly refusedBy: RestRefusal | null;
};

/** Everything that is not a statement. `detail` is a flat record of strings for people and for views. */
export type EventEntry = {
  readonly kind:
    | 'log_start'
    | 'log_stop'
    | 'log_recovered'
    | 'session_start'
    | 'session_end'
    | 'login_refused'
    | 'protocol_violation'
    | 'policy'
    | 'configuration'
    | 'key'
    | 'request_opened'
    | 'verdict'
    | 'verdict_refused'
    | 'request_approved'
    | 'request_denied'
    | 'request_expired'
    | 'request_withdrawn'
    | 'released'
    | 'request_ended'
    | 'audit_read'
    | 'retention'
    | 'redaction'
    | 'legal_hold';
  readonly at: bigint;
  /** Null where there is no session (yet). */
  readonly session: SessionFacts | null;
  readonly requestId: string | null;
  /** Canonical ids of the people concerned. */
  readonly people: readonly string[];
  /** For `request_approved` and `released`: the receipt (JWS), verbatim. */
  readonly receipt: string | null;
  readonly detail: Readonly<Record<string, string>>;
};

export type Entry = IntentEntry | OutcomeEntry | EventEntry;

/** What the proxy needs of the log. Implemented by the journal and its shipper. */
export type AuditLog = {
  /**
   * Takes an entry into memory and gives it its number in this process' stream. Throws `AuditUnavailable` when the
   * journal is full or failed, and for a statement that does more than read when the audit database has been away for
   * ten seconds: then the statement must not run.
   */
  readonly append: (entry: Entry) => bigint;
  /** Hands everything taken so far to the operating system, synchronously (one `write()`); cheap when nothing is pending. */
  readonly write: () => void;
  /** Resolves when everything taken so far is on disk (fdatasync, grouped). */
  readonly sync: () => Promise<void>;
  /** Resolves when that entry is committed in the audit database; rejects with `AuditUnavailable`. */
  readonly committed: (seq: bigint) => Promise<void>;
  /** False once the audit database has been away too long for held statements, or the journal is nearly full. */
  readonly healthy: () => boolean;
};

/** An entry cannot be recorded (or not in time): whatever it was for must not happen. */
export class AuditUnavailable extends Error {
  override readonly name = 'AuditUnavailable';
  /** Stable: `audit_journal_full`, `audit_journal_failed`, `audit_database_away`, `audit_closed`. */
  readonly code: string;
  constructor(message: string, code = 'audit_unavailable') {
    super(message);
    this.code = code;
  }
}
