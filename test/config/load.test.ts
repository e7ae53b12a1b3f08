import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { loadConfig } from '../../src/config/load.ts';
import { directoryWith, load, MINIMAL, refusal, VERIFIER } from './sample.ts';

const FIXTURES = new URL('../../fixtures/config/', import.meta.url).pathname;

describe('a configuration that is good', () => {
  it('needs little, and has the defaults of the contract', async () => {
    const config = await load(MINIMAL);
    expect(config).toMatchObject({
      mode: 'enforce',
      listen: { host: '127.0.0.1', port: 6432, tls: null },
      http: { host: '127.0.0.1', port: 8432, publicUrl: 'http://127.0.0.1:8432', apiKeys: [] },
      upstream: { host: '127.0.0.1', port: 5432, database: 'shop', user: null, tls: { mode: 'disable' } },
      audit: {
        url: 'postgres://writer@127.0.0.1:5432/audit',
        adminUrl: null,
        durability: 'standard',
        schema: 'audit',
      },
      agents: [
        {
          name: 'bot',
          auth: { kind: 'scram', verifier: VERIFIER },
          owner: 'owner',
          upstream: { user: 'bot_role', password: null },
        },
      ],
      slack: null,
      analysis: { secondOpinion: 'off' },
      limits: DEFAULT_LIMITS,
    });
    expect(config.policy.rules).toEqual([]);
  });

  it('is frozen to its leaves', async () => {
    const config = await load(MINIMAL);
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.agents[0]?.upstream)).toBe(true);
    expect(Object.isFrozen(config.people[0]?.groups)).toBe(true);
    expect(Object.isFrozen(config.policy.rules)).toBe(true);
  });

  it('loads as the commented sample has it', async () => {
    const config = await loadConfig(join(FIXTURES, 'countersign.yaml'), {
      ...process.env,
      COUNTERSIGN_DBA_TOKEN: 'token-of-the-dba',
      COUNTERSIGN_PROBE_PASSWORD: 'p@ss/word',
      COUNTERSIGN_AUDIT_ADMIN_URL: 'postgres://admin:secret@audit.example.com/countersign',
      SLACK_BOT_TOKEN: 'bot',
      SLACK_APP_TOKEN: 'app',
    });
    expect(config.upstream).toMatchObject({
      host: 'db.example.com',
      user: 'countersign_probe',
      password: 'p@ss/word',
    });
    expect(config.upstream.tls).toMatchObject({ mode: 'verify-full' });
    expect(config.audit.url).toBe(
      'postgres://countersign_writer:sample-only@audit.example.com:5432/countersign?sslmode=verify-full',
    );
    expect(config.http.apiKeys).toEqual([
      {
        name: 'dba command line',
        person: 'dba',
        sha256: createHash('sha256').update('token-of-the-dba').digest('hex'),
      },
    ]);
    expect(config.agents[0]?.upstream.password).toBe('sample-only');
    expect(config.slack).toMatchObject({
      mode: 'socket',
      appToken: 'app',
      signingSecret: null,
      apiUrl: null,
    });
    expect(config.groups).toContainEqual({ name: 'dbas', slackUserGroup: 'S089GH12J' });
    expect(config.policy.rules.map(({ name }) => name)).toEqual([
      'no-changes-to-payments',
      'exports-to-dbas',
      'personal-data-at-night',
    ]);
  });

  it('takes secrets from the environment, files and commands, without the line end', async () => {
    const yaml = MINIMAL.replace(
      'upstream:\n  url: postgres://127.0.0.1:5432/shop',
      'upstream:\n  url: { env: DB }\nlimits: { exportRows: 7 }',
    )
      .replace('{ user: bot_role }', '{ user: bot_role, password: { file: pw } }')
      .replace('audit:\n', "audit:\n  password: { command: [printf, 'from command\\n'] }\n");
    const config = await load(
      yaml,
      { ...process.env, DB: 'postgres://u:p%40%3A@/shop?host=/run/pg&port=6000' },
      { pw: 'two words\n' },
    );
    expect(config.upstream).toEqual({
      host: '/run/pg',
      port: 6000,
      database: 'shop',
      user: 'u',
      password: 'p@:',
      tls: { mode: 'disable' },
    });
    expect(config.agents[0]?.upstream.password).toBe('two words');
    expect(config.audit.url).toBe('postgres://writer:from%20command@127.0.0.1:5432/audit');
    expect(config.limits.exportRows).toBe(7);
  });

  it('verifies what leaves the machine unless told otherwise', async () => {
    const tls = async (url: string) =>
      (await load(MINIMAL.replace('postgres://127.0.0.1:5432/shop', url))).upstream.tls;
    expect(await tls('postgres://db.example.com/shop')).toMatchObject({ mode: 'verify-full' });
    expect(await tls("'postgres://db.example.com/shop?sslmode=require'")).toEqual({ mode: 'require' });
    expect(await tls("'postgres://db.example.com/shop?sslmode=disable'")).toEqual({ mode: 'disable' });
    expect(await tls('postgres://localhost/shop')).toEqual({ mode: 'disable' });
    expect(await tls("'postgres:///shop?host=/run/postgresql'")).toEqual({ mode: 'disable' });
  });

  it('finds relative paths from the file, not from the working directory', async () => {
    const directory = directoryWith({ 'c.yaml': `${MINIMAL}dataDirectory: data\n` });
    const config = await loadConfig(join(directory, 'c.yaml'), {});
    expect(config.dataDirectory).toBe(join(directory, 'data'));
    expect(config.keys.directory).toBe(join(directory, 'data', 'keys'));
  });
});

