import { isSealed, type SealedVerdict } from '../signing/verdict-seal.ts';
import type { StoreContext } from './context.ts';
import type { RequestRow, VerdictRow } from './rows.ts';

/**
 * Whether the guard itself recorded every verdict of this request. Its writer can put rows into the table; it has no
 * key to seal them with. One row without a seal is enough for the whole request to count as altered.
 */
export async function allSealed({ keys }: StoreContext, row: RequestRow): Promise<boolean> {
  for (const verdict of row.verdicts) {
    if (!(await isSealed(verdict.seal, sealedVerdict(row, verdict), keys))) return false;
  }
  return true;
}

export function sealedVerdict(
  { id, digest }: Pick<RequestRow, 'id' | 'digest'>,
  { person, verdict, reason, channel, assurance, ids, facts, at_ms }: Omit<VerdictRow, 'seal' | 'atMs'>,
): SealedVerdict {
  return { request: id, digest, person, verdict, reason, channel, assurance, ids, facts, atMs: at_ms };
}
