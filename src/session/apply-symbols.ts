/** What a completed statement has done to the session's names and its transaction. */
import type { TransactionOp } from '../statement/analysis.ts';
import type { Run } from './run.ts';
import type { SessionState } from './state.ts';

/** Names that SQL made or destroyed: at once, for PREPARE survives ROLLBACK and a string that fails later on. */
export function applySymbols(state: SessionState, run: Run, tag: string): void {
  if (run.symbols.length === 0) return;
  state.statements.confirm(run);
  state.portals.confirm(run);
  for (const symbol of run.symbols) {
    const all = symbol.kind === 'discard' && symbol.what === 'all';
    if (all || (symbol.kind === 'deallocate' && symbol.name === null))
      // The unnamed one is not among those that SQL knows.
      state.statements.deleteWhere((_, name) => name !== '');
    if (all || (symbol.kind === 'close' && symbol.name === null))
      // But for the portal that runs it.
      state.portals.deleteWhere((portal) => portal.kind !== 'protocol' || portal.run !== run);
    // Not where what makes new ones is under way already.
    if (all && state.openRuns.answeredBut(run)) state.tempPossible = false;
    if (symbol.kind === 'transaction') transactionChanged(state, symbol.op, tag);
  }
}

/** Within a group or string ReadyForQuery does not tell yet, but what completed is certain. */
function transactionChanged(state: SessionState, op: TransactionOp, tag: string): void {
  const inside = op === 'begin' || op === 'savepoint' || op === 'release' || op === 'rollback_to';
  state.transaction = inside || op === 'commit_and_chain' || op === 'rollback_and_chain' ? 'T' : 'I';
  if (!tag.startsWith('COMMIT')) return;
  // An error later in the group cannot undo it any more.
  for (const run of state.openRuns.finished) if (run.state === 'complete') run.implicitTransaction = false;
}
