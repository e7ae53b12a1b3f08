import { randomBytes } from 'node:crypto';
import { type EventFacts, inTransaction, type StoreContext, type Transaction } from './context.ts';
import { attachKey, type Binding, bindingDigest, bindingOf, bindingText, statementKey } from './digest.ts';
import { forbiddenPeople } from './eligibility.ts';
import { type Ended, type OpenedRequest, type Question, QuestionTooLong, TooManyRequests } from './port.ts';
import { countRefusal, requireRoom } from './room.ts';
import {
  ATTACHED,
  endedOf,
  parametersText,
  parseBinding,
  parseShown,
  REQUEST_COLUMNS,
  type RequestRow,
  requestUrl,
  shownOf,
} from './rows.ts';

/** First half of the advisory lock under which one agent's requests are opened; the second is a hash of its name. */
const OPENING_LOCK = 0x63736f70;

/**
 * `Approvals.open`: attach to a request that waits for this statement, repeat a recent denial, or ask anew.
 *
 * A request belongs to one hold at a time. The same statement (attach key: everything that is bound but run, what people
 * were told, nonce and expiry) attaches to a request that no living hold has, an approved one first, then the oldest. Where
 * every such request has its hold, because several connections of one agent wait for the same thing, a new request is
 * opened: one approval must release one statement. What people are shown is merged (`alike.ts`), not what they decide.
 * Where policy or an object has changed since, requests for the same text that nobody holds expire (`supersede`).
 */
export async function openRequest(context: StoreContext, question: Question): Promise<OpenedRequest> {
  requireReadable(context, question);
  const { agent } = question.session;
  // One after the other for one agent, here and by the lock below: a flood waits for itself, not with all connections.
  return context.inTurn(`agent ${agent}`, async () => {
    try {
      return await openNow(context, question);
    } catch (error) {
      if (error instanceof TooManyRequests) await countRefusal(context, agent);
      throw error;
    }
  });
}

async function openNow(context: StoreContext, question: Question): Promise<OpenedRequest> {
  return inTransaction(context, async (transaction) => {
    const { client, nowMs } = transaction;
    const { agent } = question.session;
    await client.query('SELECT pg_advisory_xact_lock($1, hashtext($2))', [OPENING_LOCK, agent]);
    const nonce = randomBytes(16).toString('hex');
    const lifetimeMs = question.demand.expiryMs ?? context.limits.requestLifetimeMs;
    const binding = bindingOf(question, nonce, nowMs + lifetimeMs, nowMs);
    const found =
      (await attach(context, transaction, binding, question.holdMs)) ??
      (await recentDenial(context, transaction, binding));
    if (found !== null) return opened(context, found, true);
    await supersede(transaction, binding);
    await requireRoom(context, transaction, agent);
    return opened(context, await insertRequest(context, transaction, question, binding), false);
  });
}

/** What nobody can read is not put to anybody; and one agent's question is no burden for the others. */
function requireReadable({ limits: { shownCharacters } }: StoreContext, question: Question): void {
  const parameters = question.parameters ?? [];
  const shown = parameters.reduce((sum, { shown }) => sum + (shown?.length ?? 0), question.sql.length);
  if (shown > shownCharacters) {
    throw new QuestionTooLong(
      `${shown} characters of statement and parameters cannot be put to people, ${shownCharacters} is the limit (shownCharacters)`,
    );
  }
}

/** An approved one first, then the oldest. One that another hold is attached to is that hold's. */
async function attach(
  context: StoreContext,
  { client }: Transaction,
  binding: Binding,
  holdMs: number | undefined,
): Promise<RequestRow | null> {
  const { rows } = await client.query<RequestRow>(
    `UPDATE countersign.request r SET attached_by = $3,
       waits_until = clock_timestamp() + make_interval(secs => $4)
     WHERE r.id = (SELECT r.id FROM countersign.request r
       WHERE r.agent = $1 AND r.attach_key = $2 AND r.state IN ('open', 'approved') AND NOT ${ATTACHED}
         AND r.expires_at > clock_timestamp()
         AND (r.receipt_expires_at IS NULL OR r.receipt_expires_at > clock_timestamp())
       ORDER BY r.state = 'approved' DESC, r.created_at, r.id LIMIT 1 FOR UPDATE)
     RETURNING ${REQUEST_COLUMNS}`,
    [binding.agent, attachKey(binding), context.processId, seconds(holdMs)],
  );
  return rows[0] ?? null;
}

async function recentDenial(
  context: StoreContext,
  { client }: Transaction,
  binding: Binding,
): Promise<RequestRow | null> {
  const { rows } = await client.query<RequestRow>(
    `SELECT ${REQUEST_COLUMNS} FROM countersign.request r
     WHERE r.agent = $1 AND r.attach_key = $2 AND r.ended_at > clock_timestamp() - make_interval(secs => $3)
     ORDER BY r.ended_at DESC LIMIT 1`,
    [binding.agent, attachKey(binding), context.limits.denialRepeatMs / 1000],
  );
  // Only if nothing happened to the same statement since.
  const [row] = rows;
  return row?.state === 'denied' ? row : null;
}

/**
 * The same statement was asked under another policy or about other objects, and nobody waits for that any more. Where
 * fewer of its names are known now than then, the objects may well be the same, only the database was not readable: what
 * people have approved stays for when it is.
 */
