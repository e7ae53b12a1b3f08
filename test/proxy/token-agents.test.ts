import { createHash } from 'node:crypto';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Agent } from '../../src/config/config.ts';
import { encodeFrame } from '../../src/protocol/backend.ts';
import { AUDIENCE, ISSUER, type Issuer, startIssuer } from '../support/issuer.ts';
import { hasPsql, psql } from '../support/psql.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { Bytes, connectPg, eventually, failure, overTls, refusedLogins, startup, TLS } from './support.ts';

const GRACE_MS = 1_500;
const SKEW_MS = 1_000;
let issuer: Issuer;
let stack: Stack;
beforeAll(async () => {
  issuer = await startIssuer();
  stack = await startStack({
    limits: { tokenGraceMs: GRACE_MS, tokenClockSkewMs: SKEW_MS, jwksRetryMs: 1, authenticationMs: 10_000 },
    config: (config) => {
      const [agent] = config.agents;
      if (agent === undefined) throw new Error('no agent');
      const auth: Agent['auth'] = {
        kind: 'jwt',
        issuer: ISSUER,
        audience: AUDIENCE,
        algorithms: ['ES256'],
        keys: { kind: 'url', url: issuer.url },
      };
      return {
        ...config,
        listen: { ...config.listen, tls: { ...TLS, required: false, clientCa: null } },
        agents: [{ ...agent, auth }],
        people: [
          ...config.people,
          { id: 'deputy', email: 'deputy@example.com', slack: [], oidc: ['https://idp#d-1'], groups: [] },
        ],
        http: {
          ...config.http,
          apiKeys: [
            ...config.http.apiKeys,
            { name: 'deputy', sha256: sha256('deputy-token'), person: 'deputy' },
          ],
        },
      };
    },
  });
});
afterAll(async () => {
  await stack.close();
  await issuer.close();
});
/** A fault of one log-in is never another one's. */
afterEach(async () => {
  issuer.answer(null);
  const client = await connect(await issuer.token());
  await client.end();
});

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const config = (token: string, user = 'agent'): pg.ClientConfig => {
  const { hostname, port, pathname } = new URL(stack.agentUrl);
  return {
    host: hostname,
    port: Number(port),
    database: pathname.slice(1),
    user,
    password: token,
    ssl: { ca: TLS.ca, host: '127.0.0.1' } as pg.ClientConfig['ssl'] & object,
  };
};
const connect = (token: string, more: pg.ClientConfig = {}) => connectPg({ ...config(token), ...more });
const seconds = (after: number) => Math.floor(Date.now() / 1000) + after;

