import { decide } from './answering.ts';
import type { StoreContext } from './context.ts';
import { attachKey, type Binding } from './digest.ts';
import type { Answer, GuardResult } from './guard.ts';
import { isRequestId, parseBinding, type RequestRow } from './rows.ts';

/**
 * Requests that are shown as one: open at once, of the same agent, with the same attach key (statement, parameters,
 * whom it acts for, database, role, objects, policy, demand, limits), and of which people are told the same (class,
 * rule, reasons, context). They come about when several connections wait for the same thing, for a request belongs to
 * one hold at a time. Run, program and address may differ. Each stays a request of its own, with its own digest.
 */

/**
 * `Guard.decideAll`: the same answer for each of them, oldest first, each by itself: its own transaction, verdict and
 * receipt. Ends at the first refusal that is about the person. `only`: what was shown, so that nobody answers what
 * joined since; null: all that are open now.
 */
export async function decideAll(
  context: StoreContext,
  answer: Answer,
  only: readonly string[] | null,
): Promise<readonly GuardResult[]> {
  const alike = await alikeRequests(context, answer.requestId);
  const ids = only === null ? alike : alike.filter((id) => only.includes(id));
  if (ids.length === 0) return [await decide(context, answer)];
  const results: GuardResult[] = [];
  for (const id of ids) {
    const facts = { ...answer.attestation.facts, shown_as: answer.requestId };
    const result = await decide(context, {
      ...answer,
      requestId: id,
      attestation: { ...answer.attestation, facts },
    });
    results.push(result);
    if (!result.ok && !ABOUT_THE_REQUEST.has(result.code)) break;
  }
  return results;
}

const ABOUT_THE_REQUEST: ReadonlySet<string> = new Set([
  'not_found',
  'already_ended',
  'already_answered',
  'request_altered',
]);

/** Not by the row's own `attach_key`, which whoever writes rows could choose: by what the digests bind. */
async function alikeRequests({ pool }: StoreContext, id: string): Promise<readonly string[]> {
  if (!isRequestId(id)) return [];
  const { rows } = await pool.query<Pick<RequestRow, 'id' | 'binding'>>(
    `SELECT o.id, o.binding FROM countersign.request r JOIN countersign.request o
       ON o.agent = r.agent AND o.attach_key = r.attach_key
     WHERE r.id = $1 AND o.state = 'open' AND o.expires_at > clock_timestamp() ORDER BY o.created_at, o.id`,
    [id],
  );
  const asked = rows.find((row) => row.id === id);
  if (asked === undefined) return [];
  const key = mergeKey(parseBinding(asked));
  return rows.filter((row) => mergeKey(parseBinding(row)) === key).map((row) => row.id);
}

function mergeKey(binding: Binding): string {
  return `${attachKey(binding)} ${binding.toldSha256}`;
}
