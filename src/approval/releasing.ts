import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { demandAt } from '../policy/escalation.ts';
import { type ReceiptClaims, ReceiptError, requireSameFacts, verifyReceipt } from '../signing/receipt.ts';
import { standingApprovals } from './answer.ts';
import { stillProved } from './attesting.ts';
import { inTransaction, type StoreContext, type Transaction } from './context.ts';
import { bindingDigest, bindingOf, toldSha256 } from './digest.ts';
import { countPeople, forbiddenPeople } from './eligibility.ts';
import type { ShownOutcome } from './guard.ts';
import { statesBefore } from './machine.ts';
import { type Question, type Release, ReleaseRefused } from './port.ts';
import { outcomeText, parseBinding, parseShown, REQUEST_COLUMNS, type RequestRow, toldOf } from './rows.ts';
import { learnKeys } from './signing-keys.ts';

/**
 * `Approvals.release`. The argument, top to bottom: the row says approved; its receipt is signed by a key of ours, which
 * is not revoked; it is about this request and exactly what is about to run, computed here from the question, not from
 * the row; the people it names may approve this now, with passkeys that are still theirs where they used one, and are
 * enough; and of all processes and attempts, only this one moved it to `consumed`.
 */
export async function releaseRequest(
  context: StoreContext,
  id: string,
  question: Question,
): Promise<Release> {
  context.running.begin(id);
  try {
    return await patiently(
      () => releaseOnce(context, id, question, false),
      () => releaseOnce(context, id, question, true),
    );
  } catch (error) {
    // If the COMMIT's answer was lost, the request may be consumed: then the janitor makes it `unknown`, never a retry.
    context.running.end(id);
    throw error;
  }
}

/** How long a way to the database that broke is waited for, milliseconds, and between attempts. */
const PATIENCE_MS = 5_000;
const AGAIN_MS = 200;
/** For the transaction that broke to end at the server. */
const LOCK_MS = 2_000;

/**
 * A way that broke costs no approval, where it is certain that nothing was consumed. `again` finds that out: it takes the
 * row's lock, for which it waits until the transaction before has ended, and goes on only if the request still is approved.
 * No COMMIT of that one can come later: it is sent only after the answer to the UPDATE that locks the row.
 */
async function patiently(first: () => Promise<Release>, again: () => Promise<Release>): Promise<Release> {
  const end = performance.now() + PATIENCE_MS;
  for (let attempt = first; ; attempt = again) {
    try {
      return await attempt();
    } catch (error) {
      if (!isBrokenWay(error) || performance.now() + AGAIN_MS > end) throw error;
      await sleep(AGAIN_MS, undefined, { ref: false });
    }
  }
}

/** The connection, or the server, not the question. */
function isBrokenWay(error: unknown): boolean {
  if (error instanceof ReleaseRefused) return false;
  return !(error instanceof pg.DatabaseError) || /^(08|53|57P)/.test(error.code ?? '');
}

function releaseOnce(
  context: StoreContext,
  id: string,
  question: Question,
  isRetry: boolean,
): Promise<Release> {
  return inTransaction(context, async (transaction) => {
    if (isRetry) await waitForTheOneBefore(transaction, id);
    const row = await approvedRow(transaction, id);
    const claims = await verifiedClaims(context, transaction, row, question);
    requirePeople(context, claims, question, openedAtMs(row), transaction.nowMs);
    await consume(context, transaction, row);
    const approvers = [...new Set(claims.approvers.map(({ person }) => person))];
    transaction.notify(id);
    transaction.record({
      kind: 'released',
      session: question.session,
      requestId: id,
      people: approvers,
      receipt: row.receipt,
      detail: { digest: claims.digest, process: context.processId },
    });
    return { requestId: id, receipt: row.receipt, approvers };
  });
}

/** Rejects with 55P03 when it does not end in time: then what became of it is not known, and nothing is tried again. */
async function waitForTheOneBefore({ client }: Transaction, id: string): Promise<void> {
  await client.query(`SET LOCAL lock_timeout = ${LOCK_MS}`);
  await client.query('SELECT FROM countersign.request WHERE id = $1 FOR UPDATE', [id]);
}

type ApprovedRow = RequestRow & { readonly receipt: string };

async function approvedRow({ client }: Transaction, id: string): Promise<ApprovedRow> {
  const { rows } = await client.query<RequestRow>(
    `SELECT ${REQUEST_COLUMNS} FROM countersign.request r WHERE r.id = $1`,
    [id],
  );
  const [row] = rows;
  if (row === undefined) throw new ReleaseRefused('not_found', `there is no request ${id}`);
  if (row.state !== 'approved' || row.receipt === null) {
    throw new ReleaseRefused(`request_${row.state}`, `request ${id} is ${row.state}, not approved`);
  }
  return { ...row, receipt: row.receipt };
}

async function verifiedClaims(
  { keys, limits }: StoreContext,
  { client, nowMs }: Transaction,
  row: ApprovedRow,
  question: Question,
): Promise<ReceiptClaims> {
  // What was revoked a moment ago, on this machine or another.
  await learnKeys(client, keys);
  // What a statement that is sent again may differ in (attachKey) is the row's: run, what was told, nonce and expiry. A
  // row with others gives another digest than the one that was signed. Statement and parameters as they were shown are
  // not among it: they follow from the bytes, so that nobody can have exchanged the card before it was approved.
  const { run } = parseBinding(row);
  const binding = {
    ...bindingOf(question, row.nonce, row.expires_at.getTime(), openedAtMs(row)),
    run,
    toldSha256: toldSha256(toldOf(row)),
  };
  try {
    const lifetime = Math.ceil(limits.receiptLifetimeMs / 1000);
    const claims = await verifyReceipt(row.receipt, keys, Math.floor(nowMs / 1000), lifetime);
    requireSameFacts(claims, {
      request: row.id,
      digest: bindingDigest(binding),
      sqlSha256: binding.sqlSha256,
      parametersSha256: binding.parametersSha256,
      agent: binding.agent,
      policyDigest: binding.policyDigest,
      nonce: binding.nonce,
    });
    return claims;
  } catch (error) {
    if (error instanceof ReceiptError) throw new ReleaseRefused(error.code, error.message);
    throw error;
  }
}

