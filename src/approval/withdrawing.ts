import type { Person } from '../config/config.ts';
import { cutReason, lockedRow } from './answering.ts';
import { approvalsOf } from './approving.ts';
import { inTransaction, type StoreContext, type Transaction } from './context.ts';
import { alsoKnownAs, countPeople, refusalOf, resolvePerson } from './eligibility.ts';
import type { GuardCode, GuardResult, Withdrawal } from './guard.ts';
import { transition } from './machine.ts';
import { identityText, refused } from './refusing.ts';
import { parseShown, type RequestRow, viewOf } from './rows.ts';

/**
 * `RequestFeed.takeBack`: approved -> withdrawn, under the request's lock, so that either the release or this comes first
 * and the other finds another state. Whoever had approved may, and whoever could deny the request if it were open.
 */
export async function takeBack(context: StoreContext, withdrawal: Withdrawal): Promise<GuardResult> {
  return context.inTurn(withdrawal.requestId, () =>
    inTransaction(context, (transaction) => takeBackLocked(context, transaction, withdrawal)),
  );
}

async function takeBackLocked(
  context: StoreContext,
  transaction: Transaction,
  withdrawal: Withdrawal,
): Promise<GuardResult> {
  const row = await lockedRow(transaction, withdrawal.requestId);
  const refuse = (code: GuardCode) =>
    refused(context, transaction, { ...withdrawal, verdict: 'withdraw' }, row, code);
  const resolved = resolvePerson(context.directory, withdrawal.person);
  if (resolved.kind === 'agent') return refuse('agent_credential');
  if (resolved.kind === 'nobody') return refuse('unknown_person');
  if (resolved.kind === 'ambiguous') return refuse('ambiguous_person');
  if (row === null) return refuse('not_found');
  if (withdrawal.may?.includes('deny') === false) return refuse('scope_missing');
  const person = alsoKnownAs(resolved.person, withdrawal.alsoKnownAs);
  const refusal = mayTakeBack(row, person);
  if (refusal !== null) return refuse(refusal);
  const done = { ok: true, id: row.id, state: 'withdrawn', person: person.id, quorum: row.quorum } as const;
  const approvals = countPeople(approvalsOf(context, row), context.directory);
  if (row.state === 'withdrawn' && row.ended_by === person.id) return { ...done, repeated: true, approvals };
  if (row.state === 'open') return refuse('not_approved');
  if (transition(row.state, 'withdrawal') !== 'withdrawn') return refuse('already_ended');
  await becomeWithdrawn(transaction, row, person, withdrawal);
  return { ...done, repeated: false, approvals };
}

function mayTakeBack(row: RequestRow, person: Person): GuardCode | null {
  const refusal = refusalOf(person, row.forbidden, viewOf(row, '').demand, 'deny', 1, null);
  const gave = row.verdicts.some((given) => given.person === person.id && given.verdict === 'approve');
  return gave && refusal !== 'self_approval' ? null : refusal;
}

async function becomeWithdrawn(
  transaction: Transaction,
  row: RequestRow,
  person: Person,
  withdrawal: Withdrawal,
): Promise<void> {
  const reason = cutReason(withdrawal.reason);
  const { rowCount } = await transaction.client.query(
    `UPDATE countersign.request SET state = 'withdrawn', ended_at = clock_timestamp(), ended_by = $2, end_reason = $3,
       attached_by = NULL, revision = nextval('countersign.revision'), changed_at = clock_timestamp()
     WHERE id = $1 AND state = 'approved'`,
    [row.id, person.id, reason ?? `${person.id} took the approval back`],
  );
  if (rowCount !== 1) throw new Error(`request ${row.id} left the state approved under its own lock`);
  transaction.notify(row.id);
  transaction.record({
    kind: 'request_withdrawn',
    session: parseShown(row).session,
    requestId: row.id,
    people: [person.id],
    detail: {
      reason: reason ?? '',
      channel: withdrawal.channel,
      ids: withdrawal.person.map(identityText).join(' '),
      digest: row.digest,
    },
  });
}
