import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ConfigErrorCode } from '../../src/config/errors.ts';
import { loadConfig } from '../../src/config/load.ts';
import { load, MINIMAL, refusal } from './sample.ts';

type Case = {
  readonly what: string;
  readonly yaml: string;
  readonly line: number | null;
  readonly key: string;
  readonly code: ConfigErrorCode;
  readonly says: RegExp;
};

const lines = MINIMAL.split('\n').length;
const change = (from: string, to: string) => {
  if (!MINIMAL.includes(from)) throw new Error(`the sample has no ${from}`);
  return MINIMAL.replace(from, to);
};
const rule = (text: string) => `${MINIMAL}policy:\n  rules:\n    - ${text}\n`;

const CASES: readonly Case[] = [
  {
    what: 'an unknown top-level key',
    yaml: change('people:', 'poeple:'),
    line: 11,
    key: 'poeple',
    code: 'config_unknown_key',
    says: /did you mean people\?/,
  },
  {
    what: 'an unknown key in a list',
    yaml: change('    owner: owner', '    ownr: owner'),
    line: 9,
    key: 'agents[0].ownr',
    code: 'config_unknown_key',
    says: /did you mean owner\?/,
  },
  {
    what: 'an unknown limit',
    yaml: `${MINIMAL}limits:\n  exportRow: 5\n`,
    line: lines + 1,
    key: 'limits.exportRow',
    code: 'config_unknown_key',
    says: /did you mean exportRows\?/,
  },
  {
    what: 'an unknown key that is like nothing',
    yaml: `${MINIMAL}listen:\n  zzzzzzzzzzz: 5\n`,
    line: lines + 1,
    key: 'listen.zzzzzzzzzzz',
    code: 'config_unknown_key',
    says: /expected one of address, tls/,
  },
  {
    what: 'an unknown kind of secret',
    yaml: change('{ user: bot_role }', '{ user: r, password: { envv: X } }'),
    line: 10,
    key: 'agents[0].upstream.password.envv',
    code: 'config_unknown_key',
    says: /did you mean env\?/,
  },
  {
    what: 'an unknown kind of secret where a URL may stand',
    yaml: change('url: postgres://127.0.0.1:5432/shop', 'url: { fil: X }'),
    line: 3,
    key: 'upstream.url.fil',
    code: 'config_unknown_key',
    says: /did you mean file\?/,
  },
  {
    what: 'a missing key',
    yaml: change('    owner: owner\n', ''),
    line: 7,
    key: 'agents[0].owner',
    code: 'config_missing_key',
    says: /missing; expected a string/,
  },
  {
    what: 'a missing version',
    yaml: change('version: 1\n', ''),
    line: null,
    key: 'version',
    code: 'config_missing_key',
    says: /expected 1/,
  },
  {
    what: 'a list where a map is wanted',
    yaml: change('  url: postgres://127.0.0.1:5432/shop', '  - url'),
    line: 2,
    key: 'upstream',
    code: 'config_wrong_type',
    says: /expected a map, found a list/,
  },
  {
    what: 'a word where a number is wanted',
    yaml: `${MINIMAL}limits:\n  exportRows: many\n`,
    line: lines + 1,
    key: 'limits.exportRows',
    code: 'config_wrong_type',
    says: /expected a (whole )?number, found a string/,
  },
  {
    what: 'a fraction',
    yaml: `${MINIMAL}limits:\n  exportRows: 1.5\n`,
    line: lines + 1,
    key: 'limits.exportRows',
    code: 'config_wrong_type',
    says: /expected a whole number/,
  },
  {
    what: 'a limit of zero',
    yaml: `${MINIMAL}limits:\n  exportRows: 0\n`,
    line: lines + 1,
    key: 'limits.exportRows',
    code: 'config_invalid_value',
    says: /at least 1/,
  },
  {
    what: 'nothing where something is wanted',
    yaml: change('    owner: owner', '    owner:'),
    line: 9,
    key: 'agents[0].owner',
    code: 'config_wrong_type',
    says: /expected a string, found nothing/,
  },
  {
    what: 'a number for a URL',
    yaml: change('postgres://127.0.0.1:5432/shop', '5432'),
    line: 3,
    key: 'upstream.url',
    code: 'config_wrong_type',
    says: /expected a string or a map, found a number/,
  },
  {
    what: 'a misspelt choice',
    yaml: `${MINIMAL}mode: observ\n`,
    line: lines,
    key: 'mode',
    code: 'config_invalid_value',
    says: /enforce, observe; did you mean observe\?/,
  },
  {
    what: 'a class that does not exist',
    yaml: rule('{ name: r, match: { class: [reads] }, decision: deny }'),
    line: lines + 2,
    key: 'policy.rules[0].match.class[0]',
    code: 'config_invalid_value',
    says: /did you mean read\?/,
  },
  {
    what: 'a newer version',
    yaml: change('version: 1', 'version: 2'),
    line: 1,
    key: 'version',
    code: 'config_invalid_value',
    says: /expected 1/,
  },
  {
    what: 'an address without a port',
    yaml: `${MINIMAL}listen: { address: localhost }\n`,
    line: lines,
    key: 'listen.address',
    code: 'config_invalid_value',
    says: /expected host:port/,
  },
  {
    what: 'a URL of another kind',
    yaml: change('postgres://127.0.0.1', 'mysql://127.0.0.1'),
    line: 3,
    key: 'upstream.url',
    code: 'config_invalid_value',
    says: /begins with postgres:/,
  },
  {
    what: 'a mode of TLS that falls back',
    yaml: change('5432/shop', '5432/shop?sslmode=prefer'),
    line: 3,
    key: 'upstream.url',
    code: 'config_invalid_value',
    says: /disable, require/,
  },
  {
    what: 'an owner who does not exist',
    yaml: change('owner: owner', 'owner: ownr'),
    line: 9,
    key: 'agents[0].owner',
    code: 'config_reference',
    says: /expected a person; did you mean owner\?/,
  },
  {
    what: 'a group that does not exist',
    yaml: change('owner@example.com }', 'owner@example.com, groups: [x] }'),
    line: 12,
    key: 'people[0].groups[0]',
    code: 'config_reference',
    says: /expected a group/,
  },
  {
    what: 'a key for nobody',
    yaml: `${MINIMAL}http:\n  apiKeys:\n    - { name: k, person: aprover, sha256: ${'ab'.repeat(32)} }\n`,
    line: lines + 2,
    key: 'http.apiKeys[0].person',
    code: 'config_reference',
    says: /did you mean approver\?/,
  },
  {
    what: 'an approver who does not exist',
    yaml: rule('{ name: r, match: {}, decision: hold, approvers: [nobody] }'),
    line: lines + 2,
    key: 'policy.rules[0].approvers[0]',
    code: 'config_reference',
    says: /expected a person or group/,
  },
  {
    what: 'a rule that only the owner could approve',
    yaml: rule('{ name: r, match: {}, decision: hold, approvers: [owner] }'),
    line: lines + 2,
    key: 'policy.rules[0].approvers',
    code: 'config_reference',
    says: /for agent bot 0 may approve/,
  },
  {
    what: 'a quorum of more people than there are',
    yaml: rule('{ name: r, match: {}, decision: hold, quorum: 2 }'),
    line: lines + 2,
    key: 'policy.rules[0].quorum',
    code: 'config_reference',
    says: /1 may approve .* but 2 must/,
  },
  {
    what: 'an agent that nobody else could approve for',
    yaml: change('  - { id: approver, email: approver@example.com }\n', ''),
    line: 9,
    key: 'agents[0].owner',
    code: 'config_reference',
    says: /nobody but the owner/,
  },
  {
    what: 'the owner under a second id',
    yaml: change('approver@example.com', 'owner+2@example.com'),
    line: 13,
    key: 'people[1]',
    code: 'config_reference',
    says: /same mailbox/,
  },
  {
    what: 'an address of two people',
    yaml: change('approver@example.com', 'OWNER@example.com'),
    line: 13,
    key: 'people[1]',
    code: 'config_reference',
    says: /approver and owner have/,
  },
  {
    what: 'an id with letters that look like others',
    yaml: `${MINIMAL}  - { id: аpprover, email: third@example.com }\n`,
    line: lines,
    key: 'people[2].id',
    code: 'config_invalid_value',
    says: /expected/,
  },
  {
    what: 'an address with letters that look like others',
    yaml: `${MINIMAL}  - { id: third, email: аpprover+x@example.com }\n`,
    line: lines,
    key: 'people[2].email',
    code: 'config_invalid_value',
    says: /expected/,
  },
  {
    what: 'the same id twice',
    yaml: `${MINIMAL}  - { id: owner, email: other@example.com }\n`,
    line: lines,
    key: 'people[2].id',
    code: 'config_invalid_value',
    says: /same id/,
  },
  {
    what: 'an agent with a person’s name',
    yaml: change('name: bot', 'name: approver'),
    line: 13,
    key: 'people[1].id',
    code: 'config_reference',
    says: /an agent has this name/,
  },
  {
    what: 'a quorum on a rule that denies',
    yaml: rule('{ name: r, match: {}, decision: deny, quorum: 1 }'),
    line: lines + 2,
    key: 'policy.rules[0].quorum',
    code: 'config_invalid_value',
    says: /only a rule that holds/,
  },
  {
    what: 'a rule that allows what nobody understands',
    yaml: rule('{ name: r, match: { class: [read, unparsed] }, decision: allow }'),
    line: lines + 2,
    key: 'policy.rules[0].match.class[1]',
    code: 'config_invalid_value',
    says: /no rule can allow unparsed/,
  },
  {
    what: 'two ways for one secret',
    yaml: change('{ user: bot_role }', '{ user: r, password: { env: A, file: B } }'),
    line: 10,
    key: 'agents[0].upstream.password',
    code: 'config_invalid_value',
    says: /exactly one of env, file, command/,
  },
  {
    what: 'a secret that is not there',
    yaml: change('{ user: bot_role }', '{ user: r, password: { env: NOT_SET } }'),
    line: 10,
    key: 'agents[0].upstream.password',
    code: 'config_secret_unavailable',
    says: /environment variable NOT_SET is not set/,
  },
  {
    what: 'a command that fails',
    yaml: change(
      '{ user: bot_role }',
      "{ user: r, password: { command: [sh, -c, 'echo hunter2 >&2; exit 3'] } }",
    ),
    line: 10,
    key: 'agents[0].upstream.password',
    code: 'config_secret_unavailable',
    says: /command sh failed \(3\)$/,
  },
  {
    what: 'Socket Mode without its token',
    yaml: `${MINIMAL}slack: { botToken: { env: A }, teamId: T, channel: C }\n`,
    line: lines,
    key: 'slack',
    code: 'config_invalid_value',
    says: /expected appToken/,
  },
  {
    what: 'a policy file that is not there',
    yaml: `${MINIMAL}policy: { file: none.yaml }\n`,
    line: lines,
    key: 'policy.file',
    code: 'config_unreadable',
    says: /no such file/,
  },
  {
    what: 'a key twice',
    yaml: `${MINIMAL}version: 1\n`,
    line: lines,
    key: '',
    code: 'config_syntax',
    says: /duplicate key/,
  },
  {
    what: 'broken YAML',
    yaml: change('people:', 'people: ]'),
    line: 11,
    key: '',
    code: 'config_syntax',
    says: /not valid YAML/,
  },
  {
    what: 'an empty file',
    yaml: '',
    line: null,
    key: '',
    code: 'config_wrong_type',
    says: /expected a map, found nothing/,
  },
];

