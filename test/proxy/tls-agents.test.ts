import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { hasPsql, psql } from '../support/psql.ts';
import { type Stack, startStack } from '../support/stack.ts';
import {
  Bytes,
  connectPg,
  eventually,
  failure,
  overTls,
  refusedLogins,
  SSL_REQUEST,
  startup,
  TLS,
} from './support.ts';

const AUTHENTICATION_MS = 2_500;
let optional: Stack;
let required: Stack;
const withTls = (mustBe: boolean) => ({
  limits: { authenticationMs: AUTHENTICATION_MS },
  config: (config: Stack['config']) => ({
    ...config,
    listen: { ...config.listen, tls: { cert: TLS.cert, key: TLS.key, required: mustBe, clientCa: null } },
  }),
});
beforeAll(async () => {
  [optional, required] = await Promise.all([startStack(withTls(false)), startStack(withTls(true))]);
});
afterAll(() => Promise.all([optional.close(), required.close()]));
/** A fault of one connection is never another one's: a new client is served. */
afterEach(async () => {
  for (const { agentUrl } of [optional, required]) {
    const client = await connectPg({ connectionString: agentUrl, ssl: VERIFIED });
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await client.end();
  }
});

// pg does not tell Node the host when it is an address.
const VERIFIED = { ca: TLS.ca, host: '127.0.0.1' };

const direct = (stack: Stack, alpn: readonly string[]) => overTls(stack.agentUrl, alpn);

describe('TLS towards agents', () => {
  it('is used, and recorded, where the client asks for it: pg, postgres.js', async () => {
    const client = await connectPg({
      connectionString: optional.agentUrl,
      ssl: VERIFIED,
      application_name: 'over tls',
    });
    expect((await client.query("SELECT repeat('x', 300000) AS long")).rows[0].long).toHaveLength(300_000);
    await client.end();
    const sql = postgres(optional.agentUrl, { max: 1, ssl: { ca: TLS.ca, host: '127.0.0.1' } });
    expect(await sql`SELECT 1 AS one`).toMatchObject([{ one: 1 }]);
    await sql.end();
    await eventually('a session over TLS', async () => {
      const { rows } = await optional.audit.query(
        "SELECT tls FROM audit.entry WHERE kind = 'session_start' AND application_name = 'over tls'",
      );
      return rows.length === 1 && rows[0].tls === true;
    });
  });

  it.runIf(hasPsql())('is used by psql, sslmode=require and verify-ca', async () => {
    const query = (mode: string) => psql(`${required.agentUrl}?${mode}`, 'SELECT 41 + 1', '-At').done;
    const ca = new URL('../../fixtures/tls/ca.crt', import.meta.url).pathname;
    const otherCa = new URL('../../fixtures/tls/other-ca.crt', import.meta.url).pathname;
    expect(await query('sslmode=require')).toMatchObject({ code: 0, stdout: '42\n' });
    expect(await query(`sslmode=verify-full&sslrootcert=${ca}`)).toMatchObject({ code: 0, stdout: '42\n' });
    expect(await query(`sslmode=verify-ca&sslrootcert=${otherCa}`)).toMatchObject({ code: 2 });
  });

  it('is refused by a client that trusts another authority', async () => {
    const error = await failure(
      connectPg({ connectionString: optional.agentUrl, ssl: { ...VERIFIED, ca: TLS.otherCa } }),
    );
    expect(error.message).toMatch(/certificate/);
  });

  it('may be left out only where it is not required', async () => {
    const client = await connectPg({ connectionString: optional.agentUrl });
    await client.end();
    const error = await failure(connectPg({ connectionString: required.agentUrl }));
    expect(error).toMatchObject({ code: '28000', message: expect.stringContaining('TLS is required') });
    // Nothing was asked of the client, its password least of all.
    const plain = await Bytes.connect(required.agentUrl);
    plain.send(startup([['user', 'agent']]));
    expect(await plain.fatal()).toMatchObject({ C: '28000' });
  });

  it('from the first byte on needs ALPN postgresql', async () => {
    const socket = await direct(required, ['postgresql']);
    expect(socket.alpnProtocol).toBe('postgresql');
    const client = new Bytes(socket);
    client.send(
      startup([
        ['user', 'agent'],
        ['database', required.shop.name],
      ]),
    );
    expect((await client.frame())[0]).toBe(0x52);
    client.close();

    const without = new Bytes(await direct(required, []));
    expect(await without.fatal()).toMatchObject({ C: '08P01', M: expect.stringContaining('ALPN') });
    await expect(direct(required, ['h2'])).rejects.toThrow(/alert/);
  });

  it('is granted once', async () => {
    const client = new Bytes(await direct(optional, ['postgresql']));
    client.send(SSL_REQUEST);
    expect(await client.fatal()).toMatchObject({ C: '08P01', M: expect.stringContaining('repeated') });
  });

  it('never takes bytes from before the handshake for encrypted ones', async () => {
    const client = await Bytes.connect(optional.agentUrl);
    client.send(SSL_REQUEST, startup([['user', 'agent']]));
    expect(await client.fatal()).toMatchObject({
      C: '08P01',
      M: expect.stringContaining('unencrypted data'),
    });
  });

  it.each([
    ['rubbish', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['a broken ClientHello', Buffer.from('16030100050100000100', 'hex')],
    ['an alert', Buffer.from('15030100020228', 'hex')],
  ])('ends one connection where the handshake is %s', async (_name, bytes) => {
    const client = await Bytes.connect(optional.agentUrl);
    client.send(SSL_REQUEST);
    expect((await client.take(1)).toString()).toBe('S');
    client.send(bytes);
    await client.toEnd();
  });

  it('ends one connection where the client resets it in the handshake', async () => {
    for (const first of [Buffer.from('1603010200', 'hex'), SSL_REQUEST]) {
      const client = await Bytes.connect(optional.agentUrl);
      client.send(first);
      await new Promise((done) => setTimeout(done, 20));
      client.socket.resetAndDestroy();
    }
  });

  it('ends one connection where the handshake takes too long', async () => {
    const began = Date.now();
    const upgraded = await Bytes.connect(optional.agentUrl);
    upgraded.send(SSL_REQUEST);
    await upgraded.take(1);
    const fromTheStart = await Bytes.connect(optional.agentUrl);
    fromTheStart.send(Buffer.from('1603010200', 'hex'));
    await Promise.all([upgraded.toEnd(), fromTheStart.toEnd()]);
    expect(Date.now() - began).toBeGreaterThan(AUTHENTICATION_MS - 200);
  });

  it('carries a cancel request, plain or encrypted', async () => {
    const plain = await Bytes.connect(required.agentUrl);
    plain.send(Buffer.from('0000001004d2162e0000000100000001', 'hex'));
    expect(await plain.toEnd()).toHaveLength(0);
    const encrypted = new Bytes(await direct(required, ['postgresql']));
    encrypted.send(Buffer.from('0000001004d2162e0000000100000001', 'hex'));
    expect(await encrypted.toEnd()).toHaveLength(0);
  });

  it('records refusals with what protected them', async () => {
    const before = (await refusedLogins(optional, 0)).length;
    const wrong = new URL(optional.agentUrl);
    wrong.password = 'wrong';
    await failure(connectPg({ connectionString: wrong.href, ssl: VERIFIED }));
    const refused = await refusedLogins(optional, before + 1);
    expect(refused.at(-1)).toMatchObject({ user: 'agent', code: '28P01', tls: 'true' });
  });
});