describe('a token as the password', () => {
  it('lets in, and what it says is in the log as verified', async () => {
    const token = await issuer.token({ run: 'run-42', on_behalf_of: 'ann@example.com' });
    const client = await connect(token, { options: '-c countersign.run=claimed' });
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await client.end();
    await eventually('the session is recorded', async () => {
      const { rows } = await stack.audit.query(
        "SELECT on_behalf_of, run_verified FROM audit.entry WHERE kind = 'session_start' AND run = 'run-42'",
      );
      return rows.length === 1 && rows[0].run_verified === true && rows[0].on_behalf_of === 'ann@example.com';
    });
    const { rows } = await stack.audit.query("SELECT FROM audit.entry WHERE run = 'claimed'");
    expect(rows).toEqual([]);
  });

  it('that names no run leaves the claimed one, marked so', async () => {
    const client = await connect(await issuer.token(), { options: '-c countersign.run=only-claimed' });
    await client.end();
    await eventually('the session is recorded', async () => {
      const { rows } = await stack.audit.query(
        "SELECT run_verified FROM audit.entry WHERE kind = 'session_start' AND run = 'only-claimed'",
      );
      return rows.length === 1 && rows[0].run_verified === false;
    });
  });

  it.runIf(hasPsql())('is taken from psql', async () => {
    const { hostname, port, pathname } = new URL(stack.agentUrl);
    const url = `postgres://agent:${await issuer.token()}@${hostname}:${port}${pathname}`;
    expect(await psql(`${url}?sslmode=require`, 'SELECT 41 + 1', '-At').done).toMatchObject({
      stdout: '42\n',
    });
    expect((await psql(`${url}?sslmode=disable`, 'SELECT 1').done).stderr).toContain('TLS is required');
  });

  it.each<[string, Record<string, unknown>, string]>([
    ['has expired', { exp: seconds(-600) }, 'expired'],
    ['is for another agent', { sub: 'other' }, 'sub is another'],
    ['is for another audience', { aud: 'elsewhere' }, 'aud'],
  ])('is refused when it %s, recorded, and never written down', async (_what, claims, hint) => {
    const before = (await refusedLogins(stack, 0)).length;
    const token = await issuer.token(claims);
    const error = await failure(connect(token));
    expect(error).toMatchObject({
      code: '28P01',
      message: 'token authentication failed for user "agent"',
      hint: expect.stringContaining(hint),
    });
    const rows = await refusedLogins(stack, before + 1);
    expect(rows.at(-1)).toMatchObject({ user: 'agent', code: '28P01' });
    const { rows: log } = await stack.audit.query('SELECT row_to_json(e)::text AS row FROM audit.entry e');
    const [, payload = 'x', signature = 'x'] = token.split('.');
    for (const { row } of log) {
      expect(row).not.toContain(payload);
      expect(row).not.toContain(signature);
    }
  });

  it('is refused, with a word about why, while the keys are away', async () => {
    const second = await stack.second();
    issuer.answer(500);
    const { port } = new URL(second.agentUrl);
    const error = await failure(connectPg({ ...config(await issuer.token()), port: Number(port) }));
    expect(error).toMatchObject({ code: '08006', message: expect.stringContaining('cannot be verified') });
  });

  it('is never asked for without TLS', async () => {
    const client = await Bytes.connect(stack.agentUrl);
    client.send(startup([['user', 'agent']]));
    expect(await client.fatal()).toMatchObject({ C: '28000', M: 'countersign: TLS is required' });
  });

  it('is asked of an unknown user in the same way, and refused with the same words', async () => {
    const answers = [];
    for (const user of ['agent', 'ghost']) {
      const token = await issuer.token({ sub: 'somebody' });
      const error = await failure(connectPg(config(token, user)));
      const { code, message, hint } = error as pg.DatabaseError;
      answers.push({ code, hint, message: message.replace(user, 'NAME') });
    }
    expect(answers[0]).toEqual(answers[1]);
    // A good token of an agent does not open a door of another name.
    const stolen = await failure(connectPg(config(await issuer.token(), 'ghost')));
    expect(stolen).toMatchObject({ code: '28P01' });
  });

  it.each<[string, Buffer, string, string]>([
    ['of no bytes', encodeFrame(0x70, Buffer.alloc(0)), '08P01', 'invalid password packet size'],
    ['that is empty', encodeFrame(0x70, Buffer.from([0])), '28P01', 'empty password returned by client'],
    ['without an end', encodeFrame(0x70, Buffer.from('abc')), '08P01', 'invalid password packet size'],
    ['with a NUL inside', encodeFrame(0x70, Buffer.from('a\0b\0')), '08P01', 'invalid password packet size'],
    ['of length 3', Buffer.from([0x70, 0, 0, 0, 3]), '08P01', 'invalid password packet size'],
    ['of length -1', Buffer.from([0x70, 255, 255, 255, 255]), '08P01', 'invalid password packet size'],
    ['of 65,540 bytes', Buffer.from([0x70, 0, 1, 0, 4]), '08P01', 'invalid password packet size'],
    ['that is a query', encodeFrame(0x51, Buffer.from('SELECT 1\0')), '08P01', 'expected password response'],
    [
      'that is SCRAM',
      encodeFrame(0x70, Buffer.from('SCRAM-SHA-256\0\0\0\0\x09n,,n=,r=a')),
      '08P01',
      'invalid',
    ],
  ])('must be a password message, not one %s', async (_what, message, code, text) => {
    const client = new Bytes(await overTls(stack.agentUrl));
    client.send(startup([['user', 'agent']]));
    expect([...(await client.frame())]).toEqual([0x52, 0, 0, 0, 8, 0, 0, 0, 3]);
    client.send(message);
    expect(await client.fatal()).toMatchObject({ C: code, M: expect.stringContaining(text) });
  });
});

