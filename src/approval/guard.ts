import type { SessionFacts } from '../audit/entry.ts';
import type { ApprovalDemand } from '../policy/decision.ts';
import type { RequestContext, RequestState } from './port.ts';

/**
 * The one guard before all channels. A channel proves who is speaking, hands that over with the verdict, and shows
 * what comes back. It has no rules of its own.
 */
export type Guard = {
  /** Never rejects for a refusal, only when the store is away. Safe to call again with the same answer. */
  readonly decide: (answer: Answer) => Promise<GuardResult>;
  /**
   * The same answer to every open request that is shown as one with this one (`RequestView.alike`), oldest first, each
   * its own verdict and receipt; at least one result, and none after one that refuses the person. `only`: the ids that
   * the person was shown; null: all that are open now.
   */
  readonly decideAll: (answer: Answer, only: readonly string[] | null) => Promise<readonly GuardResult[]>;
  /** A channel refuses by itself, before it knows whose answer it is: the attempt is an entry, and nothing else happens. */
  readonly refuse: (answer: Answer, code: ChannelCode) => Promise<void>;
};

/** Of another workspace; too old or too new (a replay); no member any more; not what the message had shown. */
export type ChannelCode = 'other_workspace' | 'stale_click' | 'not_a_member' | 'not_as_shown';

export type Channel = 'slack' | 'teams' | 'api' | 'console';

export type Answer = {
  /** Attacker-controlled. */
  readonly requestId: string;
  readonly channel: Channel;
  /** Everything that the channel proved about who answers; all of it must map to one and the same person. */
  readonly person: readonly Identity[];
  readonly verdict: 'approve' | 'deny';
  /** Attacker-controlled; cut to `REASON_CHARACTERS`. Null: none was given. */
  readonly reason: string | null;
  readonly attestation: Attestation;
  /**
   * Other names that the channel knows of this person, as the credential has them. They identify nobody, but forbid: an
   * agent may act for somebody under a name that the configuration does not have.
   */
  readonly alsoKnownAs?: readonly string[];
  /** What the credential may say at all; left out: both. */
  readonly may?: readonly ('approve' | 'deny')[];
};

/** Taking an approval back is a way to say no. */
export type Withdrawal = Omit<Answer, 'verdict'>;

/**
 * A proved identity. `person`: the id in the configuration (an API key or console session stands for it); `slack`:
 * `TEAM/USER`; `teams`: `TENANT/OBJECT`; `oidc`: `ISSUER|SUBJECT` or as configured; `email`: only where the provider
 * verified it; `automation`: a program's own API key, by its name; `agent`: a credential of an agent was presented, which is always refused.
 */
export type Identity = {
  readonly kind: 'person' | 'slack' | 'teams' | 'oidc' | 'email' | 'automation' | 'agent';
  readonly value: string;
};

/** How sure the channel is: 1 chat click or API key, 2 fresh log-in. No channel can say 3: a passkey does. */
export type Attestation = {
  readonly assurance: 1 | 2;
  /** Goes into the receipt and the audit log, e.g. `{ team, user, action_ts }`. No secrets. */
  readonly facts: Readonly<Record<string, string>>;
  /** What the person's device has signed. With an approval it must be right; a denial needs none. */
  readonly passkey?: PasskeyAssertion;
};

/** An assertion of WebAuthn over the request's digest, as the browser gives it, base64url each. Attacker-controlled. */
export type PasskeyAssertion = {
  /** Of the credential, as in the configuration. */
  readonly id: string;
  readonly authenticatorData: string;
  readonly clientDataJSON: string;
  /** ECDSA, DER. */
  readonly signature: string;
};

export type GuardCode =
  | 'self_approval'
  | 'agent_credential'
  | 'unknown_person'
  | 'ambiguous_person'
  | 'not_an_approver'
  | 'automation_not_named'
  | 'scope_missing'
  | 'not_on_call'
  | 'assurance_too_low'
  | 'passkey_refused'
  | 'not_found'
  | 'already_ended'
  | 'already_answered'
  | 'not_approved'
  | 'request_altered'
  | 'too_fast';