describe('the policy digest', () => {
  const rules = (text: string) => `${MINIMAL}policy:\n  rules:\n${text}`;
  const a = '    - { name: r, match: { class: [ddl], agent: [bot] }, decision: deny }\n';

  it('depends on the rules alone: not on comments, layout or order of keys, nor on the file they are in', async () => {
    const one = await load(rules(a));
    const two = await load(
      rules(
        '    # why\n    - decision: deny\n      name: r\n      match:\n        agent: [bot]\n        class:\n          - ddl\n',
      ),
    );
    const file = await load(
      `${MINIMAL}policy: { file: p.yaml }\n`,
      {},
      { 'p.yaml': rules(a).slice(rules('').length - '  rules:\n'.length) },
    );
    expect(two.policy.digest).toBe(one.policy.digest);
    expect(file.policy.digest).toBe(one.policy.digest);
    expect(one.policy.digest).toMatch(/^[0-9a-f]{64}$/);
  });

  it('takes rules whose names are globs, and asks for approvers only where one can match', async () => {
    const text = rules(
      "    - { name: r, match: { agent: ['other*'] }, decision: hold, quorum: 5 }\n    - { name: s, match: { agent: ['b?t'] }, decision: hold }\n",
    );
    expect((await load(text)).policy.rules).toHaveLength(2);
    await expect(load(text.replace('other*', 'b*'))).rejects.toMatchObject({ code: 'config_reference' });
  });

  it('changes with any of them', async () => {
    const digests = await Promise.all(
      [a, a.replace('deny', 'hold'), a.replace('name: r', 'name: s'), a.replace('ddl', 'admin'), ''].map(
        async (text) => (await load(text === '' ? MINIMAL : rules(text))).policy.digest,
      ),
    );
    expect(new Set(digests).size).toBe(digests.length);
  });
});

describe('tags', () => {
  it('are read, and are none by default', async () => {
    expect((await load(MINIMAL)).tags).toEqual([]);
    const yaml = `${MINIMAL}tags:\n  - { relation: 'public.customers', column: '*mail', tags: [pii, eu] }\n  - { relation: 'billing.*', tags: [money] }\n`;
    expect((await load(yaml)).tags).toEqual([
      { relation: 'public.customers', column: '*mail', tags: ['pii', 'eu'] },
      { relation: 'billing.*', tags: ['money'] },
    ]);
  });

  it.each([
    ['{ relation: customers, tags: [pii] }', 'schema.name'],
    ["{ relation: 'public.customers', tags: [] }", 'tags'],
    ["{ relation: 'public.customers', tags: ['a b'] }", 'expected A-Z'],
    ["{ relation: 'public.customers', colum: x, tags: [pii] }", 'column'],
  ])('%s is refused', async (rule, says) => {
    expect((await refusal(`${MINIMAL}tags:\n  - ${rule}\n`)).message).toContain(says);
  });
});