describe('the person that an agent acts for', () => {
  it.each([
    ['by id', { act: { sub: 'approver' } }],
    ['by address', { on_behalf_of: 'Approver+agents@example.com' }],
  ])('cannot approve its requests: %s', async (_how, claims) => {
    const client = await connect(await issuer.token(claims));
    const table = `for_somebody_${sha256(JSON.stringify(claims)).slice(0, 8)}`;
    const running = client.query(`CREATE TABLE ${table} (id int)`);
    const { id } = await stack.api.waitFor(table);
    const own = await stack.api.verdict(id, 'approve');
    expect([own.status, ((await own.json()) as { code: string }).code]).toEqual([403, 'self_approval']);
    const owner = await stack.api.verdict(id, 'approve', 'mine', stack.ownerToken);
    expect(owner.status).toBe(403);
    expect((await stack.api.verdict(id, 'approve', 'fine', 'deputy-token')).status).toBe(200);
    await running;
    await client.end();
  });

  it('cannot be somebody else because the client says so', async () => {
    const client = await connect(await issuer.token({ on_behalf_of: 'approver' }), {
      options: '-c countersign.run=on_behalf_of=deputy',
    });
    const running = client.query('CREATE TABLE for_approver (id int)');
    const { id } = await stack.api.waitFor('for_approver');
    expect((await stack.api.verdict(id, 'approve')).status).toBe(403);
    await stack.api.verdict(id, 'deny', 'no', 'deputy-token');
    expect(await failure(running)).toMatchObject({ code: '42501' });
    await client.end();
  });

  it("is not reached by the agent's token at the approval API", async () => {
    const answer = await fetch(`${stack.httpUrl}/api/requests?state=open`, {
      headers: { authorization: `Bearer ${await issuer.token()}` },
    });
    expect(answer.status).toBe(403);
    expect(await answer.json()).toMatchObject({ code: 'agent_credential' });
  });
});

describe('a session', () => {
  const endsIn = (after: number) => issuer.token({ exp: seconds(after) });
  const ended = (client: pg.Client) =>
    new Promise<Error & { code?: string }>((done) => client.once('error', done));

  it('ends with its token when it is idle', async () => {
    const client = await connect(await endsIn(2));
    const error = await ended(client);
    expect(error).toMatchObject({ code: '57P01', message: expect.stringContaining('credential') });
    await eventually('the end is recorded', async () => {
      const { rows } = await stack.audit.query(
        "SELECT FROM audit.entry WHERE kind = 'session_end' AND jsonb_object(detail)->>'why' = 'credential ended'",
      );
      return rows.length > 0;
    });
  });

  it('lets a running statement come to its end, within the grace', async () => {
    const client = await connect(await endsIn(1));
    const end = ended(client);
    const { rows } = await client.query("SELECT pg_sleep(2.6), 'done' AS word");
    expect(rows[0].word).toBe('done');
    expect(await end).toMatchObject({ code: '57P01' });
  });

  it('does not live on in a transaction that is never ended', async () => {
    const client = await connect(await endsIn(1));
    const end = ended(client);
    await client.query('BEGIN');
    expect(await end).toMatchObject({ code: '57P01' });
  });

  it('leaves a held request open for one with a new token', async () => {
    const client = await connect(await endsIn(2));
    const end = ended(client);
    const held = failure(client.query('CREATE TABLE later_on (id int)'));
    const { id } = await stack.api.waitFor('later_on');
    expect(await held).toMatchObject({ code: expect.stringMatching(/57014|57P0/) });
    await end;
    await stack.api.verdict(id, 'approve');
    const again = await connect(await issuer.token());
    await again.query('CREATE TABLE later_on (id int)');
    await again.end();
  });
});
