import type { Person } from '../config/config.ts';
import type { ApprovalDemand } from '../policy/decision.ts';
import { countPeople, type Directory, type Refusal, refusalOf } from './eligibility.ts';
import { transition } from './machine.ts';
import type { RequestState } from './port.ts';

/** What the guard knows of a request when somebody answers it. */
export type Standing = {
  readonly state: RequestState;
  readonly forbidden: readonly string[];
  readonly demand: ApprovalDemand;
  readonly verdicts: readonly StandingVerdict[];
};

export type StandingVerdict = {
  readonly person: string;
  readonly verdict: 'approve' | 'deny';
  readonly assurance: 1 | 2 | 3;
  /** When it was given, by the database's clock, milliseconds since 1970 UTC: who is on call depends on it. */
  readonly atMs: number;
};

export type AnswerEffect =
  | { readonly kind: 'refuse'; readonly code: Refusal | 'already_ended' | 'already_answered' }
  /** The same verdict of the same person again: nothing changes. */
  | { readonly kind: 'repeat' }
  /** Record the verdict; the request is then in state `next`. */
  | { readonly kind: 'record'; readonly next: 'open' | 'approved' | 'denied'; readonly approvals: number };

/** The whole rule of an answer. Pure: the store locks the request, asks this, and does what it says. */
export function answerRequest(
  standing: Standing,
  directory: Directory,
  person: Person,
  verdict: 'approve' | 'deny',
  assurance: 1 | 2 | 3,
  atMs: number,
): AnswerEffect {
  const before = standing.verdicts.find((given) => given.person === person.id);
  // The same answer again is judged as of when it was given: a redelivery after the shift is none of another hour.
  const givenMs = before?.verdict === verdict ? before.atMs : atMs;
  const refusal = refusalOf(person, standing.forbidden, standing.demand, verdict, assurance, givenMs);
  if (refusal !== null) return { kind: 'refuse', code: refusal };
  if (before?.verdict === verdict) return { kind: 'repeat' };
  if (standing.state !== 'open') return { kind: 'refuse', code: 'already_ended' };
  if (before?.verdict === 'deny') return { kind: 'refuse', code: 'already_answered' };
  const others = standing.verdicts.filter((given) => given.person !== person.id);
  const all = [...others, { person: person.id, verdict, assurance, atMs }];
  const approvals = countPeople(standingApprovals({ ...standing, verdicts: all }, directory), directory);
  if (verdict === 'deny') return { kind: 'record', next: reached('denial', 'denied'), approvals };
  const complete = approvals >= standing.demand.quorum;
  return { kind: 'record', next: complete ? reached('quorum', 'approved') : 'open', approvals };
}

/** The approvals that count now: of people who are still in the configuration and still may approve. */
export function standingApprovals<V extends StandingVerdict>(
  standing: Omit<Standing, 'state' | 'verdicts'> & { readonly verdicts: readonly V[] },
  directory: Directory,
): readonly V[] {
  return standing.verdicts.filter(({ person: id, verdict, assurance, atMs }) => {
    const person = directory.people.find((known) => known.id === id);
    if (verdict !== 'approve' || person === undefined) return false;
    return refusalOf(person, standing.forbidden, standing.demand, 'approve', assurance, atMs) === null;
  });
}

function reached<S extends 'approved' | 'denied'>(event: 'quorum' | 'denial', state: S): S {
  if (transition('open', event) !== state) throw new Error(`the state machine has no way to ${state}`);
  return state;
}
