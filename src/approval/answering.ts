import type pg from 'pg';
import type { Person } from '../config/config.ts';
import { sealVerdict } from '../signing/verdict-seal.ts';
import { type AnswerEffect, answerRequest } from './answer.ts';
import { approvalsOf, becomeApproved, provedVerdicts } from './approving.ts';
import { type Attested, attest } from './attesting.ts';
import { inTransaction, type StoreContext, type Transaction } from './context.ts';
import { type Binding, shownSha256, toldSha256 } from './digest.ts';
import { alsoKnownAs, countPeople, resolvePerson } from './eligibility.ts';
import { type Answer, type GuardCode, type GuardResult, REASON_CHARACTERS } from './guard.ts';
import { approvalsInMinute, noticeFor } from './pace.ts';
import type { RequestState } from './port.ts';
import { identityText, refused } from './refusing.ts';
import {
  demandNow,
  isRequestId,
  parseBinding,
  parseParameters,
  parseShown,
  REQUEST_COLUMNS,
  type RequestRow,
  toldOf,
} from './rows.ts';
import { allSealed, sealedVerdict } from './sealing.ts';
import { learnKeys } from './signing-keys.ts';

/**
 * `Guard.decide`: who is this, may they, and what becomes of the request. Under the request's lock, in one transaction.
 * Answers to one request take turns within this process, and a repetition costs one look: a replayed click cannot use
 * up the connections that other requests need.
 */
export async function decide(context: StoreContext, answer: Answer): Promise<GuardResult> {
  return context.inTurn(answer.requestId, async (waited) => {
    const repeated = waited ? await repeatedAnswer(context, answer) : null;
    return repeated ?? inTransaction(context, (transaction) => decideLocked(context, transaction, answer));
  });
}

async function repeatedAnswer(context: StoreContext, answer: Answer): Promise<GuardResult | null> {
  const resolved = resolvePerson(context.directory, answer.person);
  const row = await requestRow(context.pool, answer.requestId);
  if (resolved.kind !== 'person' || row === null || (await isAltered(context, row))) return null;
  if (answer.may?.includes(answer.verdict) === false) return null;
  const person = alsoKnownAs(resolved.person, answer.alsoKnownAs);
  const attested = await attest(context, resolved.person, row.digest, answer);
  if (!attested.ok) return null;
  const effect = effectOf(context, row, person, { ...answer, ...attested }, row.state, Date.now());
  return effect.kind === 'repeat' ? accepted(context, row, person) : null;
}

async function decideLocked(
  context: StoreContext,
  transaction: Transaction,
  answer: Answer,
): Promise<GuardResult> {
  const row = await lockedRow(transaction, answer.requestId);
  const refuse = (code: GuardCode, why?: string) => refused(context, transaction, answer, row, code, why);
  const resolved = resolvePerson(context.directory, answer.person);
  if (resolved.kind === 'agent') return refuse('agent_credential');
  if (resolved.kind === 'nobody') return refuse('unknown_person');
  if (resolved.kind === 'ambiguous') return refuse('ambiguous_person');
  if (row === null) return refuse('not_found');
  if (answer.may?.includes(answer.verdict) === false) return refuse('scope_missing');
  await learnKeys(transaction.client, context.keys);
  if (await isAltered(context, row)) return refuse('request_altered');

  const person = alsoKnownAs(resolved.person, answer.alsoKnownAs);
  // A request whose time is over counts as expired, even if the janitor has not come by yet.
  const overdue = row.state === 'open' && row.expires_at.getTime() <= transaction.nowMs;
  const state = overdue ? 'expired' : row.state;
  const attested = await attest(context, resolved.person, row.digest, answer);
  if (!attested.ok) return refuse('passkey_refused', attested.why);
  const effect = effectOf(context, row, person, { ...answer, ...attested }, state, transaction.nowMs);
  if (effect.kind === 'refuse') return refuse(effect.code);
  if (effect.kind === 'repeat') return accepted(context, row, person);
  const pace = await paceOf(context, transaction, row, person, answer);
  if (pace.tooFast) return refuse('too_fast');
  await recordVerdict(context, transaction, row, person, answer, attested);
  if (effect.next === 'denied') await becomeDenied(transaction, row, person, answer);
  if (effect.next === 'approved') {
    const complete = await requestRow(transaction.client, row.id);
    if (complete === null) throw new Error(`request ${row.id} is gone under its own lock`);
    await becomeApproved(context, transaction, complete);
  }
  if (effect.next === 'open') await touch(transaction, row.id);
  const { next, approvals } = effect;
  const result = {
    id: row.id,
    person: person.id,
    quorum: row.quorum,
    state: next,
    repeated: false,
    approvals,
  };
  return { ok: true, ...result, ...(pace.notice === null ? {} : { notice: pace.notice }) };
}

