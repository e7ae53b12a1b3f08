import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { BOT_SCOPES } from '../../src/channels/slack/manifest.ts';
import { textOf, until } from '../channels/slack/harness.ts';
import { cli } from '../cli/in-process.ts';
import { serveBeside } from '../support/served.ts';
import { SlackStandIn } from '../support/slack-stand-in.ts';
import { type Stack, startStack } from '../support/stack.ts';

const docs = readFileSync(new URL('../../docs/slack.md', import.meta.url), 'utf8');
const WORKSPACE = 'T012AB34C';

/** The text of one step. */
function step(number: number): string {
  const found = new RegExp(`### ${number}\\. .*\\n([\\s\\S]*?)(?=\\n###? )`).exec(docs)?.[1];
  if (found === undefined) throw new Error(`docs/slack.md has no step ${number}`);
  return found;
}

/** The command of a step's console, without npx, and what it prints there. */
function consoleOf(number: number): { readonly args: readonly string[]; readonly prints: string } {
  const text = /```console\n\$ npx countersign (.*)\n([\s\S]*?)```/.exec(step(number));
  if (text === null) throw new Error(`step ${number} has no command`);
  return { args: (text[1] ?? '').split(' '), prints: text[2] ?? '' };
}

/** Step 4 as a file: what is fixed in the text is exchanged for the stand-in's, as a reader does it for theirs. */
const fragment = parse(/```yaml\n([\s\S]*?)```/.exec(step(4))?.[1] ?? '') as {
  slack: Record<string, unknown>;
  people: { id: string; slack: string[] }[];
  groups: { slackUserGroup: string }[];
  policy: { rules: object[] };
};

