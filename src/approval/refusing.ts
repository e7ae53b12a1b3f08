import { answerRequest } from './answer.ts';
import type { StoreContext, Transaction } from './context.ts';
import { type Directory, forbiddenPeople, resolvePerson } from './eligibility.ts';
import {
  type Answer,
  type GuardCode,
  type GuardResult,
  type Identity,
  REASON_CHARACTERS,
  type RequestView,
} from './guard.ts';
import { parseShown, type RequestRow } from './rows.ts';

const MESSAGES: Readonly<Record<GuardCode, string>> = {
  self_approval:
    'You are a party of this request (its agent, owner, or the person it acts for): somebody else must answer it.',
  agent_credential: "This is an agent's credential. Agents answer no requests.",
  unknown_person: 'This account belongs to nobody in the configuration, so it can answer nothing.',
  ambiguous_person:
    'This account belongs to more than one person in the configuration, so it can answer nothing.',
  not_an_approver: 'The rule that held this statement names other approvers.',
  automation_not_named: 'An automation approves only where the rule names it; it may deny.',
  scope_missing: 'This credential may not give that answer.',
  assurance_too_low: 'The rule asks for a stronger sign-in than this channel gives.',
  not_found: 'There is no such request.',
  already_ended: 'This request takes no answer any more.',
  not_approved: 'There is no approval to take back: the request waits for answers, so deny it instead.',
  already_answered: 'You have denied this request; that is final.',
  request_altered:
    'The stored request is not what was asked: it was changed after it was opened. Tell whoever runs Countersign.',
};

/** `ApproverCheck.mayApprove`. */
export function mayApprove(
  { directory }: StoreContext,
  view: RequestView,
  identities: readonly Identity[],
  assurance: 1 | 2 | 3,
): { readonly code: GuardCode; readonly message: string } | null {
  const code = approvalRefusal(directory, view, identities, assurance);
  return code === null ? null : { code, message: MESSAGES[code] };
}

function approvalRefusal(
  directory: Directory,
  view: RequestView,
  identities: readonly Identity[],
  assurance: 1 | 2 | 3,
): GuardCode | null {
  const resolved = resolvePerson(directory, identities);
  if (resolved.kind === 'agent') return 'agent_credential';
  if (resolved.kind === 'nobody') return 'unknown_person';
  if (resolved.kind === 'ambiguous') return 'ambiguous_person';
  const { state, demand, verdicts } = view;
  const forbidden = forbiddenPeople(directory, view.session);
  const effect = answerRequest(
    { state, forbidden, demand, verdicts },
    directory,
    resolved.person,
    'approve',
    assurance,
  );
  return effect.kind === 'refuse' ? effect.code : null;
}

/** Every refused attempt is an entry. The state stays as it is. */
export function refused(
  context: StoreContext,
  { record }: Transaction,
  answer: Omit<Answer, 'verdict'> & { readonly verdict: Answer['verdict'] | 'withdraw' },
  row: RequestRow | null,
  code: GuardCode,
): GuardResult {
  const resolved = resolvePerson(context.directory, answer.person);
  record({
    kind: 'verdict_refused',
    session: row === null ? null : parseShown(row).session,
    requestId: row?.id ?? null,
    people: resolved.kind === 'person' ? [resolved.person.id] : [],
    detail: {
      code,
      verdict: answer.verdict,
      channel: answer.channel,
      ids: answer.person.map(identityText).join(' ').slice(0, REASON_CHARACTERS),
    },
  });
  return { ok: false, code, message: MESSAGES[code], state: row?.state ?? null };
}

export function identityText({ kind, value }: Identity): string {
  return `${kind}:${value}`.replaceAll('\0', '');
}
