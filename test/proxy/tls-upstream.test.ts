import { chmodSync, chownSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, TLSSocket } from 'node:tls';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { UpstreamAddress, UpstreamTls } from '../../src/config/config.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded/launcher.ts';
import { sslOptions } from '../../src/proxy/side-tls.ts';
import { askUpstream, cancelUpstream, openUpstream, UpstreamUnavailable } from '../../src/proxy/upstream.ts';
import { superuser } from '../support/postgres.ts';
import { failure, SSL_REQUEST, TLS } from './support.ts';

const PASSWORD = 'tls-superuser';
let directory: string;
let server: EmbeddedPostgres;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cs-tls-'));
  chmodSync(directory, 0o755);
  // The cluster first: the key must belong to whoever runs the server.
  const first = await startEmbeddedPostgres({ directory, password: PASSWORD, settings: { fsync: 'off' } });
  await first.stop();
  const owner = statSync(join(directory, 'pgdata'));
  const write = (name: string, text: string) => {
    const path = join(directory, name);
    writeFileSync(path, text, { mode: 0o600 });
    if (process.getuid?.() === 0) chownSync(path, owner.uid, owner.gid);
    return path;
  };
  server = await startEmbeddedPostgres({
    directory,
    password: PASSWORD,
    settings: {
      fsync: 'off',
      ssl: 'on',
      ssl_cert_file: write('server.crt', TLS.cert),
      ssl_key_file: write('server.key', TLS.key),
    },
  });
});
afterAll(async () => {
  await server.stop();
  rmSync(directory, { recursive: true, force: true });
});

const at = (tls: UpstreamTls, host = '127.0.0.1', port = server.port): UpstreamAddress => ({
  host,
  port,
  database: 'postgres',
  user: null,
  password: null,
  tls,
});
const LOGIN = {
  user: 'postgres',
  password: PASSWORD,
  database: 'postgres',
  parameters: new Map<string, string>(),
};
const IN_USE = 'SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()';

/** Whether a session's own connection is encrypted. */
async function session(address: UpstreamAddress, login = LOGIN): Promise<string | null> {
  const upstream = await openUpstream(address, login, 5_000);
  try {
    return await askUpstream(upstream, IN_USE, 5_000);
  } finally {
    upstream.wire.destroy();
  }
}

/** The same for a side connection, which `pg` makes. */
async function side(address: UpstreamAddress, password = PASSWORD): Promise<string | null> {
  const { host, port } = address;
  const client = new pg.Client({
    host,
    port,
    user: 'postgres',
    password,
    database: 'postgres',
    ssl: sslOptions(address),
  });
  await client.connect();
  try {
    return (await client.query(IN_USE)).rows[0].ssl;
  } finally {
    await client.end();
  }
}

const WAYS = { session, side } as const;
const WAY_NAMES = ['session', 'side'] as const;

describe.each(WAY_NAMES)('TLS towards upstream, %s connections', (name) => {
  const open = WAYS[name];

  it.each<[string, () => UpstreamAddress]>([
    ['require', () => at({ mode: 'require' })],
    ['verify-ca', () => at({ mode: 'verify-ca', ca: TLS.ca })],
    [
      'verify-ca, under a name that the certificate does not have',
      () => at({ mode: 'verify-ca', ca: TLS.ca }, 'localhost'),
    ],
    ['verify-full', () => at({ mode: 'verify-full', ca: TLS.ca })],
  ])('is used in mode %s', async (_mode, address) => {
    expect(await open(address())).toBe('true');
  });

  it('is not used in mode disable', async () => {
    expect(await open(at({ mode: 'disable' }))).toBe('false');
  });

  it.each<[string, () => UpstreamAddress, RegExp]>([
    ['verify-ca and another authority', () => at({ mode: 'verify-ca', ca: TLS.otherCa }), /certificate/],
    ['verify-full and another authority', () => at({ mode: 'verify-full', ca: TLS.otherCa }), /certificate/],
    [
      'verify-full and another name',
      () => at({ mode: 'verify-full', ca: TLS.ca }, 'localhost'),
      /altnames|Hostname/,
    ],
  ])('is refused with %s', async (_mode, address, words) => {
    expect((await failure(open(address()))).message).toMatch(words);
  });

  it.each<UpstreamTls>([
    { mode: 'require' },
    { mode: 'verify-ca', ca: TLS.ca },
    { mode: 'verify-full', ca: TLS.ca },
  ])('is demanded of a server that has none: %j', async (tls) => {
    const { port } = inject('postgres');
    expect((await failure(open(at(tls, '127.0.0.1', port)))).message).toMatch(/TLS|SSL/);
  });
});

