/**
 * Every limit, with its unit, its default and the reason for it. Configuration (`limits:`) may change each.
 * Sizes are bytes, times milliseconds, unless the name says otherwise.
 */
export const DEFAULT_LIMITS = {
  /** Longest start-up packet; Postgres' own MAX_STARTUP_PACKET_LENGTH is 10,000. */
  startupBytes: 10_000,
  /** Time to finish TLS and authentication; Postgres' authentication_timeout is 60 s, agents need less. */
  authenticationMs: 30_000,
  /** Longest token (JWT) as a password; Postgres' own PG_MAX_AUTH_TOKEN_LENGTH. */
  tokenBytes: 65_535,
  /** How far an issuer's clock may be from ours. */
  tokenClockSkewMs: 30_000,
  /** An ended token ends its session when nothing runs and no transaction is open; after this in any case. */
  tokenGraceMs: 30_000,
  /** Time and size of one fetch of an issuer's keys; a set has a few keys of some 400 bytes. */
  jwksFetchMs: 5_000,
  jwksBytes: 256 * 1024,
  /** How old fetched keys may be; then they are fetched again, and count no longer. */
  jwksMaxAgeMs: 10 * 60_000,
  /** Least time between two fetches of one issuer's keys, whoever shows unknown key ids. */
  jwksCooldownMs: 30_000,
  /** After a fetch that failed nobody waits for another one within this. */
  jwksRetryMs: 1_000,
  /** Longest frontend frame (Query, Parse, Bind, CopyData); Postgres allows 1 GiB, no agent needs that. */
  frameBytes: 64 * 1024 * 1024,
  /** Longest SQL text that is analysed; longer is refused (54000). The parser needs about 80 times this in memory. */
  statementBytes: 10 * 1024 * 1024,
  /** SQL text longer than this is parsed in a worker, so that nobody else waits: about 2 ms of parsing. */
  inlineParseBytes: 8 * 1024,
  /** Hard limit on one parse in a worker; then the worker is replaced and the statement is held as unparsed. */
  parseMs: 5_000,
  /**
   * Nodes in the tree of one statement, and of all in one text, where constants of a list count once: more is held as
   * unparsed. A node takes 1 to 5 µs of everybody's time, and other sessions are served between two statements; a page
   * of SQL has about 1,000, what drivers send to learn all types of a database some 15,000.
   */
  statementNodes: 25_000,
  textNodes: 60_000,
  /** Elements of one list of constants (IN, ARRAY, rows of VALUES): each is a reference, of which 100,000 take 10 ms. */
  listElements: 100_000,
  /** One reading by the second parser, where `analysis.second_opinion` asks for it; then it counts as unreadable. */
  secondOpinionMs: 1_000,
  /** Texts of at most inlineParseBytes whose second reading is kept: the second parser is thirty times slower. */
  secondOpinions: 1_000,
  /** Deepest nesting of comments: the parser is quadratic in it. */
  commentDepth: 200,
  /** Prepared statements known in one session, protocol and SQL together. */
  preparedStatements: 10_000,
  /** Bytes that a client may send ahead while its statement is held or judged; then its socket is not read. */
  pendingBytes: 1024 * 1024,
  /** Sessions in all, and for one agent. */
  sessions: 1_000,
  sessionsPerAgent: 200,
  /** Sessions from one client address (IPv6: one /64); behind a load balancer all may have the same. */
  sessionsPerAddress: 500,
  /** Sockets that may be open before they have said who they are, in all and from one address; then the oldest goes. */
  strangers: 1_000,
  strangersPerAddress: 200,
  /** Rows of refused log-ins that one address gets at once within the window; more become one row with their count. */
  refusedLoginRows: 10,
  refusedLoginWindowMs: 10_000,
  /** Addresses whose refused log-ins are counted apart; more are counted together. */
  refusedLoginAddresses: 1_000,
  /** Open requests of one agent; the next hold is refused (54000). */
  openRequestsPerAgent: 50,
  /** New requests of one agent within a minute; the next hold is refused (54000): more than people can read. */
  requestsPerMinutePerAgent: 30,
  /** Approvals of one person within a minute, in all channels: from here on they are told that they are very fast. */
  approvalsNoticedPerMinute: 20,
  /** The next one is refused (too_fast), unless its rule says otherwise (maxPerMinute): no person gives as many. */
  approvalsPerMinutePerPerson: 300,
  /** Bytes waiting for a slow client before upstream is not read any more. */
  clientBufferBytes: 1024 * 1024,
  /** A client that takes nothing of what waits for it for so long is cut off, so that it does not hold the database. */
  clientStallMs: 15 * 60_000,
  /** Largest single notice or error that is taken from upstream; more closes the session. */
  controlFrameBytes: 4 * 1024 * 1024,
  /** Rows and bytes a statement may return before it is an export. */
  exportRows: 1_000,
  exportBytes: 1024 * 1024,
  /**
   * Rows and bytes that an agent may read within a window before a person is asked, over all of its sessions, unless
   * `budgets:` gives it another budget: fifty statements of the largest size. What is personal wants a tighter one, by its tag.
   */
  budgetRows: 50_000,
  budgetBytes: 50 * 1024 * 1024,
  budgetWindowMs: 60 * 60_000,
  /** How long a statement waits for a slice of a budget; then it does not run. */
  budgetWaitMs: 5_000,
  /** Rows a write may touch before it is bulk. */
  bulkWriteRows: 1_000,
  /** Rows a read of system catalogs alone may return. */
  catalogRows: 100_000,
  /** How long a hold waits on the connection, then 57014; the request stays open. */
  holdTimeoutMs: 10 * 60_000,
  /** The same inside a transaction, because locks are kept. */
  holdTimeoutInTransactionMs: 2 * 60_000,
  /** Life of a request from its opening to `expired`. */
  requestLifetimeMs: 60 * 60_000,
  /** Time from approval to release; then the approval is stale. */
  receiptLifetimeMs: 60 * 60_000,
  /** How long a denial answers the same statement sent again, so that a retrying agent does not ask people anew. */
  denialRepeatMs: 5 * 60_000,
  /** How often the client is told that it still waits. */
  noticeIntervalMs: 15_000,
  /** How often a checkpoint of the audit log is signed and published, if there is anything new. */
  checkpointMs: 60_000,
  /** How often the policy's file is looked at for changes. */
  policyPollMs: 2_000,
  /** How often open requests are polled, in case a notification was lost. */
  pollMs: 2_000,
  /** A cancel's own connection to upstream must end within this, or the session is closed. */
  cancelMs: 5_000,
  /** Cancel requests a second that are passed on to other processes, in all and for one client address; four times as
   * many at once. Whoever guesses keys gets no further, and the database notices little of it. */
  cancelsRoutedPerSecond: 100,
  cancelsRoutedPerAddressPerSecond: 25,
  /** Cancel requests that wait for another process' answer; more are dropped. */
  cancelsWaiting: 200,
  /** Local journal that is not yet in the audit database; at the limit nothing more runs. */
  journalBytes: 256 * 1024 * 1024,
  /** How often the journal is forced to disk for plain reads. */
  journalSyncMs: 200,
  /** How old a catalog snapshot may be before it is read again, and before it no longer counts. */
  catalogRefreshMs: 30_000,
  catalogStaleMs: 5 * 60_000,
  /** Time for one question to the server on a side connection. */
  probeMs: 2_000,
  /** Time to find out, before a request is opened, what a statement would touch; then people are told that it is not known. */
  contextMs: 2_000,
  /** How long a stop waits for sessions to end by themselves; container engines kill after 10 to 30 s. */
  drainMs: 8_000,
  /** Time for a webhook's receiver to answer, everything included. */
  webhookTimeoutMs: 10_000,
  /**
   * Attempts to deliver a message before it is given up, waiting four times as long after each, from the first wait to
   * the last: 5 s, 20 s, 80 s, 5 min, 21 min, 1.4 h, 5.7 h, 6 h, 6 h, about a day in all.
   */
  webhookAttempts: 10,
  webhookFirstRetryMs: 5_000,
  webhookLastRetryMs: 6 * 60 * 60_000,
  /** Messages to one webhook that a process sends at once. */
  webhookParallel: 4,
  /** Longest message; what include: full adds is left out of a longer one. */
  webhookBytes: 256 * 1024,
  /** How long delivered messages are remembered, and those that were given up. */
  webhookKeepMs: 7 * 24 * 60 * 60_000,
  webhookDeadKeepMs: 90 * 24 * 60 * 60_000,
  /** Longest body of an HTTP request. */
  httpBodyBytes: 64 * 1024,
  /**
   * HTTP requests a second: in all, from one client address before anything is looked at (behind a reverse proxy all have
   * its address), and with one credential; four times as many at once. A program that polls sends one or two.
   */
  httpPerSecond: 1_000,
  httpPerAddressPerSecond: 100,
  httpPerCredentialPerSecond: 50,
  /** Time for one search of the audit log over the API; then it must be narrower. Two run at once. */
  auditSearchMs: 5_000,
  /** Event streams and calls that wait, in all and with one credential: each is a socket and a buffer. */
  eventStreams: 500,
  eventStreamsPerCredential: 20,
  /** Bytes that wait for a slow reader of events; then the stream is cut, and the reader may come back. */
  eventBufferBytes: 1024 * 1024,
  /** How often a stream says that it lives: proxies cut what is silent for a minute. */
  eventHeartbeatMs: 15_000,
  /** Refused credentials a second, in all and from one address; four times as many at once. Then nothing is looked at. */
  httpRefusedPerSecond: 50,
  httpRefusedPerAddressPerSecond: 2,
} as const;

export type Limits = { readonly [K in keyof typeof DEFAULT_LIMITS]: number };
