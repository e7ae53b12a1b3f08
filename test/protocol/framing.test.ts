import { serialize } from 'pg-protocol';
import { describe, expect, it, vi } from 'vitest';
import { encodeFrame } from '../../src/protocol/backend.ts';
import { BackendScanner } from '../../src/protocol/backend-scanner.ts';
import { FrameError, FrameReader } from '../../src/protocol/frame-reader.ts';

const FRAMES = [
  serialize.query('SELECT 1'),
  serialize.sync(),
  serialize.query('x'.repeat(300)),
  serialize.flush(),
];

describe('the frame reader', () => {
  it('sees the same frames however the stream is cut', () => {
    const stream = Buffer.concat(FRAMES);
    for (let cut = 1; cut < stream.length; cut++) {
      for (const size of [cut, 1, 2, 7]) {
        const reader = new FrameReader(1000);
        const seen: Buffer[] = [];
        for (let at = 0; at < stream.length; at += size)
          reader.push(stream.subarray(at, at + size), (_type, frame) => {
            seen.push(Buffer.from(frame));
            return true;
          });
        expect(seen).toEqual(FRAMES);
        expect(reader.partial).toBe(false);
      }
    }
  });

  it.each([0, 3, -1, -2147483648])('refuses the length %i', (length) => {
    const head = Buffer.from([0x51, 0, 0, 0, 0]);
    head.writeInt32BE(length, 1);
    expect(() => new FrameReader(1000).push(head, () => true)).toThrow(FrameError);
    // Also when the header comes byte by byte.
    const reader = new FrameReader(1000);
    expect(() => {
      for (const byte of head) reader.push(Buffer.of(byte), () => true);
    }).toThrow(FrameError);
  });

  it('refuses what is longer than its limit before keeping any of it', () => {
    const head = Buffer.from([0x51, 0, 0, 0, 0]);
    head.writeInt32BE(1000, 1);
    expect(() => new FrameReader(1000).push(head, () => true)).toThrow('longer than the limit of 1000 bytes');
  });
});

describe('the backend scanner', () => {
  const rows = encodeFrame(0x44, Buffer.alloc(5000, 7));
  const stream = Buffer.concat([
    encodeFrame(0x54, Buffer.from('desc')),
    rows,
    rows,
    encodeFrame(0x43, Buffer.from('SELECT 2\0')),
    encodeFrame(0x5a, Buffer.from('I')),
  ]);

  it.each([1, 2, 3, 5, 6, 100, 4999, 5000, 5005, 5006, 20_000])(
    'passes every byte on, cut into pieces of %i',
    (size) => {
      const scanner = new BackendScanner(1000);
      const out: Buffer[] = [];
      const types: string[] = [];
      let bytes = 0;
      for (let at = 0; at < stream.length; at += size)
        scanner.push(stream.subarray(at, at + size), {
          data: (length) => {
            bytes += length;
            return 'pass';
          },
          frame: (type) => {
            types.push(String.fromCharCode(type));
            return 'pass';
          },
          out: (piece) => out.push(Buffer.from(piece)),
        });
      expect(Buffer.concat(out).equals(stream)).toBe(true);
      expect(types.join('')).toBe('TCZ');
      expect(bytes).toBe(10_000);
    },
  );

  it.each([1, 7, 20_000])('exchanges one frame for another, cut into pieces of %i', (size) => {
    const scanner = new BackendScanner(1000);
    const out: Buffer[] = [];
    const other = encodeFrame(0x45, Buffer.from('other'));
    for (let at = 0; at < stream.length; at += size)
      scanner.push(stream.subarray(at, at + size), {
        data: () => 'pass',
        frame: (type) => (type === 0x43 ? { replace: other } : 'pass'),
        out: (piece) => out.push(Buffer.from(piece)),
      });
    const expected = Buffer.concat([
      encodeFrame(0x54, Buffer.from('desc')),
      rows,
      rows,
      other,
      encodeFrame(0x5a, Buffer.from('I')),
    ]);
    expect(Buffer.concat(out).equals(expected)).toBe(true);
  });

  it('refuses a control frame that is longer than its limit', () => {
    const notice = encodeFrame(0x4e, Buffer.alloc(2000));
    const push = () =>
      new BackendScanner(1000).push(notice, { data: () => 'pass', frame: () => 'pass', out: () => {} });
    expect(push).toThrow(FrameError);
  });

  it.each([1, 3, 16, 1000])(
    'lets what came before a bad length go on first, cut into pieces of %i',
    (size) => {
      const before = Buffer.concat([rows, encodeFrame(0x43, Buffer.from('SELECT 1\0'))]);
      const bad = Buffer.concat([before, Buffer.from([0x44, 255, 255, 255, 254])]);
      const scanner = new BackendScanner(1000);
      const out: Buffer[] = [];
      const types: string[] = [];
      const push = () => {
        for (let at = 0; at < bad.length; at += size)
          scanner.push(bad.subarray(at, at + size), {
            data: () => 'pass',
            frame: (type) => {
              types.push(String.fromCharCode(type));
              return 'pass';
            },
            out: (piece) => out.push(Buffer.from(piece)),
          });
      };
      expect(push).toThrow('invalid message length -2');
      expect(types).toEqual(['C']);
      expect(Buffer.concat(out).equals(before)).toBe(true);
    },
  );
});