describe('a configuration that is refused', () => {
  it.each(CASES)('for $what', async ({ yaml, line, key, code, says }) => {
    const error = await refusal(yaml, { PATH: process.env['PATH'] });
    const problem = error.problems.find((one) => one.key === key);
    expect(error.problems.map((one) => one.key)).toContain(key);
    expect(problem).toMatchObject({ code, line });
    expect(problem?.problem).toMatch(says);
    expect(error.message).toContain(line === null ? 'c.yaml: ' : `c.yaml:${line}: ${key}`);
  });

  it('names every problem at once', async () => {
    const error = await refusal(
      change('    owner: owner', '    ownr: x').replace('poeple', 'people').concat('mode: no\n'),
    );
    expect(error.problems.map(({ key }) => key).sort()).toEqual([
      'agents[0].owner',
      'agents[0].ownr',
      'mode',
    ]);
    expect(error.code).toBe(error.problems[0]?.code);
  });

  it('names the policy file and the line in it', async () => {
    const error = await refusal(
      `${MINIMAL}policy: { file: p.yaml }\n`,
      {},
      { 'p.yaml': 'rules:\n  - name: r\n    mach: {}\n    decision: hold\n' },
    );
    expect(error.message).toMatch(/p\.yaml:3: rules\[0\]\.mach: unknown key; did you mean match\?/);
  });

  it('says which file is not there', async () => {
    await expect(loadConfig('/nonexistent/c.yaml', {})).rejects.toMatchObject({
      code: 'config_unreadable',
      message: '/nonexistent/c.yaml: no such file',
    });
  });
});