it('carries cancel requests', async () => {
  const address = at({ mode: 'verify-full', ca: TLS.ca });
  const upstream = await openUpstream(address, LOGIN, 5_000);
  const sleeping = askUpstream(upstream, 'SELECT pg_sleep(20)', 10_000);
  await new Promise((done) => setTimeout(done, 200));
  await cancelUpstream(address, upstream, 5_000);
  expect(await failure(sleeping)).toMatchObject({ fields: { C: '57014' } });
  upstream.wire.destroy();
});

it('takes no password in clear over a plain connection', async () => {
  const { socketDirectory } = server;
  await new Promise<void>((done, failed) => {
    const hba = [
      'hostssl all clear_user all password',
      'hostnossl all clear_user all password',
      'local all clear_user password',
      'host all all all scram-sha-256',
    ];
    writeFileSync(join(directory, 'pgdata', 'pg_hba.conf'), `${hba.join('\n')}\n`);
    const client = new pg.Client({ ...superuser(), port: server.port, password: PASSWORD });
    client
      .connect()
      .then(() => client.query("CREATE ROLE clear_user LOGIN PASSWORD 'clear'"))
      .then(() => client.query('SELECT pg_reload_conf()'))
      .then(() => client.end())
      .then(done, failed);
  });
  await new Promise((done) => setTimeout(done, 300));
  const login = { ...LOGIN, user: 'clear_user', password: 'clear' };
  expect(await session(at({ mode: 'require' }), login)).toBe('true');
  if (socketDirectory !== null)
    expect(await session(at({ mode: 'disable' }, socketDirectory), login)).toBe('false');
  const error = await failure(session(at({ mode: 'disable' }), login));
  expect(error).toBeInstanceOf(UpstreamUnavailable);
  expect(error.message).toMatch(/clear/);
});

/**
 * Somebody in between who has the server's certificate and reads along, and changes what the server says; with what
 * was read of the client after its start-up.
 */
async function readAlong(
  change: (bytes: Buffer) => Buffer,
): Promise<{ port: number; read: Buffer[]; end: () => void }> {
  const read: Buffer[] = [];
  const between = createServer((plain) => {
    plain.on('error', () => {});
    plain.once('data', () => {
      plain.write('S');
      const client = new TLSSocket(plain, { isServer: true, cert: TLS.cert, key: TLS.key });
      const real = connect(server.port, '127.0.0.1');
      real.once('data', () => {
        const secure = connectTls({ socket: real, rejectUnauthorized: false });
        pass(client, secure, read, change);
      });
      real.write(SSL_REQUEST);
    });
  });
  await new Promise<void>((done) => between.listen(0, '127.0.0.1', done));
  const address = between.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  return { port, read, end: () => between.close() };
}

function pass(client: Socket, server: Socket, read: Buffer[], change: (bytes: Buffer) => Buffer): void {
  for (const [from, to] of [
    [client, server],
    [server, client],
  ] as const) {
    from.on('error', () => {});
    from.on('close', () => to.destroy());
  }
  client.on('data', (bytes: Buffer) => {
    read.push(Buffer.from(bytes));
    server.write(bytes);
  });
  server.on('data', (bytes: Buffer) => client.write(change(bytes)));
}

describe('SCRAM over TLS', () => {
  it('is bound to the certificate, and the server agrees', async () => {
    const between = await readAlong((bytes) => bytes);
    expect(await session(at({ mode: 'require' }, '127.0.0.1', between.port))).toBe('true');
    expect(between.read[1]?.toString('latin1')).toContain('SCRAM-SHA-256-PLUS\0');
    between.end();
  });

  it('does not get past somebody who hides that it can be bound', async () => {
    const both = Buffer.from('SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0', 'latin1');
    const between = await readAlong((bytes) => {
      const found = bytes.indexOf(both);
      if (found === -1) return bytes;
      const rest = Buffer.concat([bytes.subarray(0, found), Buffer.from('SCRAM-SHA-256\0\0', 'latin1')]);
      rest.writeInt32BE(rest.length - 1, 1);
      return rest;
    });
    const error = await failure(session(at({ mode: 'require' }, '127.0.0.1', between.port)));
    expect(error).toMatchObject({ fields: { C: '28000', D: expect.stringMatching(/channel binding/) } });
    expect(between.read[1]?.toString('latin1')).toContain('SCRAM-SHA-256\0');
    between.end();
  });
});
