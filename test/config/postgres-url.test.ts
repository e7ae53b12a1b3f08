import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { formatPostgresUrl, isLocal, parsePostgresUrl } from '../../src/config/postgres-url.ts';

const EMPTY = { user: null, password: null, database: null, sslmode: null, sslrootcert: null };

describe('a Postgres URL', () => {
  it.each([
    ['postgres://h', { ...EMPTY, host: 'h', port: 5432 }],
    ['postgresql://u@h:1/d', { ...EMPTY, host: 'h', port: 1, user: 'u', database: 'd' }],
    [
      'postgres://u:p%40%2F%3A@[::1]/d',
      { ...EMPTY, host: '::1', port: 5432, user: 'u', password: 'p@/:', database: 'd' },
    ],
    ['postgres:///d?host=/run/pg', { ...EMPTY, host: '/run/pg', port: 5432, database: 'd' }],
    [
      'postgres://u:p@/d?host=/run/pg&port=7',
      { ...EMPTY, host: '/run/pg', port: 7, user: 'u', password: 'p', database: 'd' },
    ],
    ['postgres://u@%2Frun%2Fpg/d', { ...EMPTY, host: '/run/pg', port: 5432, user: 'u', database: 'd' }],
    [
      'postgres://h/d?sslmode=verify-full&sslrootcert=ca.pem',
      { ...EMPTY, host: 'h', port: 5432, database: 'd', sslmode: 'verify-full', sslrootcert: 'ca.pem' },
    ],
  ])('%s', (text, expected) => {
    expect(parsePostgresUrl(text)).toEqual(expected);
  });

  it.each([
    'http://h/d',
    'h:5432/d',
    'postgres://',
    'postgres:///d',
    'postgres://h:0/d',
    'postgres://h:99999/d',
    'postgres://u:p@h/d?options=-c%20role%3Dx',
    'postgres://u:p@h/d?sslmode=prefer',
  ])('%s is refused with words that do not quote it', (text) => {
    const reason = parsePostgresUrl(text);
    expect(reason).toBeTypeOf('string');
    expect(reason).not.toContain('u:p');
  });

  it('written again means the same to us and to node-postgres', () => {
    const parts = {
      host: 'db',
      port: 6000,
      user: 'a b@',
      password: "p:/?#%'&=+",
      database: 'my db',
      sslmode: null,
      sslrootcert: null,
    };
    for (const host of ['db', '127.0.0.1', '/run/post gres']) {
      const text = formatPostgresUrl({ ...parts, host });
      expect(parsePostgresUrl(text)).toEqual({ ...parts, host });
      expect(new URL(text).username).toBe('a%20b%40');
      const client = new pg.Client({ connectionString: text });
      expect({
        host: client.host,
        port: client.port,
        user: client.user,
        password: client.password,
        database: client.database,
      }).toEqual({
        host,
        port: 6000,
        user: parts.user,
        password: parts.password,
        database: parts.database,
      });
    }
  });
});

it('knows what stays on the machine', () => {
  expect(['/run/pg', 'localhost', '127.0.0.1', '127.9.9.9', '::1'].every(isLocal)).toBe(true);
  expect(['localhost.example.com', '10.0.0.1', '127.0.0.1.example.com', 'db'].some(isLocal)).toBe(false);
});
