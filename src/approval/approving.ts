import { type ReceiptApprover, signReceipt, verifyReceipt } from '../signing/receipt.ts';
import { standingApprovals } from './answer.ts';
import { stillProved } from './attesting.ts';
import type { StoreContext, Transaction } from './context.ts';
import {
  demandNow,
  parseBinding,
  parseShown,
  type RequestRow,
  standingVerdicts,
  type VerdictRow,
} from './rows.ts';
import { allSealed } from './sealing.ts';

/**
 * open -> approved: signs the receipt, checks it as the releasing process will, and stores both. `row` was read under
 * the lock, after the last verdict was recorded, with keys that are of this moment (`learnKeys`).
 */
export async function becomeApproved(
  context: StoreContext,
  transaction: Transaction,
  row: RequestRow,
): Promise<void> {
  // Each of them was recorded by the guard itself: what else stands in the table counts for nothing.
  if (!(await allSealed(context, row))) throw new Error(`request ${row.id} has a verdict without a seal`);
  const approvals = approvalsOf(context, row);
  const { signer } = context.keys;
  const expiresMs = Math.min(row.expires_at.getTime(), transaction.nowMs + context.limits.receiptLifetimeMs);
  const receipt = await signReceipt(receiptClaims(row, approvals, transaction.nowMs, expiresMs), signer);
  await verifyReceipt(receipt, context.keys, null);
  const { rowCount } = await transaction.client.query(
    `UPDATE countersign.request SET state = 'approved', receipt = $2, receipt_expires_at = $3,
       revision = nextval('countersign.revision'), changed_at = clock_timestamp() WHERE id = $1 AND state = 'open'`,
    [row.id, receipt, new Date(expiresMs)],
  );
  if (rowCount !== 1) throw new Error(`request ${row.id} left the state open under its own lock`);
  transaction.notify(row.id);
  transaction.regroup(row.id);
  transaction.record({
    kind: 'request_approved',
    session: parseShown(row).session,
    requestId: row.id,
    people: approvals.map(({ person }) => person),
    receipt,
    detail: { digest: row.digest, kid: signer.kid },
  });
}

function receiptClaims(row: RequestRow, approvals: readonly VerdictRow[], nowMs: number, expiresMs: number) {
  const binding = parseBinding(row);
  return {
    iss: 'countersign',
    request: row.id,
    digest: row.digest,
    sqlSha256: binding.sqlSha256,
    parametersSha256: binding.parametersSha256,
    agent: binding.agent,
    approvers: approvals.map(approverOf),
    policyDigest: binding.policyDigest,
    limits: { ...binding.limits },
    nonce: binding.nonce,
    iat: Math.floor(nowMs / 1000),
    exp: Math.floor(expiresMs / 1000),
  } as const;
}

function approverOf(verdict: VerdictRow): ReceiptApprover {
  const { person, channel, ids, assurance, at_ms, reason } = verdict;
  return {
    person,
    channel,
    ids: [...ids],
    assurance,
    at: Math.floor(at_ms / 1000),
    reason,
    facts: factsOf(verdict),
  };
}

/** The approvals among the stored verdicts that count now. */
export function approvalsOf(context: StoreContext, row: RequestRow): readonly VerdictRow[] {
  return standingApprovals(
    { forbidden: row.forbidden, demand: demandNow(row), verdicts: provedVerdicts(context, row) },
    context.directory,
  );
}

/** The stored verdicts without those whose passkey does not stand for them any more, unless they are that person's. */
export function provedVerdicts(
  context: StoreContext,
  row: RequestRow,
  of: string | null = null,
): ReturnType<typeof standingVerdicts> {
  return standingVerdicts(row).filter(
    (verdict) =>
      verdict.person === of ||
      verdict.verdict === 'deny' ||
      stillProved(context, row.digest, { ...verdict, facts: factsOf(verdict) }),
  );
}

/** Attacker-controlled, until its seal is looked at: texts alone, and nothing where it is none. */
function factsOf({ facts }: Pick<VerdictRow, 'facts'>): Record<string, string> {
  try {
    const found: unknown = JSON.parse(facts);
    const entries = Object.entries(typeof found === 'object' && found !== null ? found : {});
    return Object.fromEntries(entries.filter(([, value]) => typeof value === 'string'));
  } catch {
    return {};
  }
}
