import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { directoryWith, MINIMAL } from '../config/sample.ts';
import { device } from '../support/authenticator.ts';
import { createDatabase, type TestDatabase } from '../support/postgres.ts';
import { cli } from './in-process.ts';

let database: TestDatabase;
let directory: string;
beforeAll(async () => {
  database = await createDatabase('check');
  await database.query(`CREATE TABLE customers (id int PRIMARY KEY, email text); CREATE TABLE "Odd" (id int);
    CREATE FUNCTION total(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
    COMMENT ON COLUMN customers.email IS 'countersign:pii'`);
  directory = directoryWith({});
});
afterAll(async () => {
  await database?.drop();
  rmSync(directory, { recursive: true, force: true });
});

const KEYS = `http: { apiKeys: [{ name: k, person: approver, sha256: '${'0'.repeat(64)}' }] }\n`;

/** Findings of a configuration; rules begin on line 17. */
async function check(rules: string, args: readonly string[] = ['--no-upstream'], base = `${MINIMAL}${KEYS}`) {
  const file = join(directory, 'c.yaml');
  const indented = rules.trim().replaceAll(/^/gm, '    ');
  writeFileSync(file, rules === '' ? base : `${base}policy:\n  rules:\n${indented}\n`);
  const { code, stdout, stderr } = await cli(['policy', 'check', '--config', file, ...args]);
  const text = stdout.replaceAll(`${directory}/`, '');
  return { code, stderr, lines: text.split('\n').filter((line) => line !== '') };
}

const first = async (...args: Parameters<typeof check>) => {
  const { code, lines } = await check(...args);
  return { code, finding: lines.slice(0, 2) };
};

