import fc from 'fast-check';
import { serialize } from 'pg-protocol';
import { describe, expect, it } from 'vitest';
import { encodeFrame } from '../../src/protocol/backend.ts';
import { encodeFrontend, printFrontend } from './frontend-text.ts';
import { parseTranscript, withReplies } from './transcript.ts';

describe('a line of a transcript', () => {
  it.each([
    ['Query "SELECT 1"', serialize.query('SELECT 1')],
    ['Parse "a" "SELECT $1" [23]', serialize.parse({ name: 'a', text: 'SELECT $1', types: [23] })],
    ['Parse "" "SELECT 1"', serialize.parse({ name: '', text: 'SELECT 1', types: [] })],
    ['Describe P ""', serialize.describe({ type: 'P', name: '' })],
    ['Close S "a"', serialize.close({ type: 'S', name: 'a' })],
    ['Execute "p" 5', serialize.execute({ portal: 'p', rows: 5 })],
    ['Sync', serialize.sync()],
    ['Flush', serialize.flush()],
    ['Terminate', serialize.end()],
    ['CopyData "1\\tone\\n"', serialize.copyData(Buffer.from('1\tone\n'))],
    ['CopyData {"hex":"ff00"}', serialize.copyData(Buffer.of(0xff, 0))],
    ['CopyDone', serialize.copyDone()],
    ['CopyFail "no"', serialize.copyFail('no')],
    ['Raw 51 00 00 00 03', Buffer.of(0x51, 0, 0, 0, 3)],
    [
      'Query "two\\u0000parts"',
      Buffer.from('51 00 00 00 0e 74776f 00 7061727473 00'.replaceAll(' ', ''), 'hex'),
    ],
  ])('%s is these bytes, and these bytes are it', (text, bytes) => {
    expect(encodeFrontend(text).toString('hex')).toBe(bytes.toString('hex'));
    expect(printFrontend(bytes)).toBe(text);
  });

  it('says what Bind says', () => {
    const text = 'Bind "p" "s" ["1",null,{"hex":"ff"}] [0,0,1] [1]';
    const bytes = encodeFrontend(text);
    expect(bytes.toString('hex')).toBe(
      '4200000024700073000003000000000001000300000001 31ffffffff00000001ff00010001'.replace(' ', ''),
    );
    expect(printFrontend(bytes)).toBe(text);
    expect(encodeFrontend('Bind "" "" [{"times":3,"of":"1"}]')).toEqual(
      encodeFrontend('Bind "" "" ["1","1","1"]'),
    );
  });

  it('can be made of any bytes', () => {
    const types = fc.constantFrom(...Buffer.from('QPBDECSHXdcfFp!'));
    const body = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc
        .array(fc.constantFrom(0, 0, 1, 0x53, 0x61, 0x22, 0x5c), { maxLength: 40 })
        .map((bytes) => Uint8Array.from(bytes)),
    );
    fc.assert(
      fc.property(types, body, (type, bytes) => {
        const frame = encodeFrame(type, Buffer.from(bytes));
        expect(encodeFrontend(printFrontend(frame)).equals(frame)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each(['Query SELECT 1', 'Query "open', 'Parse 1 2', 'Raw 5', 'Raw zz', 'Nonsense', 'Bind "" "" "1"'])(
    'is refused where it means nothing: %s',
    (text) => {
      expect(() => encodeFrontend(text)).toThrow();
    },
  );
});

describe('a transcript', () => {
  const text = [
    '# A comment.',
    '# policy: it is an export',
    'F Query "LISTEN a"',
    'F <wait>',
    'B CommandComplete "LISTEN"',
    '',
    "A NOTIFY a, 'x'",
    'F Sync',
    'B ReadyForQuery I',
    '',
  ].join('\n');

  it('is segments between waits', () => {
    expect(parseTranscript(text)).toEqual({
      held: 'it is an export',
      differs: null,
      segments: [
        {
          another: [],
          frames: [serialize.query('LISTEN a')],
          expected: ['CommandComplete "LISTEN"'],
          waited: true,
        },
        {
          another: ["NOTIFY a, 'x'"],
          frames: [serialize.sync()],
          expected: ['ReadyForQuery I'],
          waited: false,
        },
      ],
    });
  });

  it('keeps all but its replies when they are written anew', () => {
    const { segments } = parseTranscript(text);
    expect(
      withReplies(
        text,
        segments.map(({ expected }) => expected),
      ),
    ).toBe(text);
    expect(withReplies(text, [['one'], ['two', 'three']])).toBe(
      text.replace('CommandComplete "LISTEN"', 'one').replace('B ReadyForQuery I', 'B two\nB three'),
    );
  });

  it.each(['Query "SELECT 1"', 'F Query "a"\nB x\nF Sync', 'f Sync'])(
    'is refused where a line is wrong: %s',
    (wrong) => {
      expect(() => parseTranscript(wrong)).toThrow(/line \d/);
    },
  );
});
