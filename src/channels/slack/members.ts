import { z } from 'zod';
import type { SlackClient } from './api.ts';

/** How long an answer of users.info is believed, milliseconds: a deactivated person is out after this. */
const BELIEVED_MS = 60_000;
const REMEMBERED = 1_000;

const userShape = z.object({
  user: z.object({
    id: z.string(),
    team_id: z.string().optional(),
    deleted: z.boolean().optional(),
    is_bot: z.boolean().optional(),
    is_stranger: z.boolean().optional(),
    is_workflow_bot: z.boolean().optional(),
    is_connector_bot: z.boolean().optional(),
    enterprise_user: z
      .object({ enterprise_id: z.string().optional(), teams: z.array(z.string()).default([]) })
      .optional(),
  }),
});
type User = z.infer<typeof userShape>['user'];

/** Says why a Slack user cannot answer, whatever the configuration says of him; null: nothing against it. */
export type Members = { readonly objection: (userId: string) => Promise<string | null> };

/**
 * Asks Slack (users.info, scope users:read). Rejects when Slack does not say: then nobody is let through. `enterpriseId`:
 * the organization that our workspace belongs to, as Slack says; null: none, or not known.
 */
export function slackMembers(
  client: SlackClient,
  teamId: string,
  enterpriseId: () => string | null,
  now: () => number,
): Members {
  const known = new Map<string, { readonly at: number; readonly objection: string | null }>();
  return {
    objection: async (userId) => {
      const before = known.get(userId);
      const age = before === undefined ? BELIEVED_MS : now() - before.at;
      if (before !== undefined && age >= 0 && age < BELIEVED_MS) return before.objection;
      const { user } = userShape.parse(await client.users.info({ user: userId }));
      const objection = objectionTo(user, userId, teamId, enterpriseId());
      if (known.size >= REMEMBERED) known.clear();
      known.set(userId, { at: now(), objection });
      return objection;
    },
  };
}

function objectionTo(user: User, userId: string, teamId: string, enterpriseId: string | null): string | null {
  if (user.id !== userId) return 'Slack answered for another user.';
  if (user.deleted === true) return 'This Slack account is deactivated.';
  const bot = user.is_bot === true || user.is_workflow_bot === true || user.is_connector_bot === true;
  if (bot || userId === 'USLACKBOT') return 'This Slack account is a bot; only people can answer.';
  if (user.is_stranger === true || !isOfWorkspace(user, teamId, enterpriseId))
    return 'This Slack account belongs to another workspace or organization.';
  return null;
}

/**
 * In an organization with several workspaces (Enterprise Grid) a user's own workspace may be another one, or the
 * organization itself; what counts is that he is a member of ours. https://docs.slack.dev/enterprise
 */
function isOfWorkspace(
  { team_id: team, enterprise_user: enterprise }: User,
  teamId: string,
  enterpriseId: string | null,
): boolean {
  if (team === undefined || team === teamId) return true;
  if (enterprise === undefined || enterpriseId === null) return false;
  return enterprise.enterprise_id === enterpriseId && enterprise.teams.includes(teamId);
}
