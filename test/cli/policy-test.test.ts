import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { directoryWith, MINIMAL, VERIFIER } from '../config/sample.ts';
import { createDatabase, type TestDatabase } from '../support/postgres.ts';
import { cli } from './in-process.ts';

const RULES = `policy:
  rules:
    - { name: no-payroll, match: { relation: ['hr.*'] }, decision: deny }
    - { name: bot-scratch, match: { agent: [bot], class: [write, ddl], relation: [scratch.*] }, decision: allow }
    - { name: ddl, match: { class: [ddl] }, decision: hold, approvers: [approver] }
`;

let database: TestDatabase;
let directory: string;
beforeAll(async () => {
  database = await createDatabase('cases');
  await database.query(`CREATE SCHEMA hr; CREATE SCHEMA scratch; CREATE TABLE hr.pay (id int PRIMARY KEY, amount int);
    CREATE TABLE public.notes (id int PRIMARY KEY, body text);
    INSERT INTO notes SELECT i, 'note' FROM generate_series(1, 9000) i; ANALYZE notes`);
  directory = directoryWith({ 'c.yaml': `${MINIMAL}${RULES}` });
});
afterAll(async () => {
  await database?.drop();
  rmSync(directory, { recursive: true, force: true });
});

async function test(cases: string, ...args: readonly string[]) {
  const file = join(directory, 'cases.yaml');
  writeFileSync(file, cases);
  const { code, stdout, stderr } = await cli(['policy', 'test', file, ...args]);
  return {
    code,
    stdout: stdout.replaceAll(`${directory}/`, ''),
    stderr: stderr.replaceAll(`${directory}/`, ''),
  };
}
const withConfig = (cases: string, ...args: readonly string[]) =>
  test(cases, '--config', join(directory, 'c.yaml'), '--no-upstream', ...args);

const GOOD = `agent: bot
must_allow:
  - SELECT 1
  - { sql: CREATE TABLE scratch.t (id int), rule: bot-scratch, class: ddl }
must_hold:
  - sql: CREATE TABLE public.t (id int)
    rule: ddl
must_deny:
  - SELECT * FROM hr.pay WHERE id = 1
  - { sql: SELECT * FROM pay WHERE id = 1, search_path: hr, rule: no-payroll }
  - SELEC 1
`;

