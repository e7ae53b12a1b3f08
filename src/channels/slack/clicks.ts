import { z } from 'zod';
import {
  type FormOrigin,
  REASON_BLOCK,
  REASON_INPUT,
  readOrigin,
  readSubject,
  type Subject,
} from './values.ts';

/** A click on a card's button, from a payload whose signature or socket was checked. */
export type Click = {
  readonly teamId: string | null;
  readonly userId: string;
  readonly userTeamId: string | null;
  readonly channel: string;
  readonly messageTs: string;
  readonly actionTs: string;
  readonly actionId: string;
  readonly triggerId: string;
  readonly subject: Subject;
};

/** A form that was sent. */
export type Submission = {
  readonly teamId: string | null;
  readonly userId: string;
  readonly userTeamId: string | null;
  readonly viewId: string;
  readonly reason: string;
  readonly origin: FormOrigin;
};

const id = z.string().regex(/^[A-Z0-9]{1,40}$/);
const timestamp = z.string().regex(/^\d{1,12}\.\d{1,9}$/);
const team = z.object({ id }).nullish();
const user = z.object({ id, team_id: id.nullish() });

const clickShape = z.object({
  team,
  user,
  container: z.object({ channel_id: id, message_ts: timestamp }),
  trigger_id: z.string().max(200),
  actions: z
    .array(z.object({ action_id: z.string().max(255), action_ts: timestamp, value: z.string().max(2000) }))
    .length(1),
});

const submissionShape = z.object({
  team,
  user,
  view: z.object({
    id,
    private_metadata: z.string().max(3000),
    state: z.object({
      values: z.object({
        [REASON_BLOCK]: z.object({ [REASON_INPUT]: z.object({ value: z.string().max(3000).nullish() }) }),
      }),
    }),
  }),
});

/** Null for a payload that no card of ours can have sent. */
export function readClick(body: unknown): Click | null {
  const read = clickShape.safeParse(body);
  const action = read.data?.actions[0];
  if (read.data === undefined || action === undefined) return null;
  const subject = readSubject(action.value);
  if (subject === null) return null;
  return {
    teamId: read.data.team?.id ?? null,
    userId: read.data.user.id,
    userTeamId: read.data.user.team_id ?? null,
    channel: read.data.container.channel_id,
    messageTs: read.data.container.message_ts,
    actionTs: action.action_ts,
    actionId: action.action_id,
    triggerId: read.data.trigger_id,
    subject,
  };
}

/** Null for a payload that no form of ours can have sent. */
export function readSubmission(body: unknown): Submission | null {
  const read = submissionShape.safeParse(body);
  if (read.data === undefined) return null;
  const origin = readOrigin(read.data.view.private_metadata);
  if (origin === null) return null;
  return {
    teamId: read.data.team?.id ?? null,
    userId: read.data.user.id,
    userTeamId: read.data.user.team_id ?? null,
    viewId: read.data.view.id,
    reason: (read.data.view.state.values[REASON_BLOCK][REASON_INPUT].value ?? '').trim(),
    origin,
  };
}

/** A click is one click: the same four values again are the same payload again. */
export function clickKey(click: Click): string {
  return [click.teamId, click.actionTs, click.actionId, click.userId].join(' ');
}

/**
 * Why a payload is not from a member of the one workspace that is configured; null: nothing speaks against it. With Slack
 * Connect a channel has users of other workspaces, whose ids mean nothing here. In an organization with several workspaces
 * the user's team is the organization (`enterpriseId`, as Slack said of our own token; null: there is none): then
 * users.info tells whether he is in ours.
 */
export function foreignWorkspace(
  from: { readonly teamId: string | null; readonly userTeamId: string | null },
  teamId: string,
  enterpriseId: string | null,
): string | null {
  const { userTeamId } = from;
  const own = userTeamId === null || userTeamId === teamId || userTeamId === enterpriseId;
  return from.teamId === teamId && own
    ? null
    : 'Only members of the workspace that this Countersign is configured for can answer.';
}

/** Oldest click that is taken, and how far a clock may be ahead, milliseconds. Slack's own rule for requests. */
export const CLICK_AGE_MS = 5 * 60_000;

/** Why a click's time-stamp cannot be right, null: it can. Replays of old payloads end here. */
export function staleClick(actionTs: string, nowMs: number): string | null {
  const apart = nowMs - Number(actionTs) * 1000;
  if (apart > CLICK_AGE_MS) return 'This click reached Countersign too late. Click again.';
  if (apart < -CLICK_AGE_MS)
    return "This click's time lies in the future. Check the clock of the Countersign host.";
  return null;
}
