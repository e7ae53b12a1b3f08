import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCorpusDatabase } from '../catalog/corpus-database.ts';
import { directoryWith, VERIFIER } from '../config/sample.ts';
import { superuser, type TestDatabase } from '../support/postgres.ts';
import { cli } from './in-process.ts';

/** The policies that people start from, under the tools that they come with. */

const POLICIES = new URL('../../fixtures/policies/', import.meta.url).pathname;
const FILES = ['starter', 'analyst-warehouse', 'migration-agent', 'support-agent'];

const AGENTS = ['reporting', 'analyst-1', 'migrator', 'support'];
const CONFIG = (policy: string) => `version: 1
upstream: { url: postgres://127.0.0.1:5432/shop }
audit: { url: postgres://writer@127.0.0.1:5432/audit }
http: { apiKeys: [{ name: a, person: dba, token: { env: A } }, { name: b, person: deputy, token: { env: B } }] }
agents:
${AGENTS.map((name) => `  - { name: ${name}, auth: { scram: '${VERIFIER}' }, owner: owner, upstream: { user: app } }`).join('\n')}
people:
  - { id: owner, email: owner@example.com }
  - { id: dba, email: dba@example.com, groups: [dbas] }
  - { id: deputy, email: deputy@example.com, groups: [dbas, privacy, support-leads] }
groups: [{ name: dbas }, { name: privacy }, { name: support-leads }]
slack: { botToken: { env: BOT }, appToken: { env: APP }, teamId: T1, channel: C1 }
tags:
  - { relation: public.customers, column: email, tags: [pii] }
  - { relation: public.customers, column: name, tags: [pii] }
  - { relation: public.payments, tags: [pii] }
policy: { file: ${POLICIES}${policy}.yaml }
`;

let database: TestDatabase;
let directory: string;
let upstream: string;
beforeAll(async () => {
  database = await createCorpusDatabase('samples');
  directory = directoryWith(Object.fromEntries(FILES.map((name) => [`${name}.yaml`, CONFIG(name)])));
  const { host, port, user, password } = superuser();
  upstream = `postgres://${user}:${password}@${host}:${port}/${database.name}`;
});
afterAll(async () => {
  await database?.drop();
  rmSync(directory, { recursive: true, force: true });
});

describe('the policies in fixtures/policies', () => {
  it.each(FILES)('%s has nothing wrong with it, names of the sample included', async (name) => {
    const args = [
      'policy',
      'check',
      '--strict',
      '--config',
      join(directory, `${name}.yaml`),
      '--upstream',
      upstream,
    ];
    const { code, stdout, stderr } = await cli(args);
    expect({ code, stderr, findings: stdout.split('\n').slice(0, -3) }).toEqual({
      code: 0,
      stderr: '',
      findings: [],
    });
  });

  it('starter decides its cases as they say', async () => {
    const cases = `${POLICIES}starter.cases.yaml`;
    const args = [
      'policy',
      'test',
      cases,
      '--config',
      join(directory, 'starter.yaml'),
      '--upstream',
      upstream,
    ];
    expect(await cli(args)).toEqual({ code: 0, stdout: '13 cases: 13 passed, 0 failed\n', stderr: '' });
  });
});