describe('a big frame that comes in small pieces', () => {
  const BODY = 1 << 20;
  const notice = encodeFrame(0x4e, Buffer.alloc(BODY, 7));
  /** Bytes copied and the biggest room taken while `work` runs. */
  const costs = (work: () => void) => {
    let copied = 0;
    let room = 0;
    const { copy } = Buffer.prototype;
    const { allocUnsafe, concat } = Buffer;
    const spies = [
      vi.spyOn(Buffer.prototype, 'copy').mockImplementation(function (this: Buffer, ...args) {
        const bytes = copy.apply(this, args);
        copied += bytes;
        return bytes;
      }),
      vi.spyOn(Buffer, 'allocUnsafe').mockImplementation((size) => {
        room = Math.max(room, size);
        return allocUnsafe(size);
      }),
      vi.spyOn(Buffer, 'concat').mockImplementation((list, length) => {
        const joined = concat(list, length);
        copied += joined.length;
        return joined;
      }),
    ];
    try {
      work();
    } finally {
      for (const spy of spies) spy.mockRestore();
    }
    return { copied, room };
  };
  const scan = (bytes: Buffer, size: number) => {
    const scanner = new BackendScanner(4 * BODY);
    let frames = 0;
    for (let at = 0; at < bytes.length; at += size)
      scanner.push(bytes.subarray(at, at + size), {
        data: () => 'pass',
        frame: (_type, frame) => {
          expect(frame.equals(notice)).toBe(true);
          frames += 1;
          return 'pass';
        },
        out: () => {},
      });
    return frames;
  };
  const read = (bytes: Buffer, size: number) => {
    const reader = new FrameReader(64 * BODY);
    let frames = 0;
    for (let at = 0; at < bytes.length; at += size)
      reader.push(bytes.subarray(at, at + size), (_type, frame) => {
        expect(frame.equals(notice)).toBe(true);
        frames += 1;
        return true;
      });
    return frames;
  };

  it.each([
    ['scanner', scan],
    ['reader', read],
  ])('is copied a fixed number of times by the %s', (_name, take) => {
    const { copied } = costs(() => expect(take(notice, 16)).toBe(1));
    expect(copied).toBeGreaterThanOrEqual(BODY);
    expect(copied).toBeLessThan(4 * BODY);
  });

  it.each([
    ['scanner', scan],
    ['reader', read],
  ])('takes room for what came, not for what it claims, in the %s', (_name, take) => {
    const { room } = costs(() => expect(take(notice.subarray(0, 1000), 100)).toBe(0));
    expect(room).toBeLessThan(5000);
  });
});