/** As the binding has it. The digest that was signed holds the moment of escalation, which is counted from here. */
function openedAtMs(row: ApprovedRow): number {
  const { escalation } = parseBinding(row).demand;
  return escalation === undefined ? Number.NaN : escalation.fromMs - escalation.afterMs;
}

/** Judged anew, with the demand of the question and the people of today: who was removed since does not count. */
function requirePeople(
  context: StoreContext,
  claims: ReceiptClaims,
  question: Question,
  openedAtMs: number,
  nowMs: number,
): void {
  const { directory } = context;
  const fromMs = openedAtMs + (question.demand.escalation?.afterMs ?? 0);
  // The claims' digest is that of what is about to run (`requireSameFacts`).
  const approvers = claims.approvers.filter((approver) => stillProved(context, claims.digest, approver));
  const counted = standingApprovals(
    {
      forbidden: forbiddenPeople(directory, question.session),
      demand: demandAt(question.demand, fromMs, nowMs),
      verdicts: approvers.map((approver) => ({
        ...approver,
        verdict: 'approve' as const,
        // As it was given: whoever was on call then may have gone home since.
        atMs: approver.at * 1000,
      })),
    },
    directory,
  );
  if (countPeople(counted, directory) < question.demand.quorum) {
    throw new ReleaseRefused(
      'approvers_not_eligible',
      `of the people who approved, ${countPeople(counted, directory)} may approve this now, and ${question.demand.quorum} are needed`,
    );
  }
}

/** The compare-and-swap. One approval, one release: whoever comes second finds another state. */
async function consume(
  { processId }: StoreContext,
  { client }: Transaction,
  row: ApprovedRow,
): Promise<void> {
  const { rowCount } = await client.query(
    `UPDATE countersign.request SET state = 'consumed', consumed_by = $2, attached_by = NULL,
       revision = nextval('countersign.revision'), changed_at = clock_timestamp()
     WHERE id = $1 AND state = ANY ($3) AND attached_by = $2 AND receipt = $4
       AND expires_at > clock_timestamp() AND receipt_expires_at > clock_timestamp()`,
    [row.id, processId, statesBefore('release'), row.receipt],
  );
  if (rowCount !== 1) {
    throw new ReleaseRefused(
      'lost_race',
      `request ${row.id} was released, ended, or taken over by another hold in the same moment`,
    );
  }
}

/**
 * `Approvals.end`. A request that was given up as `unknown` meanwhile stays so. The last change before was
 * its release, so the time since is what the statement took.
 */
export async function endRequest(
  context: StoreContext,
  id: string,
  outcome: 'executed' | 'failed' | 'unknown',
  facts: ShownOutcome,
): Promise<void> {
  await inTransaction(context, async (transaction) => {
    const { rows } = await transaction.client.query<{ shown: string }>(
      `UPDATE countersign.request SET state = $3, ended_at = clock_timestamp(),
         outcome = ($4::jsonb || jsonb_build_object('ms',
           floor(extract(epoch FROM clock_timestamp() - changed_at) * 1000)))::text,
         revision = nextval('countersign.revision'), changed_at = clock_timestamp()
       WHERE id = $1 AND state = ANY ($5) AND consumed_by = $2 RETURNING shown`,
      [
        id,
        context.processId,
        outcome,
        outcomeText(facts),
        statesBefore(outcome === 'unknown' ? 'loss' : outcome),
      ],
    );
    const [row] = rows;
    if (row === undefined) return;
    transaction.notify(id);
    transaction.record({
      kind: 'request_ended',
      session: parseShown(row).session,
      requestId: id,
      detail: {
        outcome,
        tag: facts.tag ?? '',
        rows: String(facts.rows),
        bytes: String(facts.bytes),
        sqlstate: facts.sqlstate ?? '',
      },
    });
  });
  context.running.end(id);
}

/**
 * `Approvals.withdraw`. Too late for one that was released or has ended, or that another process has taken over from a
 * hold which it thought dead: then nothing changes.
 */
export async function withdrawRequest(context: StoreContext, id: string, why: string): Promise<void> {
  await inTransaction(context, async (transaction) => {
    const { rows } = await transaction.client.query<{ shown: string }>(
      `UPDATE countersign.request SET state = 'withdrawn', ended_at = clock_timestamp(), end_reason = $2,
         attached_by = NULL, revision = nextval('countersign.revision'), changed_at = clock_timestamp()
       WHERE id = $1 AND state = ANY ($3) AND (attached_by IS NULL OR attached_by = $4) RETURNING shown`,
      [id, why, statesBefore('withdrawal'), context.processId],
    );
    const [row] = rows;
    if (row === undefined) return;
    transaction.notify(id);
    transaction.regroup(id);
    transaction.record({
      kind: 'request_withdrawn',
      session: parseShown(row).session,
      requestId: id,
      detail: { reason: why },
    });
  });
}

/** `Approvals.detach`. Not a change of state: the request can be attached to again, by whichever process. */
export async function detachRequest({ pool, processId }: StoreContext, id: string): Promise<void> {
  await pool.query('UPDATE countersign.request SET attached_by = NULL WHERE id = $1 AND attached_by = $2', [
    id,
    processId,
  ]);
}