/** Only approvals have a pace: saying no is never too fast. */
async function paceOf(
  { limits }: StoreContext,
  transaction: Transaction,
  row: RequestRow,
  person: Person,
  { verdict }: Answer,
): Promise<{ readonly tooFast: boolean; readonly notice: string | null }> {
  if (verdict === 'deny') return { tooFast: false, notice: null };
  const approvals = (await approvalsInMinute(transaction, person.id)) + 1;
  const most = parseBinding(row).demand.maxPerMinute ?? limits.approvalsPerMinutePerPerson;
  const notice = noticeFor(row, approvals, limits.approvalsNoticedPerMinute);
  return { tooFast: approvals > most, notice };
}

function effectOf(
  context: StoreContext,
  row: RequestRow,
  person: Person,
  { verdict, assurance }: Pick<Answer, 'verdict'> & { readonly assurance: 1 | 2 | 3 },
  state: RequestState,
  atMs: number,
): AnswerEffect {
  const standing = {
    state,
    forbidden: row.forbidden,
    demand: demandNow(row),
    // Their own stays, also one that counts no more: it was given, and is not given twice.
    verdicts: provedVerdicts(context, row, person.id),
  };
  return answerRequest(standing, context.directory, person, verdict, assurance, atMs);
}

function accepted(context: StoreContext, row: RequestRow, person: Person): GuardResult {
  const approvals = countPeople(approvalsOf(context, row), context.directory);
  const { id, state, quorum } = row;
  return { ok: true, id, state, person: person.id, repeated: true, approvals, quorum };
}

/** Null: there is none; otherwise as it stands, and nobody else changes it before the transaction ends. */
export async function lockedRow({ client }: Transaction, id: string): Promise<RequestRow | null> {
  if (!isRequestId(id)) return null;
  // The lock first: the verdicts must be read by a statement that began after it was granted.
  await client.query('SELECT FROM countersign.request WHERE id = $1 FOR UPDATE', [id]);
  return requestRow(client, id);
}

async function requestRow(client: pg.ClientBase | pg.Pool, id: string): Promise<RequestRow | null> {
  if (!isRequestId(id)) return null;
  // Named, so that the server plans it once on each connection: a replayed click asks it a thousand times.
  const { rows } = await client.query<RequestRow>({
    name: 'countersign request',
    text: `SELECT ${REQUEST_COLUMNS} FROM countersign.request r WHERE r.id = $1`,
    values: [id],
  });
  return rows[0] ?? null;
}

/** What people are shown must be what the digest binds, and what counts what the guard recorded: rows can be written. */
async function isAltered(context: StoreContext, row: RequestRow): Promise<boolean> {
  return isShownOtherwise(row) || !(await allSealed(context, row));
}