export type GuardResult =
  | {
      readonly ok: true;
      readonly id: string;
      readonly state: RequestState;
      /** The canonical id of the person whose verdict counts. */
      readonly person: string;
      /** This person had given the same verdict before: nothing changed. */
      readonly repeated: boolean;
      readonly approvals: number;
      readonly quorum: number;
      /** For the person, whom every channel shows it: that they approve very fast, or that the agent floods them. */
      readonly notice?: string;
    }
  | {
      readonly ok: false;
      readonly code: GuardCode;
      /** For the person who tried, one sentence. */
      readonly message: string;
      /** The request's state where it exists. */
      readonly state: RequestState | null;
    };

/** Longest reason that is kept, in characters. */
export const REASON_CHARACTERS = 2_000;

/** All that a card shows. Everything in it but ids and times may hold text that an attacker chose: escape it. */
export type RequestView = {
  readonly id: string;
  readonly state: RequestState;
  readonly session: SessionFacts;
  /** The whole statement for people: invisible characters visible, secrets replaced. */
  readonly sql: string;
  /** Set where a listing cut the statement or left the parameters out (`null`): `get` has all of it. */
  readonly cut?: true;
  /** Length of the bytes that would run, and their sha256 in hex. */
  readonly sqlLength: number;
  readonly sqlSha256: string;
  /** Null: simple protocol or no parameters. */
  readonly parameters: readonly ShownParameter[] | null;
  readonly command: string;
  readonly class: string;
  readonly rule: string;
  readonly reasons: readonly string[];
  readonly relations: readonly { readonly name: string; readonly mode: 'read' | 'write' }[];
  readonly searchPath: string;
  readonly policyDigest: string;
  /** As the rule says it, from the beginning. */
  readonly demand: ApprovalDemand;
  /** From when on the escalation's approvers count, by the database's clock; null: it has none. */
  readonly escalatesAt: Date | null;
  /** `demand` at the moment when this view was read: whom an escalation brought in is among the approvers. */
  readonly demandNow: ApprovalDemand;
  /** That moment has come: the database's time was past it when this view was read. */
  readonly escalated: boolean;
  /** Most that an approval lets the result of each statement be; null: no limit. */
  readonly limits: { readonly rows: number | null; readonly bytes: number | null };
  readonly inTransaction: boolean;
  /** What was found out when the request was opened; null: nothing was. */
  readonly context: RequestContext | null;
  /** The binding digest, hex: what an approval is bound to. */
  readonly digest: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  /** The page where all of it can be read. */
  readonly url: string;
  /** A client waits on its connection right now; false: it will come back with the same statement. */
  readonly waiting: boolean;
  /** Until when that connection waits; null: none does, or it is not known. */
  readonly waitsUntil: Date | null;
  /**
   * Open requests that ask for the very same, this one among them, oldest first; empty where this one is not open.
   * Channels show the first, with their number: an approval is for one of them.
   */
  readonly alike: readonly string[];
  /** Statements of the agent that were refused within the last ten minutes because it asks too much; 0 once ended. */
  readonly refusals: number;
  readonly verdicts: readonly ShownVerdict[];
  /** Set once the request is neither open nor approved. */
  readonly endedAt: Date | null;
  /** Why it ended, for `expired` and `withdrawn`; the denier's reason for `denied`. */
  readonly endReason: string | null;
  /** Set once the outcome is known. */
  readonly outcome: ShownOutcome | null;
  /** From the release to the outcome, milliseconds; null: not known. */
  readonly elapsedMs: number | null;
  /** The receipt (JWS), once approved. */
  readonly receipt: string | null;
  /** Rises with every change: of two views, the one with the higher revision is the newer. */
  readonly revision: bigint;
};

export type ShownParameter = {
  readonly typeOid: number;
  readonly format: 0 | 1;
  /** Null: SQL NULL. */
  readonly shown: string | null;
  /** Length of the bound bytes, 0 for NULL. */
  readonly length: number;
};

export type ShownVerdict = {
  readonly person: string;
  readonly channel: Channel;
  readonly verdict: 'approve' | 'deny';
  readonly reason: string | null;
  readonly assurance: 1 | 2 | 3;
  readonly at: Date;
};

export type ShownOutcome = {
  readonly tag: string | null;
  readonly rows: bigint;
  readonly bytes: bigint;
  readonly sqlstate: string | null;
};

