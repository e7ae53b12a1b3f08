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
  }),
});

/** Says why a Slack user cannot answer, whatever the configuration says of him; null: nothing against it. */
export type Members = { readonly objection: (userId: string) => Promise<string | null> };

/** Asks Slack (users.info, scope users:read). Rejects when Slack does not say: then nobody is let through. */
export function slackMembers(client: SlackClient, teamId: string, now: () => number): Members {
  const known = new Map<string, { readonly at: number; readonly objection: string | null }>();
  return {
    objection: async (userId) => {
      const before = known.get(userId);
      if (before !== undefined && now() - before.at < BELIEVED_MS) return before.objection;
      const { user } = userShape.parse(await client.users.info({ user: userId }));
      const objection = objectionTo(user, userId, teamId);
      if (known.size >= REMEMBERED) known.clear();
      known.set(userId, { at: now(), objection });
      return objection;
    },
  };
}

function objectionTo(user: z.infer<typeof userShape>['user'], userId: string, teamId: string): string | null {
  if (user.id !== userId) return 'Slack answered for another user.';
  if (user.deleted === true) return 'This Slack account is deactivated.';
  if (user.is_bot === true || user.is_workflow_bot === true || userId === 'USLACKBOT') {
    return 'This Slack account is a bot; only people can answer.';
  }
  if (user.is_stranger === true || (user.team_id !== undefined && user.team_id !== teamId)) {
    return 'This Slack account belongs to another workspace.';
  }
  return null;
}
