import type { ApprovalDemand } from '../policy/decision.ts';
import { answerRequest } from './answer.ts';
import { inTransaction, type StoreContext, type Transaction } from './context.ts';
import { type Directory, forbiddenPeople, resolvePerson } from './eligibility.ts';
import {
  type Answer,
  type ChannelCode,
  type GuardCode,
  type GuardResult,
  type Identity,
  REASON_CHARACTERS,
  type RequestView,
} from './guard.ts';
import { demandNow, isRequestId, parseShown, REQUEST_COLUMNS, type RequestRow } from './rows.ts';

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
  not_on_call: 'At this hour the rule asks only those on call. You can deny it all the same.',
  assurance_too_low: 'The rule asks for a stronger sign-in than this channel gives.',
  passkey_refused: 'The passkey was not taken.',
  not_found: 'There is no such request.',
  already_ended: 'This request takes no answer any more.',
  not_approved: 'There is no approval to take back: the request waits for answers, so deny it instead.',
  already_answered: 'You have denied this request; that is final.',
  too_fast:
    'You have given as many approvals within a minute as are allowed. Read the next one in peace, and approve it then.',
  request_altered:
    'The stored request is not what was asked: it was changed after it was opened. Tell whoever runs Countersign.',
};

/** Somebody may be one of a group's members without anybody knowing it now: then that is what he is told. */
function messageOf({ membership }: StoreContext, code: GuardCode, demand: ApprovalDemand | null): string {
  if (code === 'assurance_too_low' && demand?.assurance === 3) return PASSKEY_NEEDED;
  if (code !== 'not_an_approver' || demand === null) return MESSAGES[code];
  const [group] = membership.unknown().filter((name) => demand.approvers.includes(name));
  if (group === undefined) return MESSAGES[code];
  return `${MESSAGES[code]} Who is in the group ${group} is not known just now: if you are, try again in a minute.`;
}

/** `ApproverCheck.mayApprove`. */
export function mayApprove(
  context: StoreContext,
  view: RequestView,
  identities: readonly Identity[],
  assurance: 1 | 2 | 3,
): { readonly code: GuardCode; readonly message: string } | null {
  const code = approvalRefusal(context.directory, view, identities, assurance);
  return code === null ? null : { code, message: messageOf(context, code, view.demandNow) };
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
  const { state, demandNow: demand, verdicts } = view;
  const forbidden = forbiddenPeople(directory, view.session);
  const effect = answerRequest(
    {
      state,
      forbidden,
      demand,
      verdicts: verdicts.map(({ at, ...one }) => ({ ...one, atMs: at.getTime() })),
    },
    directory,
    resolved.person,
    'approve',
    assurance,
    // A look ahead, which decides nothing: the guard asks the database for the time.
    Date.now(),
  );
  return effect.kind === 'refuse' ? effect.code : null;
}

const PASSKEY_NEEDED =
  'The rule asks for a passkey: approve on the approval page, with one of yours that is in the configuration. You can deny it all the same.';

type Attempt = Omit<Answer, 'verdict'> & { readonly verdict: Answer['verdict'] | 'withdraw' };

/** Every refused attempt is an entry. The state stays as it is. */
export function refused(
  context: StoreContext,
  { record }: Transaction,
  answer: Attempt,
  row: RequestRow | null,
  code: GuardCode,
  why: string | null = null,
): GuardResult {
  recordRefusal(context, record, answer, row, code, why);
  const message = messageOf(context, code, row === null ? null : demandNow(row));
  return {
    ok: false,
    code,
    message: why === null ? message : `${message.replace(/\.$/, '')}: ${why}.`,
    state: row?.state ?? null,
  };
}

/** `Guard.refuse`. */
export async function refuseInChannel(
  context: StoreContext,
  answer: Answer,
  code: ChannelCode,
): Promise<void> {
  await inTransaction(context, async (transaction) => {
    const row = isRequestId(answer.requestId)
      ? ((
          await transaction.client.query<RequestRow>(
            `SELECT ${REQUEST_COLUMNS} FROM countersign.request r WHERE r.id = $1`,
            [answer.requestId],
          )
        ).rows[0] ?? null)
      : null;
    recordRefusal(context, transaction.record, answer, row, code);
  });
}

function recordRefusal(
  context: StoreContext,
  record: Transaction['record'],
  answer: Attempt,
  row: RequestRow | null,
  code: GuardCode | ChannelCode,
  why: string | null = null,
): void {
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
      ...(why === null ? {} : { why }),
      ids: answer.person.map(identityText).join(' ').slice(0, REASON_CHARACTERS),
    },
  });
}

export function refusalWords(code: GuardCode): { readonly code: GuardCode; readonly message: string } {
  return { code, message: MESSAGES[code] };
}

export function identityText({ kind, value }: Identity): string {
  return `${kind}:${value}`.replaceAll('\0', '');
}
