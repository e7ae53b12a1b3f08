import { serialize } from 'pg-protocol';
import { describe, expect, it } from 'vitest';
import { encodeFrame } from '../../src/protocol/backend.ts';
import {
  decodeBind,
  decodeExecute,
  decodeNamed,
  decodeParse,
  decodeQuery,
  FRONTEND,
  MalformedMessage,
} from '../../src/protocol/frontend.ts';

describe('frontend messages', () => {
  it('are decoded as another implementation writes them', () => {
    expect(decodeQuery(serialize.query('SELECT 1')).toString()).toBe('SELECT 1');
    expect(decodeParse(serialize.parse({ name: 'n', text: 'SELECT $1', types: [23, 25] }))).toEqual({
      name: 'n',
      sql: Buffer.from('SELECT $1'),
      parameterTypes: [23, 25],
    });
    const bind = decodeBind(
      serialize.bind({ portal: 'p', statement: 's', values: ['a', null, Buffer.from([1])], binary: true }),
    );
    expect(bind).toMatchObject({
      portal: 'p',
      statement: 's',
      parameterFormats: [0, 0, 1],
      resultFormats: [1],
    });
    expect(bind.parameters.map((value) => value?.toString('hex') ?? null)).toEqual(['61', null, '01']);
    expect(decodeNamed(serialize.describe({ type: 'S', name: 's' }))).toEqual({
      kind: 'statement',
      name: 's',
    });
    expect(decodeExecute(serialize.execute({ portal: 'p', rows: 7 }))).toEqual({ portal: 'p', maxRows: 7 });
  });

  it.each([
    [
      'a Query without its NUL',
      () => decodeQuery(encodeFrame(FRONTEND.query, Buffer.from('SELECT 1'))),
      'invalid string in message',
    ],
    [
      'a Query with a NUL inside',
      () => decodeQuery(encodeFrame(FRONTEND.query, Buffer.from('SELECT 1\0; DROP\0'))),
      'invalid message format',
    ],
    [
      'a Bind whose value is longer than the message',
      () => decodeBind(bindWith(0x7fffffff)),
      'insufficient data left in message',
      'unnamed portal parameter $1',
    ],
    [
      'a Bind with a negative length',
      () => decodeBind(bindWith(-2)),
      'insufficient data left in message',
      'unnamed portal parameter $1',
    ],
    [
      'a Bind with bytes behind it',
      () => decodeBind(Buffer.concat([bindWith(-1), Buffer.from([1])])),
      'invalid message format',
    ],
    [
      'a Close of neither',
      () => decodeNamed(encodeFrame(FRONTEND.close, Buffer.from('Xn\0'))),
      'invalid CLOSE message subtype 88',
    ],
  ])(
    'that Postgres refuses are refused: %s',
    (_name, decode, message, context: string | undefined = undefined) => {
      expect(decode).toThrow(new MalformedMessage(message, context ?? null));
    },
  );

  it('cut names where Postgres cuts them', () => {
    const a = `${'a'.repeat(63)}1`;
    const b = `${'a'.repeat(63)}2`;
    expect(decodeParse(serialize.parse({ name: a, text: '', types: [] })).name).toBe(
      decodeBind(serialize.bind({ statement: b })).statement,
    );
  });
});

/** Bind of one parameter with that length word. */
function bindWith(length: number): Buffer {
  const body = Buffer.alloc(2 + 2 + 2 + 4 + 2);
  body.writeUInt16BE(1, 4);
  body.writeInt32BE(length, 6);
  return encodeFrame(FRONTEND.bind, body);
}
