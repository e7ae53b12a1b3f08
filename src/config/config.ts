import type { ParameterRecording, Policy } from '../policy/rule.ts';
import type { Limits } from './limits.ts';

/** The validated, frozen configuration. `load.ts` makes it from YAML; nothing else reads files or the environment. */
export type Config = {
  readonly version: 1;
  readonly mode: 'enforce' | 'observe';
  readonly listen: {
    readonly host: string;
    readonly port: number;
    readonly tls: ServerTls | null;
  };
  readonly http: {
    readonly host: string;
    readonly port: number;
    /** What links in notices, cards and pages begin with, without a slash at the end. */
    readonly publicUrl: string;
    /** Networks of reverse proxies whose X-Forwarded-For is believed; left out: none. */
    readonly trustedProxies?: readonly string[];
    /** Named API keys: sha256 of the token, and whom it stands for. */
    readonly apiKeys: readonly ApiKey[];
    /** Tokens that people show instead of a key; null or left out: none are taken. */
    readonly jwt?: PersonJwt | null;
  };
  readonly upstream: UpstreamAddress;
  readonly audit: {
    /** Connection of the writer role (EXECUTE on `append` alone, and the mutable schema). */
    readonly url: string;
    /** For migrations only. */
    readonly adminUrl: string | null;
    /** As the auditor role, for searches over the API; null or left out: nobody searches there. */
    readonly readUrl?: string | null;
    readonly durability: 'standard' | 'strict';
    readonly schema: string;
    /** Names the log in its checkpoints. */
    readonly origin: string;
    /** Where checkpoints are kept besides. */
    readonly anchors: readonly AnchorPlace[];
    /** Whole days that `countersign audit retention` keeps; null or left out: it has to be told. */
    readonly retentionDays?: number | null;
    /** What is recorded of bind parameters where the rule does not say; left out: `full`. */
    readonly parameters?: ParameterRecording;
  };
  readonly agents: readonly Agent[];
  readonly people: readonly Person[];
  /** Passkeys that people had: what they signed before is verified, and they approve nothing. Left out: none. */
  readonly retiredPasskeys?: readonly RetiredPasskey[];
  readonly groups: readonly Group[];
  readonly policy: Policy;
  readonly analysis: {
    /** `hold`: a statement that another grammar reads otherwise is held. */
    readonly secondOpinion: 'off' | 'hold';
  };
  /** User functions that a person vouches for. */
  readonly functions: readonly ListedFunction[];
  readonly limits: Limits;
  /** Tags of relations and columns; those in the database's comments come on top. */
  readonly tags: readonly TagRule[];
  /** What agents may read within a window of time, beside the default of `limits`. */
  readonly budgets: readonly BudgetRule[];
  readonly slack: SlackConfig | null;
  readonly webhooks: readonly WebhookConfig[];
  readonly keys: KeysConfig;
  readonly dataDirectory: string;
};

/**
 * Windows follow one another by the audit database's clock. Every budget that matches an agent holds; one without a tag
 * takes the place of the default.
 */
export type BudgetRule = {
  readonly name: string;
  /** Globs over agents' names; null: every agent. */
  readonly agents: readonly string[] | null;
  /** Only what reads relations or columns with this tag counts; null: everything does. */
  readonly tag: string | null;
  /** Null: not limited; at least one of the two is. */
  readonly rows: number | null;
  readonly bytes: number | null;
  readonly windowMs: number;
};

/** `relation` is a glob over schema.name, `column` one over its columns; without it the relation itself is tagged. */
export type TagRule = {
  readonly relation: string;
  readonly column?: string;
  readonly tags: readonly string[];
};

/** Counts only for a function with this name whose digest is this one. `unknown`: listed, but not vouched for. */
export type ListedFunction = {
  /** `schema.name(types)` */
  readonly function: string;
  readonly sha256: string;
  readonly does: 'reads' | 'writes' | 'unknown';
  readonly by: string;
  readonly note: string;
};

/** Where the installation's signing keys are. */
export type KeysConfig = {
  /** Made and rotated by the program; not used where `signing` is given. */
  readonly directory: string;
  /** The private key that signs, from a secret: JWK or PEM; null: the directory's. */
  readonly signing: string | null;
  /** Public JWKs that verify beside it. */
  readonly verifying: readonly Readonly<Record<string, unknown>>[];
};

export type ServerTls = {
  readonly cert: string;
  readonly key: string;
  readonly required: boolean;
  /** Authorities whose client certificates are taken, PEM; null: no client is asked for one. */
  readonly clientCa: string | null;
};

export type UpstreamAddress = {
  /** A host name, an address, or the directory of a Unix socket (begins with a slash). */
  readonly host: string;
  readonly port: number;
  readonly database: string | null;
  /** For side connections (catalog, probes) when an agent's own are not enough; null: the agent's. */
  readonly user: string | null;
  readonly password: string | null;
  readonly tls: UpstreamTls;
};
export type UpstreamTls =
  | { readonly mode: 'disable' }
  | { readonly mode: 'require' }
  | { readonly mode: 'verify-ca' | 'verify-full'; readonly ca: string };