describe('countersign policy test', () => {
  it('is silent about what is as it must be', async () => {
    const { code, stdout, stderr } = await withConfig(GOOD);
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: '6 cases: 6 passed, 0 failed\n',
      stderr: '',
    });
  });

  it('says of each other one what was decided, by which rule, and why', async () => {
    const { code, stdout } = await withConfig(`must_allow:
  - SELECT 1
  - |
    DROP TABLE
      public.t\u202e
must_hold:
  - { sql: CREATE TABLE public.t (id int), agent: bot, rule: dl, class: admin, why: only the approver changes tables }
must_deny:
  - SELECT 2
`);
    expect(code).toBe(1);
    expect(stdout).toBe(`cases.yaml:3: must_allow: decision is hold, must be allow
  sql      DROP TABLE public.t‹U+202E›
  decided  hold by ddl, class ddl
  because  drops a table
cases.yaml:7: must_hold: rule is ddl, must be dl; class is ddl, must be admin
  sql      CREATE TABLE public.t (id int)
  why      only the approver changes tables
  decided  hold by ddl, class ddl
  because  creates a table
cases.yaml:9: must_deny: decision is allow, must be deny
  sql      SELECT 2
  decided  allow by default:read, class read
  because  only reads
4 cases: 1 passed, 3 failed
no database was asked: sizes of tables are not known, and a name without its schema could be in any
`);
  });

  it('gives the same as JSON', async () => {
    const { code, stdout } = await withConfig('must_deny: [SELECT 2]\nmust_allow: [SELECT 3]\n', '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout.trim())).toEqual({
      ok: false,
      cases: 2,
      passed: 1,
      failed: 1,
      failures: [
        {
          file: 'cases.yaml',
          line: 1,
          must: 'deny',
          sql: 'SELECT 2',
          decision: 'allow',
          rule: 'default:read',
          class: 'read',
          reasons: ['only reads'],
          observed: [],
          differences: ['decision is allow, must be deny'],
        },
      ],
    });
    expect(stdout.split('\n').length).toBe(2);
  });

  it('takes what a case says before what the file says', async () => {
    const cases = `agent: bot
must_allow:
  - CREATE TABLE scratch.t (id int)
must_hold:
  - { sql: CREATE TABLE scratch.t (id int), agent: other }
`;
    const two = RULES.replace('[bot]', "['b*']");
    writeFileSync(
      join(directory, 'two.yaml'),
      `${MINIMAL.replace('people:', '  - { name: other, owner: owner, auth: { scram: "VERIFIER" }, upstream: { user: x } }\npeople:').replace('VERIFIER', VERIFIER)}${two}`,
    );
    const args = ['--config', join(directory, 'two.yaml'), '--no-upstream'];
    expect(await test(cases, ...args)).toEqual({
      code: 0,
      stdout: '2 cases: 2 passed, 0 failed\n',
      stderr: '',
    });
  });

  it.each([
    ['must_alow: [SELECT 1]', 'cases.yaml:1: must_alow: unknown key; did you mean must_allow?'],
    [
      'must_deny:\n  - { sql: SELECT 1, rol: x }',
      'cases.yaml:2: must_deny[0].rol: unknown key; did you mean role?',
    ],
    ['must_deny:\n  - { sql: SELECT 1, class: dll }', 'did you mean ddl?'],
    [
      'must_deny:\n  - { sql: SELECT 1, time: noon }',
      'cases.yaml:2: must_deny[0].time: expected a time with its zone',
    ],
    ['must_deny:\n  - 5', 'cases.yaml:2: must_deny[0]: expected '],
    ['agent: bot', 'expected cases in must_allow, must_hold or must_deny'],
    [
      'must_deny:\n  - SELECT 1\n  - { sql: SELECT 1, agent: bott }',
      'cases.yaml:3: must_deny[1].agent: c.yaml has no such agent; did you mean bot?',
    ],
    [
      'agent: bott\nmust_deny: [SELECT 1]',
      'cases.yaml:1: agent: c.yaml has no such agent; did you mean bot?',
    ],
    ['must_deny: [', 'cases.yaml:2: not valid YAML'],
  ])('refuses %j', async (cases, problem) => {
    const { code, stdout, stderr } = await withConfig(`${cases}\n`);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(problem);
  });

  it('asks the database that is named', async () => {
    const cases = `must_allow:
  - SELECT * FROM notes WHERE id = 5
must_hold:
  - { sql: SELECT * FROM notes, class: export }
must_deny:
  - { sql: SELECT * FROM pay WHERE id = 1, search_path: hr, rule: no-payroll }
`;
    const config = ['--config', join(directory, 'c.yaml')];
    expect((await test(cases, ...config, '--upstream', database.url)).stdout).toBe(
      '3 cases: 3 passed, 0 failed\n',
    );
  });

  it('asks the configured one, and says how to do without it when it is away', async () => {
    const { host, port, pathname, username, password } = new URL(database.url);
    expect(port).not.toBe('');
    const here = MINIMAL.replace('127.0.0.1:5432/shop', `${host}${pathname}`).replace(
      'user: bot_role',
      `user: ${username}, password: { env: PW }`,
    );
    writeFileSync(join(directory, 'here.yaml'), here);
    const file = join(directory, 'cases.yaml');
    writeFileSync(
      file,
      'must_hold:\n  - SELECT * FROM notes\nmust_allow:\n  - SELECT * FROM notes WHERE id = 1',
    );
    const args = ['policy', 'test', file, '--config', join(directory, 'here.yaml')];
    const asked = await cli(args, { PW: password });
    expect(asked).toEqual({ code: 0, stdout: '2 cases: 2 passed, 0 failed\n', stderr: '' });
    const away = await cli(args, { PW: 'wrong' });
    expect(away.code).toBe(2);
    expect(away.stderr).toMatch(/could not be asked .*--no-upstream judges by grammar alone/);
    // By grammar alone nobody knows how large it is.
    expect((await cli([...args, '--no-upstream'])).stdout).toContain('must_hold: decision is allow');
  });

  it('asks when a case says, and tells of rules that are tried out', async () => {
    const rules = `policy:
  rules:
    - { name: night, match: { time: [{ hours: '22:00-06:00' }] }, decision: deny }
    - { name: trial, mode: observe, match: { class: [read] }, decision: hold }
`;
    writeFileSync(join(directory, 'time.yaml'), `${MINIMAL}${rules}`);
    const { code, stdout } = await test(
      `time: 2026-03-28T23:00:00Z
must_deny:
  - SELECT 1
  - { sql: SELECT 2, time: '2026-03-28T23:00:00+02:00' }
`,
      ...['--config', join(directory, 'time.yaml'), '--no-upstream'],
    );
    expect(code).toBe(1);
    expect(stdout).toContain(`cases.yaml:4: must_deny: decision is allow, must be deny
  sql      SELECT 2
  decided  allow by default:read, class read
  because  only reads
  observed rule trial would hold
2 cases: 1 passed, 1 failed
`);
  });

  it('needs no secret without a database, and no configuration', async () => {
    const secret = MINIMAL.replace('user: bot_role', 'user: bot_role, password: { env: NOT_THERE }');
    writeFileSync(join(directory, 'secret.yaml'), secret);
    const { code } = await test(
      'must_allow: [SELECT 1]',
      '--config',
      join(directory, 'secret.yaml'),
      '--no-upstream',
    );
    expect(code).toBe(0);
    expect((await test('must_hold: [DROP TABLE t]')).code).toBe(0);
  });
});