/** Which requests to list: `live` (open and approved), `ended`, one state, or all; newest first, at most `limit`. */
export type RequestFilter = {
  readonly state: RequestState | 'live' | 'ended' | 'all';
  readonly limit: number;
  readonly agent?: string;
  readonly class?: string;
  /** Id of the last one of the page before: what comes after it. Attacker-controlled. */
  readonly after?: string;
};

/** What a channel needs of approvals: the questions, their changes, and the guard. */
export type ApprovalDesk = {
  readonly guard: Guard;
  readonly list: (filter: RequestFilter) => Promise<readonly RequestView[]>;
  /** Null: no such request. */
  readonly get: (id: string) => Promise<RequestView | null>;
  /**
   * Called in every process after every change of any request (opened, verdict, ended, outcome), at least once, from
   * LISTEN/NOTIFY or polling; not for changes that happened before this process started: list `live` ones then.
   */
  readonly onRequestChanged: (changed: (view: RequestView) => void) => () => void;
  readonly cards: CardStore;
};

/** For programs that follow requests and take approvals back. */
export type RequestFeed = {
  /**
   * Takes back an approval that was not used yet: by somebody who had given it, or who may answer the request. Its
   * receipt releases nothing any more.
   */
  readonly takeBack: (withdrawal: Withdrawal) => Promise<GuardResult>;
  /**
   * As they stand, cut as in listings: at most `limit` requests whose last change came after that revision, in the order
   * of their changes; `live`: only those that are open or approved.
   */
  readonly changedAfter: (revision: bigint, limit: number, live: boolean) => Promise<readonly RequestView[]>;
  /**
   * Transactions commit out of order, so whoever saw a revision may have missed an earlier one. After this one he has
   * missed nothing, if he looks again.
   */
  readonly sureBefore: (revision: bigint) => Promise<bigint>;
};

/** For channels that show a page to one person. */
export type ApproverCheck = {
  /**
   * What an approval by this person would be refused with right now, null if it would count: so that a channel shows no
   * button that cannot work. Decides nothing.
   */
  readonly mayApprove: (
    view: RequestView,
    person: readonly Identity[],
    assurance: 1 | 2 | 3,
  ) => { readonly code: GuardCode; readonly message: string } | null;
};

/** Passkeys are in the configuration alone: nothing here adds one. */
export type PasskeyDesk = {
  /** Those of this person in the configuration now; empty where none can be used here. */
  readonly passkeysOf: (person: readonly Identity[]) => readonly ShownPasskey[];
  /** Somebody made one in this person's name: an entry, to compare with what is added to the configuration. */
  readonly passkeyMade: (person: readonly Identity[], made: ShownPasskey) => Promise<void>;
};

/** A passkey as people and browsers know it. */
export type ShownPasskey = {
  /** Of the credential, base64url. */
  readonly id: string;
  /** Of its public key (RFC 7638), as receipts name it. */
  readonly thumbprint: string;
};

/** Putting a request off, for oneself alone: it changes nothing about the request, and nobody else sees it. */
export type SnoozeDesk = {
  /** With those shown as one with it. `minutes` 0: no longer; at most `SNOOZE_MINUTES`. Null: done. */
  readonly snooze: (
    requestId: string,
    person: readonly Identity[],
    minutes: number,
  ) => Promise<{ readonly code: GuardCode; readonly message: string } | null>;
  /** Until when this person has put off which requests, by id. */
  readonly snoozed: (person: readonly Identity[]) => Promise<ReadonlyMap<string, Date>>;
};

/** A day: longer than any request should be open. */
export const SNOOZE_MINUTES = 24 * 60;

/** A message of a channel. Slack has, beside the card, one when a request escalates, and a reply with the outcome. */
export type CardKey = Channel | 'slack-escalation' | 'slack-outcome';

/** Where channels keep which message shows which request, so that it can be updated after a restart, once. */
export type CardStore = {
  /** True for exactly one caller among all processes, until `save`, or until `leaseMs` has passed without one. */
  readonly claim: (requestId: string, card: CardKey, leaseMs: number) => Promise<boolean>;
  /** `reference` is the channel's own, e.g. JSON of channel id and message ts. Claims it for good. */
  readonly save: (requestId: string, card: CardKey, reference: string) => Promise<void>;
  readonly load: (requestId: string, card: CardKey) => Promise<string | null>;
};