function isShownOtherwise(row: RequestRow): boolean {
  const binding = parseBinding(row);
  const { session } = parseShown(row);
  const same =
    binding.shownSha256 === shownSha256(row.sql, parseParameters(row)) &&
    binding.toldSha256 === toldSha256(toldOf(row)) &&
    binding.expiresAtMs === row.expires_at.getTime() &&
    binding.nonce === row.nonce &&
    binding.demand.quorum === row.quorum &&
    binding.demand.assurance === row.assurance &&
    escalatesAsOpened(binding, row);
  const parties = [row, { ...session, on_behalf_of: session.onBehalfOf }].every(
    (shown) =>
      shown.agent === binding.agent &&
      shown.owner === binding.owner &&
      shown.on_behalf_of === binding.onBehalfOf &&
      shown.database === binding.database &&
      shown.role === binding.role,
  );
  return !same || !parties;
}

/** Longest that opening a request takes, from the look at the clock to its row. */
const OPENING_MS = 60_000;

/** A moment of escalation that was moved forward does not fit the time at which the row was made. */
function escalatesAsOpened({ demand: { escalation } }: Binding, { created_at }: RequestRow): boolean {
  if (escalation === undefined) return true;
  const openedAtMs = escalation.fromMs - escalation.afterMs;
  return openedAtMs > created_at.getTime() - OPENING_MS;
}

async function recordVerdict(
  { keys }: StoreContext,
  { client, record, nowMs }: Transaction,
  row: RequestRow,
  person: Person,
  answer: Answer,
  { assurance, facts }: Attested & { readonly ok: true },
): Promise<void> {
  const { channel, verdict } = answer;
  const reason = cutReason(answer.reason);
  const given = {
    person: person.id,
    verdict,
    reason,
    channel,
    assurance,
    ids: answer.person.map(identityText),
    facts: JSON.stringify(facts),
    at_ms: nowMs,
  };
  const seal = sealVerdict(sealedVerdict(row, given), keys.signer);
  await client.query(
    `INSERT INTO countersign.verdict (request_id, person, verdict, reason, channel, assurance, ids, facts, at, seal)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, to_timestamp($9::double precision / 1000), $10)
     ON CONFLICT (request_id, person) DO UPDATE SET verdict = excluded.verdict, reason = excluded.reason,
       channel = excluded.channel, assurance = excluded.assurance, ids = excluded.ids, facts = excluded.facts,
       at = excluded.at, seal = excluded.seal`,
    [row.id, given.person, verdict, reason, channel, assurance, given.ids, given.facts, given.at_ms, seal],
  );
  record({
    kind: 'verdict',
    session: parseShown(row).session,
    requestId: row.id,
    people: [person.id],
    detail: {
      verdict,
      reason: reason ?? '',
      channel,
      assurance: String(assurance),
      ids: given.ids.join(' '),
      digest: row.digest,
      ...(facts['passkey'] === undefined ? {} : { passkey: facts['passkey'] }),
    },
  });
}

async function becomeDenied(
  transaction: Transaction,
  row: RequestRow,
  person: Person,
  answer: Answer,
): Promise<void> {
  const reason = cutReason(answer.reason);
  await transaction.client.query(
    `UPDATE countersign.request SET state = 'denied', ended_at = clock_timestamp(), ended_by = $2, end_reason = $3,
       revision = nextval('countersign.revision'), changed_at = clock_timestamp() WHERE id = $1 AND state = 'open'`,
    [row.id, person.id, reason],
  );
  transaction.notify(row.id);
  transaction.regroup(row.id);
  transaction.record({
    kind: 'request_denied',
    session: parseShown(row).session,
    requestId: row.id,
    people: [person.id],
    detail: { reason: reason ?? '', digest: row.digest },
  });
}

/** A verdict that changes no state is a change all the same: cards show who has approved so far. */
async function touch({ client, notify }: Transaction, id: string): Promise<void> {
  await client.query(
    `UPDATE countersign.request SET revision = nextval('countersign.revision'), changed_at = clock_timestamp()
     WHERE id = $1`,
    [id],
  );
  notify(id);
}

export function cutReason(reason: string | null): string | null {
  const text = (reason ?? '').replaceAll('\0', '').trim().slice(0, REASON_CHARACTERS);
  return text === '' ? null : text;
}