const SECRET = 'hunter2-correct-horse';

/** Every place where somebody might write a secret, or where one might be quoted from. */
const LEAKS: readonly (readonly [what: string, yaml: string, code: ConfigErrorCode])[] = [
  [
    'an upstream password',
    change('{ user: bot_role }', `{ user: r, password: ${SECRET} }`),
    'config_literal_secret',
  ],
  [
    'a number as a password',
    change('{ user: bot_role }', '{ user: r, password: 123456789 }'),
    'config_literal_secret',
  ],
  [
    'a URL with a password',
    change('postgres://127.0.0.1', `postgres://u:${SECRET}@127.0.0.1`),
    'config_literal_secret',
  ],
  ['an audit URL with a password', change('writer@', `writer:${SECRET}@`), 'config_literal_secret'],
  [
    'a Slack token',
    `${MINIMAL}slack: { botToken: ${SECRET}, appToken: ${SECRET}, teamId: T, channel: C }\n`,
    'config_literal_secret',
  ],
  [
    'an API token',
    `${MINIMAL}http: { apiKeys: [{ name: k, person: approver, token: ${SECRET} }] }\n`,
    'config_literal_secret',
  ],
  ['a private key', `${MINIMAL}listen: { tls: { cert: c.pem, key: ${SECRET} } }\n`, 'config_literal_secret'],
  [
    'a password for a verifier',
    MINIMAL.replace(/scram: '[^']*'/, `scram: ${SECRET}`),
    'config_invalid_value',
  ],
  [
    'a password as an alias',
    change('{ user: bot_role }', `{ user: r, password: *${SECRET} }`),
    'config_syntax',
  ],
  [
    'a password that breaks the YAML',
    change('{ user: bot_role }', `{ user: r, password: "${SECRET} }`),
    'config_syntax',
  ],
  [
    'a password as a tag',
    change('{ user: bot_role }', `{ user: r, password: !${SECRET} }`),
    'config_literal_secret',
  ],
  [
    'a list of passwords',
    change('{ user: bot_role }', `{ user: r, password: [${SECRET}] }`),
    'config_wrong_type',
  ],
  [
    'a URL that cannot be read',
    change('url: postgres://127.0.0.1:5432/shop', 'url: { env: DB }'),
    'config_invalid_value',
  ],
  ['a secret in the wrong choice', `${MINIMAL}mode: ${SECRET}\n`, 'config_invalid_value'],
];

describe('a secret in the wrong place', () => {
  it.each(LEAKS)('%s: is refused and not quoted', async (_what, yaml, code) => {
    const error = await refusal(yaml, { DB: `postgres://u:${SECRET}@h:99999999/x` });
    expect(error.problems.map((problem) => problem.code)).toContain(code);
    const everything = `${error.message} ${error.stack} ${JSON.stringify(error)} ${String(error.cause)}`;
    expect(everything).not.toMatch(/hunter2|correct-horse|123456789/);
  });

  it('a literal verifier is no secret', async () => {
    await expect(load(MINIMAL)).resolves.toMatchObject({ version: 1 });
  });
});

it('the test sample itself loads from a path with blanks', async () => {
  const { directoryWith } = await import('./sample.ts');
  const directory = directoryWith({ 'a b.yaml': MINIMAL });
  await expect(loadConfig(join(directory, 'a b.yaml'), {})).resolves.toMatchObject({ version: 1 });
});