describe('countersign policy check', () => {
  it('has nothing to say of a good policy', async () => {
    const { code, lines } = await check(
      '- { name: ddl, match: { class: [ddl] }, decision: hold, approvers: [approver] }',
    );
    expect({ code, lines }).toEqual({
      code: 0,
      lines: [
        'names were not compared with a database: --no-upstream',
        'c.yaml: good (rules 1, agents 1, people 2)',
        expect.stringMatching(/^policy digest [0-9a-f]{64}$/),
      ],
    });
  });

  it('finds a connection that would wait longer than anybody can answer', async () => {
    const rule = (more: string) => `- { name: r, match: { class: [ddl] }, decision: hold, ${more} }`;
    expect(await first(rule('holdTimeout: 2h, expiry: 1h'))).toEqual({
      code: 0,
      finding: [
        'c.yaml:17: warning: rule r: the connection waits 2h, and its request expires after 1h',
        '  Give expiry at least as long, or a shorter holdTimeout: after the expiry nobody can answer.',
      ],
    });
    expect((await first(rule('holdTimeout: 2h'))).finding[0]).toContain('expires after 3600 s (limits.');
    expect((await first(rule('holdTimeout: 1h'))).code).toBe(0);
    expect((await check(rule('holdTimeout: 1h'))).lines.join()).toContain('good');
  });

  it('finds a rule that an earlier one takes everything from', async () => {
    const two = `- { name: wide, match: { relation: ['public.*'] }, decision: hold }
- { name: narrow, match: { relation: [public.payments], class: [read] }, decision: deny }`;
    expect(await first(two)).toEqual({
      code: 1,
      finding: [
        'c.yaml:18: error: rule narrow: can never match: an earlier rule (wide) takes everything that it is for',
        '  The first rule that matches decides: put it before them, or leave it out.',
      ],
    });
    const same = await first(two.replace('decision: deny', 'decision: hold'));
    expect(same).toMatchObject({
      code: 0,
      finding: [
        expect.stringContaining('c.yaml:18: warning: rule narrow'),
        '  It decides the same; leave it out.',
      ],
    });
  });

  it('finds a rule for agents that nobody is', async () => {
    expect(await first("- { name: r, match: { role: ['other_*'] }, decision: deny }")).toEqual({
      code: 1,
      finding: [
        'c.yaml:17: error: rule r: can never match: no agent has this role',
        '  Compare with agents: their name, owner and upstream.user, and the database of upstream.',
      ],
    });
    expect(await first('- { name: r, match: { database: [other] }, decision: deny }')).toMatchObject({
      code: 1,
    });
  });

  it('finds an allow rule that covers what no rule can allow; --strict counts warnings', async () => {
    const rule = '- { name: free, match: { agent: [bot] }, decision: allow }';
    const { code, finding } = await first(rule);
    expect(code).toBe(0);
    expect(finding[0]).toBe(
      'c.yaml:17: warning: rule free: allows also what is opaque or unparsed, which no rule can: that is held all the same',
    );
    expect((await check(rule, ['--no-upstream', '--strict'])).code).toBe(1);
    expect(await first('- { name: x, match: { class: [opaque] }, decision: allow }')).toMatchObject({
      code: 1,
    });
  });

  it('finds names that nothing in the database has', async () => {
    const upstream = ['--upstream', database.url];
    const good = `- name: good
  match:
    relation: ['public.*', public."Odd", public.CUSTOMERS]
    column: [public.customers.email, '*.*.id']
    function: [public.total, pg_catalog.lower]
    tag: [pii]
  decision: hold`;
    expect((await check(good, upstream)).lines[0]).toBe('c.yaml: good (rules 1, agents 1, people 2)');
    const bad = `- { name: a, match: { relation: [public.custmers] }, decision: deny }
- { name: b, match: { relation: [public.customers, 'hr.*'] }, decision: deny }
- { name: c, match: { column: [public.customers.emial] }, decision: deny }
- { name: d, match: { function: [public.totl], tag: [pci] }, decision: deny }`;
    const { code, lines } = await check(bad, upstream);
    expect(code).toBe(1);
    expect(lines.slice(0, -2)).toEqual([
      'c.yaml:17: error: rule a: the database has no relation public.custmers',
      '  Did you mean public.customers?',
      'c.yaml:18: warning: rule b: the database has no relation hr.*',
      expect.any(String),
      'c.yaml:19: error: rule c: the database has no column public.customers.emial',
      '  Did you mean public.customers.email?',
      'c.yaml:20: error: rule d: the database has no function public.totl',
      '  Did you mean public.total?',
      'c.yaml:20: error: rule d: the database has no tag pci',
      expect.any(String),
    ]);
    const away = await check(good, []);
    expect(away.code).toBe(0);
    expect(away.lines[0]).toMatch(
      /^names were not compared with a database: the database could not be asked: .+/,
    );
    expect((await check(good, ['--upstream', database.url.replace(/:[^:@]+@/, ':wrong@')])).code).toBe(2);
  });

  it('finds approvers that nobody is, and quorums that nobody can reach', async () => {
    const hold = (rest: string) => `- { name: h, match: { class: [ddl] }, decision: hold, ${rest} }`;
    const grouped = `${MINIMAL}${KEYS}groups: [{ name: dbas }, { name: others }]\n`.replace(
      'approver@example.com }',
      'approver@example.com, groups: [others] }',
    );
    expect(await first(hold('approvers: [aprover]'))).toMatchObject({
      code: 1,
      finding: [
        expect.stringMatching(
          /^c.yaml:17: error: rule h: no such name; expected a person or group; did you mean approver\?/,
        ),
        expect.any(String),
      ],
    });
    expect(await first(hold('approvers: [owner]'))).toMatchObject({
      code: 1,
      finding: [
        expect.stringContaining('for agent bot 0 may approve (never its owner), but 1 must'),
        expect.any(String),
      ],
    });
    expect(await first(hold('quorum: 2'))).toMatchObject({ code: 1 });
    expect(await first(hold('approvers: [dbas]'), undefined, grouped)).toMatchObject({ code: 1 });
    expect(await first(hold('approvers: [others, dbas]'), undefined, grouped)).toEqual({
      code: 0,
      finding: [
        'c.yaml:18: warning: rule h: nobody is in the group dbas',
        '  Give it to somebody in people[].groups, or leave it out.',
      ],
    });
  });

  it('finds an agent whose only approver is its owner by another name', async () => {
    const alias = `${MINIMAL}${KEYS}`.replace(
      'id: approver, email: approver@example.com',
      'id: approver, email: x@example.com, slack: [T1/OWNER]',
    );
    const { code, lines } = await check('', ['--no-upstream'], alias);
    expect(code).toBe(1);
    expect(lines[0]).toMatch(/^c\.yaml:\d+: error: agents\[0\]\.owner: nobody but the owner could approve/);
  });

  it('finds an assurance that no channel gives, and people who cannot answer', async () => {
    expect(await first('- { name: h, match: { class: [ddl] }, decision: hold, assurance: 3 }')).toEqual({
      code: 1,
      finding: [
        'c.yaml:17: error: rule h: no channel gives assurance 3: what it holds could never be approved',
        '  Nobody has people[].passkeys; each is made on the approval page, at /passkeys. Of the configured channels (the API) the surest gives 1.',
      ],
    });
    expect(await first('', undefined, MINIMAL)).toEqual({
      code: 0,
      finding: [
        'c.yaml:9: warning: agents[0].owner: for agent bot 1 must approve, but 0 can answer (approver: no API key and no Slack account here)',
        '  Give them an entry in http.apiKeys, or their account in people[].slack.',
      ],
    });
  });

  it('knows that passkeys give assurance 3, to those who have one', async () => {
    const passkeys = `passkeys: ${JSON.stringify([device().passkey])}`;
    const site = KEYS.replace('http: {', 'http: { publicUrl: https://countersign.example.com,');
    const has = (person: string) =>
      `${MINIMAL}${site}`.replace(`${person}@example.com`, `${person}@example.com, ${passkeys}`);
    const rule = '- { name: h, match: { class: [ddl] }, decision: hold, assurance: 3 }';
    expect((await first(rule, undefined, has('approver'))).code).toBe(0);
    expect(await first(rule, undefined, has('owner'))).toEqual({
      code: 1,
      finding: [
        'c.yaml:17: error: rule h: for agent bot 1 must approve with a passkey, but 0 of those who may have one (none: approver)',
        '  Each makes one on the approval page, at /passkeys, and has it added to people[].passkeys.',
      ],
    });
  });

  it('finds an agent that may act for the only approver', async () => {
    const jwt = `${MINIMAL}${KEYS}listen: { tls: { cert: a, key: { file: b } } }\n`.replace(
      /auth: .*/,
      'auth: { jwt: { issuer: i, audience: a, jwks: { url: https://login.example.com } } }',
    );
    expect(await first('', undefined, jwt)).toEqual({
      code: 0,
      finding: [
        'c.yaml:9: warning: agents[0].owner: when agent bot acts for approver, too few may approve: nobody approves what is done for them',
        '  Have one more person in people.',
      ],
    });
  });

  it('gives the same as JSON', async () => {
    const { code, lines } = await check('- { name: free, match: { agent: [bot] }, decision: allow }', [
      '--no-upstream',
      '--json',
    ]);
    expect(code).toBe(0);
    expect(lines.length).toBe(1);
    expect(JSON.parse(lines[0] ?? '')).toEqual({
      ok: true,
      policy: expect.stringMatching(/^[0-9a-f]{64}$/),
      errors: 0,
      warnings: 1,
      namesSkipped: '--no-upstream',
      findings: [
        {
          severity: 'warning',
          code: 'allows_floor',
          file: 'c.yaml',
          line: 17,
          key: 'policy.rules[0].decision',
          rule: 'free',
          problem: expect.stringContaining('allows also what is opaque or unparsed'),
          advice: 'Name the classes that it is for in match.class.',
        },
      ],
    });
  });

  it('finds an escalation that brings in nobody', async () => {
    const held = (more: string) => `- { name: ddl, match: { class: [ddl] }, decision: hold, ${more} }`;
    expect(
      await first(held('approvers: [approver], escalate: { after: 10m, approvers: [owner, approver] }')),
    ).toEqual({
      code: 0,
      finding: [
        'c.yaml:17: warning: rule ddl: for agent bot it brings in nobody: they may answer already, or never may',
        '  Name somebody else; the owner of an agent never approves.',
      ],
    });
    expect((await first(held('escalate: { after: 10m, approvers: [approver] }'))).finding[0]).toContain(
      'everybody may answer from the beginning',
    );
    const quiet = "onCall: [{ hours: '22:00-06:00', approvers: [approver] }]";
    expect(
      (await first(held(`${quiet}, escalate: { after: 10m, approvers: [owner, approver] }`))).finding[0],
    ).toContain('for agent bot it brings in nobody');
  });
});
