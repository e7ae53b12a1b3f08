import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Agent, Config } from '../../src/config/config.ts';
import { hasPsql, psql } from '../support/psql.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { Bytes, connectPg, failure, refusedLogins, startup, TLS, tlsFixture } from './support.ts';

const SECOND_FINGERPRINT = fingerprintOf('client-second');
let stack: Stack;
beforeAll(async () => {
  stack = await startStack({
    config: (config: Config) => {
      const [scram] = config.agents;
      if (scram === undefined) throw new Error('no agent');
      const named = (name: string, fingerprints: string[]): Agent => ({
        ...scram,
        name,
        auth: { kind: 'cert', fingerprints },
      });
      return {
        ...config,
        listen: {
          ...config.listen,
          tls: { ...TLS, required: false, clientCa: tlsFixture('client-ca.crt') },
        },
        agents: [scram, named('cert-agent', [])],
      };
    },
  });
});
afterAll(() => stack.close());
afterEach(async () => {
  const client = await connect('client');
  expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  await client.end();
});

function fingerprintOf(name: string): string {
  const pem = readFileSync(new URL(`../../fixtures/tls/${name}.crt`, import.meta.url));
  return new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase();
}

const ssl = (certificate: string | null): ConnectionOptions => ({
  ca: TLS.ca,
  host: '127.0.0.1',
  ...(certificate === null
    ? {}
    : { cert: tlsFixture(`${certificate}.crt`), key: tlsFixture(`${certificate}.key`) }),
});
function config(certificate: string | null, user = 'cert-agent', url = stack.agentUrl): pg.ClientConfig {
  const { hostname, port, pathname } = new URL(url);
  return { host: hostname, port: Number(port), database: pathname.slice(1), user, ssl: ssl(certificate) };
}
const connect = (certificate: string | null, user?: string, url?: string) =>
  connectPg(config(certificate, user, url));

describe('a client certificate', () => {
  it('lets in whom it names', async () => {
    const client = await connect('client');
    expect((await client.query('SELECT 2 AS two')).rows).toEqual([{ two: 2 }]);
    await client.end();
    const second = await connect('client-second');
    await second.end();
  });

  it.runIf(hasPsql())('is taken from psql, and missed', async () => {
    const { hostname, port, pathname } = new URL(stack.agentUrl);
    const at = (more: string) =>
      `postgres://cert-agent@${hostname}:${port}${pathname}?sslmode=require${more}`;
    // psql wants a key that nobody else can read.
    const directory = mkdtempSync(join(tmpdir(), 'cs-cert-'));
    const file = (name: string) => {
      const path = join(directory, name);
      writeFileSync(path, tlsFixture(name), { mode: 0o600 });
      return path;
    };
    try {
      const good = `&sslcert=${file('client.crt')}&sslkey=${file('client.key')}`;
      expect(await psql(at(good), 'SELECT 41 + 1', '-At').done).toMatchObject({ code: 0, stdout: '42\n' });
      const without = await psql(at(`&sslcert=/nowhere`), 'SELECT 1').done;
      expect(without.stderr).toContain('connection requires a valid client certificate');
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it.each<[string, string | null, string, string, string]>([
    ['is missing', null, 'cert-agent', '28000', 'connection requires a valid client certificate'],
    ['is missing, of an unknown user', null, 'ghost', '28000|28P01', ''],
    ['names another', 'client', 'agent', '28P01|XX', ''],
    ['is of another authority', 'client-rogue', 'cert-agent', '28000', 'not accepted'],
    ['has expired', 'client-expired', 'cert-agent', '28000', 'CERT_HAS_EXPIRED'],
    ['is for servers', 'client-for-servers', 'cert-agent', '28000', 'not accepted'],
    ['has two names', 'client-two-names', 'cert-agent', '28000', 'certificate authentication failed'],
  ])('is refused when it %s', async (_what, certificate, user, code, message) => {
    const error = await failure(connect(certificate, user));
    // A SCRAM agent without a password fails in the client itself.
    if (user !== 'cert-agent') return expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
    const rows = await refusedLogins(stack, 1);
    expect(rows.length).toBeGreaterThan(0);
  });

  it('opens no door of another name', async () => {
    const second = await startStack({
      config: (base) => {
        const [agent] = base.agents;
        if (agent === undefined) throw new Error('no agent');
        return {
          ...base,
          listen: { ...base.listen, tls: { ...TLS, required: true, clientCa: tlsFixture('client-ca.crt') } },
          agents: [
            { ...agent, name: 'other', auth: { kind: 'cert', fingerprints: [] } },
            { ...agent, name: 'cert-agent', auth: { kind: 'cert', fingerprints: [SECOND_FINGERPRINT] } },
          ],
        };
      },
    });
    try {
      for (const user of ['other', 'ghost'])
        expect(await failure(connect('client', user, second.agentUrl))).toMatchObject({
          code: '28000',
          message: `certificate authentication failed for user "${user}"`,
        });
      // Only the pinned one of two with the same name.
      expect(await failure(connect('client', 'cert-agent', second.agentUrl))).toMatchObject({
        message: 'certificate authentication failed for user "cert-agent"',
      });
      const pinned = await connect('client-second', 'cert-agent', second.agentUrl);
      await pinned.end();
      // Without a certificate, known and unknown names look the same.
      for (const user of ['other', 'ghost'])
        expect(await failure(connect(null, user, second.agentUrl))).toMatchObject({
          message: 'connection requires a valid client certificate',
        });
    } finally {
      await second.close();
    }
  });

  it('is not needed where the agent has a password', async () => {
    const client = await connectPg({ ...config(null, 'agent'), password: 'agent-secret' });
    await client.end();
    const withOne = await connectPg({ ...config('client', 'agent'), password: 'agent-secret' });
    await withOne.end();
  });

  it('counts over TLS alone', async () => {
    const client = await Bytes.connect(stack.agentUrl);
    client.send(startup([['user', 'cert-agent']]));
    expect(await client.fatal()).toMatchObject({ C: '28000', M: 'countersign: TLS is required' });
  });
});
