import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { BOT_SCOPES, slackManifest } from '../../../src/channels/slack/manifest.ts';
import { SCOPES } from '../../support/slack-stand-in.ts';

const SOURCE = new URL('../../../src/channels/slack/', import.meta.url);
const FAMILIES = 'apps|auth|chat|conversations|files|im|reactions|team|usergroups|users|views';

/** Every method of Slack's API that the code calls, by its name there. */
function usedMethods(): readonly string[] {
  const calls = readdirSync(SOURCE).flatMap((name) => {
    const text = readFileSync(new URL(name, SOURCE), 'utf8');
    return [
      ...text.matchAll(new RegExp(`lient(?:\\([^()]*\\))?\\.((?:${FAMILIES})(?:\\.[a-zA-Z0-9]+)+)\\(`, 'g')),
    ].map(([, call]) => call ?? '');
  });
  // One call of the client, two methods of Slack's.
  const methods = calls.flatMap((call) =>
    call === 'files.uploadV2' ? ['files.getUploadURLExternal', 'files.completeUploadExternal'] : [call],
  );
  return [...new Set(methods)].sort();
}

it('asks for exactly the scopes of the methods that the code calls', () => {
  const used = usedMethods();
  expect(used).toEqual(Object.keys(SCOPES).sort());
  const needed = used.flatMap((method) => SCOPES[method] ?? []);
  // conversations.info of a private channel.
  expect(Object.keys(BOT_SCOPES).sort()).toEqual([...new Set([...needed, 'groups:read'])].sort());
  expect(slackManifest('socket', '')).toMatchObject({
    oauth_config: { scopes: { bot: Object.keys(BOT_SCOPES) } },
    features: { app_home: { messages_tab_enabled: true } },
  });
});

it('asks for nothing that reads messages, or writes beyond what the app posts', () => {
  for (const scope of Object.keys(BOT_SCOPES))
    expect(scope).not.toMatch(/history|admin|email|write\.public|customize/);
});