async function supersede(transaction: Transaction, binding: Binding): Promise<void> {
  const { client } = transaction;
  const { rows } = await client.query<{ id: string; shown: string }>(
    `UPDATE countersign.request r SET state = 'expired', ended_at = clock_timestamp(), attached_by = NULL,
       end_reason = 'superseded: the policy or an object has changed since',
       revision = nextval('countersign.revision'), changed_at = clock_timestamp()
     WHERE r.agent = $1 AND r.statement_key = $2 AND r.attach_key <> $3 AND r.state IN ('open', 'approved')
       AND NOT ${ATTACHED}
       AND (r.binding::json ->> 'policyDigest' <> $4
            OR (SELECT count(*) FROM json_array_elements(r.binding::json -> 'relations') o
                 WHERE o ->> 'oid' IS NULL) >= $5)
     RETURNING r.id, r.shown`,
    [binding.agent, statementKey(binding), attachKey(binding), binding.policyDigest, unknownNames(binding)],
  );
  for (const { id, shown } of rows) {
    transaction.notify(id);
    transaction.regroup(id);
    transaction.record({
      kind: 'request_expired',
      session: parseShown({ shown }).session,
      requestId: id,
      detail: { reason: 'superseded' },
    });
  }
}

function unknownNames({ relations }: Binding): number {
  return relations.filter(({ oid }) => oid === null).length;
}

async function insertRequest(
  context: StoreContext,
  transaction: Transaction,
  question: Question,
  binding: Binding,
): Promise<RequestRow> {
  const { session, demand } = question;
  const id = newRequestId();
  transaction.regroup(id);
  const { rows } = await transaction.client.query<RequestRow>(
    `INSERT INTO countersign.request AS r (id, agent, owner, on_behalf_of, database, role, sql, class, rule, command,
       shown, parameters, binding, digest, attach_key, statement_key, nonce, forbidden, quorum, assurance, expires_at, attached_by,
       waits_until)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
       clock_timestamp() + make_interval(secs => $23))
     RETURNING ${REQUEST_COLUMNS}`,
    [
      id,
      session.agent,
      session.owner,
      session.onBehalfOf,
      session.database,
      session.role,
      question.sql,
      question.class,
      question.rule,
      question.command,
      JSON.stringify(shownOf(question)),
      parametersText(question),
      bindingText(binding),
      bindingDigest(binding),
      attachKey(binding),
      statementKey(binding),
      binding.nonce,
      forbiddenPeople(context.directory, session),
      demand.quorum,
      demand.assurance,
      new Date(binding.expiresAtMs),
      context.processId,
      seconds(question.holdMs),
    ],
  );
  const [row] = rows;
  if (row === undefined) throw new Error('the new request did not come back');
  transaction.notify(id);
  transaction.record(openedEntry(row, question));
  return row;
}

function seconds(ms: number | undefined): number | null {
  return ms === undefined ? null : ms / 1000;
}

function openedEntry(row: RequestRow, question: Question): EventFacts {
  return {
    kind: 'request_opened',
    session: question.session,
    requestId: row.id,
    people: row.forbidden,
    detail: {
      digest: row.digest,
      sql_sha256: parseBinding(row).sqlSha256,
      class: row.class,
      rule: row.rule,
      policy_digest: question.policyDigest,
      approvers: question.demand.approvers.join(', '),
      quorum: String(row.quorum),
      assurance: String(row.assurance),
      ...escalationDetail(parseBinding(row).demand),
      ...limitDetail(parseBinding(row).limits),
      expires_at: row.expires_at.toISOString(),
      told_sha256: parseBinding(row).toldSha256,
      ...contextDetail(question),
    },
  };
}

/** Who may answer as well from when on; nothing where nobody is brought in. */
function escalationDetail({ escalation }: Binding['demand']): Record<string, string> {
  if (escalation === undefined) return {};
  return {
    escalates_at: new Date(escalation.fromMs).toISOString(),
    escalation: escalation.approvers.join(', '),
  };
}

/** Only what is limited. */
function limitDetail({ rows, bytes }: Binding['limits']): Record<string, string> {
  return {
    ...(rows === null ? {} : { limit_rows: String(rows) }),
    ...(bytes === null ? {} : { limit_bytes: String(bytes) }),
  };
}

/** What people were told, for the log: as it is stored, or as much of it as an entry should hold. */
function contextDetail({ context }: Question): Readonly<Record<string, string>> {
  if (context === undefined) return {};
  const text = JSON.stringify(context);
  const whole = text.length <= CONTEXT_CHARACTERS;
  const brief = {
    ...context,
    findings: context.findings.map((one) => ({ ...one, items: one.items.slice(0, 3) })),
  };
  return {
    context: whole ? text : JSON.stringify(brief).slice(0, CONTEXT_CHARACTERS),
  };
}

/** Of a context in an entry of the log. */
const CONTEXT_CHARACTERS = 16_384;

/** An answer of before says until when it counts. */
function answeredBefore({ limits }: StoreContext, row: RequestRow): Ended | null {
  const ended = endedOf(row);
  if (ended === null || row.ended_at === null) return ended;
  return { ...ended, repeatedUntil: new Date(row.ended_at.getTime() + limits.denialRepeatMs) };
}

function opened(context: StoreContext, row: RequestRow, attached: boolean): OpenedRequest {
  return {
    id: row.id,
    state: row.state,
    attached,
    expiresAt: row.expires_at,
    url: requestUrl(context.publicUrl, row.id),
    ended: answeredBefore(context, row),
  };
}

const ID_ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const ID_CHARACTERS = 22;

/** `req_` and 22 characters, 130 random bits. */
function newRequestId(): string {
  let id = '';
  while (id.length < ID_CHARACTERS) {
    for (const byte of randomBytes(ID_CHARACTERS)) {
      // 248 = 4 · 62: above it, some characters would be likelier than others.
      if (byte < 248 && id.length < ID_CHARACTERS) id += ID_ALPHABET[byte % 62];
    }
  }
  return `req_${id}`;
}