/** The rows of step 5's table: what is said. */
const SAYINGS = [...step(5).matchAll(/^\| `([^`]+)` \|/gm)].map(([, said]) => said ?? '');

describe("the steps of docs/slack.md, against a stand-in of Slack's side", () => {
  let stack: Stack;
  let slack: SlackStandIn;
  let directory: string;
  let file: string;

  beforeAll(async () => {
    stack = await startStack();
    slack = new SlackStandIn(undefined, { teamId: WORKSPACE, channel: 'C0123456789' });
    await slack.start();
    for (const { slack: accounts } of fragment.people)
      for (const account of accounts) {
        const id = account.split('/')[1] ?? '';
        slack.users.set(id, { id, team_id: WORKSPACE });
      }
    slack.userGroups.set('S089GH12J', ['U045DE67F']);
    directory = mkdtempSync(join(tmpdir(), 'cs-slack-steps-'));
    file = join(directory, 'countersign.yaml');
  });
  afterAll(async () => {
    await slack?.close();
    await stack?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it('1: the manifest asks for the scopes that the text lists', async () => {
    const { code, stdout } = await cli(consoleOf(1).args);
    expect(code).toBe(0);
    const listed = [...step(1).matchAll(/^\| `([a-z:]+)` \| (.+) \|$/gm)].map(([, scope, to]) => [
      scope,
      to?.replaceAll('`', '"'),
    ]);
    expect(listed).toEqual(Object.entries(BOT_SCOPES));
    const manifest = parse(stdout) as { oauth_config: { scopes: { bot: string[] } } };
    expect(manifest).toMatchObject({ settings: { socket_mode_enabled: true } });
    // A real workspace makes an app of it here, with these scopes.
    slack.scopes = manifest.oauth_config.scopes.bot.join(',');
  });

  it('2 to 4: tokens in files of their own, and a configuration that loads', async () => {
    mkdirSync(join(directory, 'secrets'));
    writeTokens(slack.botToken, slack.appToken);
    writeConfig({});
    // Where the policy names somebody whom nobody is, it would say so.
    const { code, stdout } = await cli(['policy', 'check', '--config', file, '--no-upstream']);
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining('rules 1') });
    chmodSync(join(directory, 'secrets', 'slack-bot-token'), 0o600);
  });

  it('5: the check finds everything good, as the text shows it', async () => {
    const { args, prints } = consoleOf(5);
    const { code, stdout } = await cli(args.map((arg) => (arg === 'countersign.yaml' ? file : arg)));
    expect(stdout).toBe(prints);
    expect(code).toBe(0);
    expect(slack.messages).toHaveLength(0);
  });

  it('5: each thing that can be wrong is said as the text has it', { timeout: 120_000 }, async () => {
    const said: string[] = [];
    const trying = async (spoil: () => void, mend: () => void): Promise<void> => {
      spoil();
      const { stdout } = await cli(['slack', 'check', '--config', file]);
      said.push(...stdout.split('\n').filter((line) => !line.startsWith('good')));
      mend();
    };
    const good = () => {
      writeTokens(slack.botToken, slack.appToken);
      writeConfig({});
    };
    await trying(() => writeTokens('xapp-mixed-up', slack.appToken), good);
    await trying(() => writeTokens('xoxb-revoked', slack.appToken), good);
    await trying(() => writeConfig({ apiUrl: 'http://127.0.0.1:49/api/' }), good);
    // One mistaken id, everywhere.
    await trying(() => writeFileSync(file, readFileSync(file, 'utf8').replaceAll(WORKSPACE, 'T0ELSE')), good);
    await trying(() => writeTokens(slack.botToken, 'xoxb-mixed-up'), good);
    await trying(() => writeTokens(slack.botToken, 'xapp-revoked'), good);
    await trying(() => writeConfig({ channel: '#approvals' }), good);
    const scopes = slack.scopes;
    await trying(
      () => {
        slack.scopes = scopes.replace('users:read', '');
      },
      () => {
        slack.scopes = scopes;
      },
    );
    await trying(
      () => {
        slack.inChannel = false;
      },
      () => {
        slack.inChannel = true;
      },
    );
    const dba = { id: 'U045DE67F', team_id: WORKSPACE };
    await trying(
      () => slack.users.set(dba.id, { ...dba, deleted: true }),
      () => slack.users.set(dba.id, dba),
    );
    await trying(
      () => slack.users.delete(dba.id),
      () => slack.users.set(dba.id, dba),
    );
    await trying(
      () => slack.userGroups.delete('S089GH12J'),
      () => slack.userGroups.set('S089GH12J', []),
    );
    await trying(
      () => {},
      () => slack.userGroups.set('S089GH12J', [dba.id]),
    );
    expect(SAYINGS.length).toBeGreaterThan(10);
    for (const saying of SAYINGS)
      expect(
        said.some((line) => line.replace(/^(WRONG|warning) +/, '').startsWith(saying)),
        `${saying} is in the text, and nothing says it:\n${said.join('\n')}`,
      ).toBe(true);
  });

  it('6: an agent asks, a person approves the card, the statement runs', { timeout: 120_000 }, async () => {
    const { slack: keys, people, groups, policy } = fragment;
    const served = await serveBeside(stack, {
      rules: policy.rules,
      more: {
        slack: {
          ...keys,
          botToken: { file: join(directory, 'secrets', 'slack-bot-token') },
          appToken: { file: join(directory, 'secrets', 'slack-app-token') },
          apiUrl: slack.apiUrl,
        },
        people: [...people, { id: 'owner', email: 'owner@example.com' }],
        groups,
      },
    });
    const client = new pg.Client({ connectionString: served.agentUrl });
    client.on('error', () => {});
    try {
      await until(() => slack.connections > 0, 30_000);
      await client.connect();
      const statement = /`(CREATE TABLE from_slack[^`]*)`/.exec(step(6))?.[1] ?? '';
      const running = client.query(statement);
      await until(() => slack.messages.length === 1, 30_000);
      const [card] = slack.messages;
      if (card === undefined) throw new Error('no card');
      expect(textOf(card)).toContain(statement);
      // In `people`, and not in the user group that the rule names.
      await slack.deliver(slack.clickPayload(card, 'countersign_approve', 'U023CD45E'));
      await until(() => slack.ephemerals.length === 1, 30_000);
      expect(slack.ephemerals[0]?.text).toContain('names other approvers');
      await slack.deliver(slack.clickPayload(card, 'countersign_approve', 'U045DE67F'));
      expect((await running).command).toBe('CREATE');
      await until(() => textOf(card).includes('Approved by dba'), 30_000);
      await until(() => slack.messages.some(({ threadTs }) => threadTs === card.ts), 30_000);
      expect(slack.messages.map(textOf).at(-1)).toMatch(/^Outcome: CREATE TABLE, 0 rows, .* s$/);
    } finally {
      await client.end();
      await served.close();
    }
  });

  function writeTokens(bot: string, app: string): void {
    writeFileSync(join(directory, 'secrets', 'slack-bot-token'), `${bot}\n`);
    writeFileSync(join(directory, 'secrets', 'slack-app-token'), `${app}\n`);
  }

  /** Step 4, with the stand-in's address, which is the one thing that a real workspace has no need of. */
  function writeConfig(changes: object): void {
    const rest = {
      version: 1,
      upstream: { url: 'postgres://127.0.0.1:1/shop' },
      audit: { url: 'postgres://writer@127.0.0.1:1/audit' },
      agents: [
        {
          name: 'reporting',
          auth: { scram: VERIFIER },
          owner: 'analyst',
          upstream: { user: 'reporting' },
        },
      ],
      http: { apiKeys: [{ name: 'dba', person: 'dba', sha256: '0'.repeat(64) }] },
    };
    writeFileSync(
      file,
      stringify({ ...rest, ...fragment, slack: { ...fragment.slack, apiUrl: slack.apiUrl, ...changes } }),
    );
  }
});

const VERIFIER =
  'SCRAM-SHA-256$4096:AAECAwQFBgcICQoLDA0ODw==$Iuh9EsHyzKBVWpDYPeCkVmV/QI5ZTKIQ7qqMGvWTdGg=:hH7CT7TmPfYbqF1yoEmZ5Lv0zMZHR1K1yhVxdCCiIJo=';
