/** Carries out what was ruled about a message, and ends dealing with it. */
import { fatalError } from '../protocol/backend.ts';
import { forwardWithheld, injectFlush, positionOf, refuse, refuseCurrent } from './forward.ts';
import { endHold, giveUp } from './give-up.ts';
import type { Hindrance } from './judge.ts';
import { wait } from './put-aside.ts';
import type { Current, SessionState } from './state.ts';
import type { Subject } from './subject.ts';

/** The text in question, and its judgement as far as there is one. */
export type Where = { readonly sql: Buffer; readonly judged: Subject | null };

export const NOWHERE: Where = { sql: Buffer.alloc(0), judged: null };
export const SETTLE_FIRST: Hindrance = { kind: 'wait', phase: 'settling' };

/** Carries out a ruling that is not to forward. `name`: of a Parse. */
export function obey(
  state: SessionState,
  ruling: Hindrance,
  type: number,
  frame: Buffer,
  name: string,
  where: Where,
  current: Current | null,
): void {
  switch (ruling.kind) {
    case 'wait':
      if (ruling.phase === 'settling') injectFlush(state);
      return wait(state, ruling.phase, type, frame, where);
    case 'drop':
      if (current !== null) endHold(state, current, null);
      return finish(state);
    case 'refuse':
      if (current !== null) endHold(state, current, ruling.fields['C'] ?? null);
      forwardWithheld(state);
      refuse(
        state,
        positionOf(type, name, frame, ruling.first === true),
        ruling.fields,
        ruling.runs,
        ruling.first,
      );
      return finish(state);
    case 'refuseHeld':
      if (current === null) throw new Error('a hold ended that never began');
      forwardWithheld(state);
      refuseCurrent(state, current, positionOf(type, name, frame, false));
      return finish(state);
  }
}

/** The message is dealt with. */
export function finish(state: SessionState): void {
  state.current = null;
  state.phase = state.stream === null ? 'ready' : 'streaming';
}

/** Ends the session for the client's fault; `code` null: without a word to the client. */
export function close(state: SessionState, code: string | null, message: string): void {
  closeWith(state, code === null ? null : fatalError(code, message), message);
}

/** The same in any words; `why` is for the log. */
export function closeWith(state: SessionState, error: Buffer | null, why: string): void {
  giveUp(state);
  state.phase = 'ended';
  state.effects.push({ kind: 'stopTimers', end: 'failed' }, { kind: 'close', error, why });
}
