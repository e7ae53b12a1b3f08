import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Served, serveBeside } from '../support/served.ts';
import { type Stack, startStack } from '../support/stack.ts';

let stack: Stack;
let served: Served;
let client: pg.Client;
beforeAll(async () => {
  stack = await startStack({ sample: 'CREATE TABLE notes (id int PRIMARY KEY, body text)' });
  served = await serveBeside(stack, { limits: { policyPollMs: 200 } });
  client = new pg.Client({ connectionString: served.agentUrl });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await served.close();
  await stack.close();
});

const READ = 'SELECT body FROM notes WHERE id = 1';
const NO_READS = [{ name: 'no-reads', match: { class: ['read'] }, decision: 'deny' }];

/** Until it is so: files are looked at now and then. */
async function until<T>(ask: () => Promise<T>, enough: (found: T) => boolean): Promise<T> {
  for (let i = 0; ; i++) {
    const found = await ask();
    if (enough(found) || i === 200) return found;
    await new Promise((done) => setTimeout(done, 50));
  }
}

const tryRead = () =>
  client.query(READ).then(
    () => 'ran',
    (error: { code: string; detail?: string }) => `${error.code} ${error.detail}`,
  );

describe('the policy of a running program', () => {
  it('changes with its file, in open sessions too, and each version is in the audit log', async () => {
    expect(await tryRead()).toBe('ran');
    served.rewrite(NO_READS);
    expect(await until(tryRead, (found) => found !== 'ran')).toContain('no-reads');
    served.rewrite([]);
    expect(await until(tryRead, (found) => found === 'ran')).toBe('ran');
    const versions = await until(
      () =>
        stack.audited(`SELECT detail ->> 'digest' AS digest, detail ->> 'was' AS was, detail ->> 'rules' AS rules
                   FROM audit.events WHERE kind = 'policy' AND detail ? 'was' ORDER BY at`),
      (rows) => rows.length === 2,
    );
    const [denying, again] = versions;
    expect(versions).toHaveLength(2);
    expect(JSON.parse(denying?.['rules'] ?? '')).toEqual(NO_READS);
    expect(again).toMatchObject({ was: denying?.['digest'], digest: denying?.['was'], rules: '[]' });
    const decided = await until(
      () =>
        stack.audited(`SELECT DISTINCT decision, rule, policy_digest AS digest FROM audit.statements
                  WHERE sql = '${READ}' ORDER BY decision`),
      (rows) => rows.length === 2,
    );
    expect(decided).toEqual([
      { decision: 'allow', rule: 'default:read', digest: again?.['digest'] },
      { decision: 'deny', rule: 'no-reads', digest: denying?.['digest'] },
    ]);
  });

  it('stays when the file cannot be used: log, metrics and audit say so', async () => {
    served.rewrite('version: 1\npolicy:\n  ruls: []\n');
    const problems = await until(
      () =>
        stack.audited(`SELECT detail ->> 'problem' AS problem FROM audit.events
                  WHERE kind = 'configuration' AND detail ? 'problem'`),
      (rows) => rows.length > 0,
    );
    // Once, however often the file is looked at.
    await new Promise((done) => setTimeout(done, 600));
    expect(problems).toHaveLength(1);
    expect(problems[0]?.['problem']).toMatch(/countersign\.yaml:3: policy\.ruls: unknown key.*rules/);
    expect(await tryRead()).toBe('ran');
    const metrics = await (await fetch(`${served.httpUrl}/metrics`)).text();
    expect(metrics).toContain('countersign_policy_reloads_total{result="failed"} 1');
  });

  it('is read at once on SIGHUP', async () => {
    served.rewrite(NO_READS);
    process.kill(served.pid, 'SIGHUP');
    expect(await until(tryRead, (found) => found !== 'ran')).toContain('no-reads');
    expect(process.kill(served.pid, 0)).toBe(true);
  });
});
