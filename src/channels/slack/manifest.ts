import type { SlackConfig } from '../../config/config.ts';
import { SLACK_PATH } from './endpoint.ts';

/** What the bot token must be allowed, and what each is for. */
export const BOT_SCOPES: Readonly<Record<string, string>> = {
  'chat:write': 'post and update cards, tell one person why an answer does not count',
  'files:write': 'attach a statement that is too long for a card',
  'users:read': 'refuse deactivated accounts and bots',
  'usergroups:read': 'know who is in the user groups that the configuration names',
  'channels:read': 'see (in "slack check") whether the app is in the channels',
  'groups:read': 'the same for a private channel',
};

/** Without these the channel does not work at all; the others are missed only where they are used. */
export const NEEDED_SCOPES: readonly string[] = ['chat:write', 'users:read'];

export type Manifest = Readonly<Record<string, unknown>>;

/**
 * The app manifest to paste at https://api.slack.com/apps ("From a manifest"). `publicUrl` is where Slack reaches our
 * HTTP server, without a slash at the end; it matters in HTTP mode only.
 */
export function slackManifest(mode: SlackConfig['mode'], publicUrl: string): Manifest {
  const interactivity =
    mode === 'socket' ? { is_enabled: true } : { is_enabled: true, request_url: `${publicUrl}${SLACK_PATH}` };
  return {
    display_information: {
      name: 'Countersign',
      description: 'Statements of AI agents that wait until a person countersigns them',
      background_color: '#1d2733',
    },
    features: {
      // Where direct messages are read; nobody writes to the app.
      app_home: {
        home_tab_enabled: false,
        messages_tab_enabled: true,
        messages_tab_read_only_enabled: true,
      },
      bot_user: { display_name: 'Countersign', always_online: true },
    },
    oauth_config: { scopes: { bot: Object.keys(BOT_SCOPES) } },
    settings: {
      interactivity,
      org_deploy_enabled: false,
      socket_mode_enabled: mode === 'socket',
      token_rotation_enabled: false,
    },
  };
}
