import { serialize } from 'pg-protocol';
import { describe, expect, it } from 'vitest';
import { decodeStartup, PROTOCOL_3_0, StartupError } from '../../src/protocol/startup.ts';
import { LoginRefused, readClientParameters, readOptions } from '../../src/proxy/client-parameters.ts';

function packet(code: number, body: string): Buffer {
  const bytes = Buffer.alloc(8 + Buffer.byteLength(body, 'latin1'));
  bytes.writeUInt32BE(bytes.length, 0);
  bytes.writeUInt32BE(code, 4);
  bytes.write(body, 8, 'latin1');
  return bytes;
}

describe('start-up packets', () => {
  it('are decoded as another implementation writes them', () => {
    const decoded = decodeStartup(serialize.startup({ user: 'agent', database: 'shop' }));
    expect(decoded.kind === 'startup' && [...decoded.parameters]).toEqual([
      ['user', 'agent'],
      ['database', 'shop'],
      ['client_encoding', 'UTF8'],
    ]);
    expect(decodeStartup(serialize.requestSsl())).toEqual({ kind: 'ssl' });
  });

  it.each([
    ['a duplicate key', packet(PROTOCOL_3_0, 'user\0a\0user\0b\0\0')],
    ['a value without a NUL', packet(PROTOCOL_3_0, 'user\0agent')],
    ['no terminator', packet(PROTOCOL_3_0, 'user\0agent\0')],
    ['bytes behind the terminator', packet(PROTOCOL_3_0, 'user\0agent\0\0x')],
    ['an odd number of strings', packet(PROTOCOL_3_0, 'user\0\0')],
    ['protocol 2', packet(0x20000, '')],
    ['protocol 4', packet(0x40000, 'user\0a\0\0')],
    ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['a short cancel request', packet(80877102, '1234')],
  ])('with %s are refused', (_name, bytes) => {
    expect(() => decodeStartup(bytes)).toThrow(StartupError);
  });

  it('keep unknown protocol options apart', () => {
    const decoded = decodeStartup(packet(0x3270f, 'user\0a\0_pq_.x\x001\0\0'));
    expect(decoded).toMatchObject({ protocol: 0x3270f, protocolOptions: ['_pq_.x'] });
  });
});

describe('start-up parameters', () => {
  const read = (entries: Record<string, string>) =>
    readClientParameters(new Map(Object.entries({ user: 'a', ...entries })));

  it('pass by an explicit list', () => {
    expect([...read({ DateStyle: 'ISO', application_name: 'x', 'countersign.run': 'r1' }).passed]).toEqual([
      ['datestyle', 'ISO'],
      ['application_name', 'x'],
    ]);
    expect(read({ 'countersign.run': 'r1' }).run).toBe('r1');
  });

  it.each([
    { replication: 'database' },
    { replication: 'true' },
    { role: 'postgres' },
    { session_preload_libraries: 'x' },
    { client_encoding: 'BIG5' },
    { standard_conforming_strings: 'off' },
    { options: '-c role=postgres' },
    { options: '--role=postgres' },
    { options: '-crole=postgres' },
    { options: '-c client_encoding=SJIS' },
    { options: '--standard-conforming-strings=off' },
    { options: '-c search\\_path=x -c role=y' },
    { options: '-d5' },
    { options: '-c search_path=a', search_path: 'b' },
  ])('that could change who or what is read are refused: %j', (entries) => {
    expect(() => read(entries as Record<string, string>)).toThrow(LoginRefused);
  });

  it('accept the pinned values', () => {
    expect(() => read({ client_encoding: "'utf-8'", standard_conforming_strings: 'on' })).not.toThrow();
  });

  it('read options as Postgres splits them', () => {
    expect(readOptions('-c search_path=a\\ b  --statement-timeout=5s')).toEqual([
      ['search_path', 'a b'],
      ['statement_timeout', '5s'],
    ]);
  });
});