export type Agent = {
  readonly name: string;
  readonly auth: AgentAuth;
  /** Id of the person who answers for this agent and so may not approve its requests. */
  readonly owner: string;
  readonly upstream: { readonly user: string; readonly password: string | null };
};

/** How an agent proves who it is; each has one way. */
export type AgentAuth = ScramAuth | JwtAuth | CertAuth;
/** `verifier` in pg_authid's form: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`. */
export type ScramAuth = { readonly kind: 'scram'; readonly verifier: string };
/** A JWT as the password, over TLS. */
export type JwtAuth = {
  readonly kind: 'jwt';
  readonly issuer: string;
  readonly audience: string;
  /** Signature algorithms that are taken (RFC 7518, RFC 8037), none of them symmetric. */
  readonly algorithms: readonly string[];
  readonly keys: KeySource;
};
/** The people's identity provider. A token's `sub` is in `Person.oidc` as ISSUER#SUB, or its verified address is `email`. */
export type PersonJwt = JwtAuth & {
  /** When a token is of assurance 2: by `acr` or `amr`, and by `auth_time`; null: never. */
  readonly freshLogin: {
    readonly maxAgeMs: number;
    readonly acr: readonly string[];
    readonly amr: readonly string[];
  } | null;
  /** Whose clients' tokens are taken (`azp`, `client_id`); null: any client's. */
  readonly clients: readonly string[] | null;
  /** Ids of people and names of groups who may search the audit log. */
  readonly auditors: readonly string[];
};
/** Where an issuer's public keys are: to be fetched, or read already. */
export type KeySource =
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'set'; readonly keys: readonly Readonly<Record<string, unknown>>[] };
/** A client certificate of `listen.tls.clientCa` with the agent's name as CN. */
export type CertAuth = {
  readonly kind: 'cert';
  /** sha256 of the certificates that are taken, 64 lower-case hexadecimal digits each; none: any with that CN. */
  readonly fingerprints: readonly string[];
};

export type Person = {
  readonly id: string;
  readonly email: string;
  /** `TEAM/USER` pairs, e.g. `T012AB/U345CD`. */
  readonly slack: readonly string[];
  readonly oidc: readonly string[];
  /** `TENANT/OBJECT` pairs of Microsoft Entra, in whatever case; left out: none. */
  readonly teams?: readonly string[];
  readonly groups: readonly string[];
  /** Left out: none. */
  readonly passkeys?: readonly Passkey[];
  /** Set for an automation, a program with an API key of its own and no other identity: who answers for it. */
  readonly automationOf?: Person;
};
/** A key of a person's own device, made on the approval page. */
export type Passkey = {
  /** The credential's id, base64url, by which the browser finds it. */
  readonly id: string;
  readonly key: PasskeyJwk;
};
/** A passkey that counts for nothing that came at `retiredAt` or later; its person may be in the configuration no more. */
export type RetiredPasskey = {
  readonly person: string;
  readonly key: PasskeyJwk;
  /** Seconds since 1970 UTC. */
  readonly retiredAt: number;
};
/** RFC 7518, section 6.2; the only kind of key that is taken. */
export type PasskeyJwk = {
  readonly kty: 'EC';
  readonly crv: 'P-256';
  readonly x: string;
  readonly y: string;
};
export type Group = { readonly name: string; readonly slackUserGroup: string | null };

export type ApiKey = {
  readonly name: string;
  readonly sha256: string;
  /** Id of the person whom the key stands for; of the automation itself. Several keys may stand for the same one. */
  readonly person: string;
  /** Set: the key is an automation's, and this is the id of the person who answers for it. */
  readonly owner?: string;
  /** Left out: `PERSON_SCOPES`, for an automation `AUTOMATION_SCOPES`. */
  readonly scopes?: readonly Scope[];
  /** Milliseconds since 1970 UTC, from which on the key is refused; left out: never. */
  readonly expiresAt?: number;
};

/** A place for copies of checkpoints; `url` may hold a password, `name` never. */
export type AnchorPlace =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'database'; readonly url: string; readonly name: string }
  | { readonly kind: 'webhook'; readonly url: string; readonly name: string };

/** What a credential of the HTTP API may be used for. `read`: requests, agents, the policy; `audit`: the log. */
export type Scope = 'read' | 'deny' | 'approve' | 'audit';

export type WebhookEvent =
  | 'request.opened'
  | 'request.verdict'
  | 'request.approved'
  | 'request.denied'
  | 'request.expired'
  | 'request.withdrawn'
  | 'request.released'
  | 'request.ended';

/** Where is told what happens to requests. */
export type WebhookConfig = {
  readonly name: string;
  /** https, or http on this machine. Its path can be a secret. */
  readonly url: string;
  /** `whsec_…`, the newest first; all of them sign. */
  readonly secrets: readonly string[];
  readonly events: readonly WebhookEvent[];
  /** `full`: with the statement, its parameters, and reasons. */
  readonly include: 'summary' | 'full';
};

export type SlackConfig = {
  readonly mode: 'socket' | 'http';
  readonly botToken: string;
  /** Socket Mode. */
  readonly appToken: string | null;
  /** HTTP mode. */
  readonly signingSecret: string | null;
  readonly teamId: string;
  readonly channel: string;
  /** Another API host, for tests; null: Slack's own. */
  readonly apiUrl: string | null;
};
