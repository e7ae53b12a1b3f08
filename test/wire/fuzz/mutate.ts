/** Frames that are almost right: bits flipped, bytes cut out and put in, frames twice and in the wrong order, lengths that lie. */

/** A generator of numbers from 0 up to, not including, 1: the same seed gives the same numbers (mulberry32). */
export type Random = () => number;

export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export function below(random: Random, limit: number): number {
  return Math.floor(random() * limit);
}

export function pick<T>(random: Random, list: readonly T[]): T {
  const one = list[below(random, list.length)];
  if (one === undefined) throw new Error('nothing to pick from');
  return one;
}

/** Values at which counts and lengths change their meaning. */
const EDGES = [0, 1, 0x7f, 0x80, 0xff] as const;
const LENGTHS = [0, 1, 3, 4, 5, 100, 10_000, 10_001, 0x3fff_ffff, 0x7fff_ffff, -1, -2_147_483_648] as const;
const TYPES = Buffer.from('QPBDECSHdcfF');

/**
 * The frames with about `share` of them changed so that each can still be told from the next; `header` is the number of
 * bytes before the body, whose last four are its length.
 */
export function mutated(random: Random, frames: readonly Buffer[], share: number, header = 5): Buffer[] {
  const out: Buffer[] = [];
  for (const frame of frames) {
    if (random() >= share) {
      out.push(frame);
      continue;
    }
    const kind = below(random, 12);
    if (kind === 0) out.push(frame, frame);
    else if (kind === 1) out.splice(below(random, out.length + 1), 0, frame);
    else if (kind === 2) continue;
    else if (kind === 3 && header === 5) out.push(retyped(random, frame));
    else out.push(withBody(frame, changedBody(random, frame.subarray(header)), header));
  }
  return out;
}

/** The peer cannot tell any more where the next frame begins: the last of a conversation. */
export function outOfStep(random: Random, frame: Buffer, header = 5): Buffer {
  const bytes = Buffer.from(frame);
  const kind = below(random, 4);
  if (kind === 0) return bytes.subarray(0, below(random, bytes.length));
  if (kind === 1) bytes.writeUInt8(below(random, 256), below(random, bytes.length));
  else if (kind === 2) bytes.writeInt32BE(pick(random, LENGTHS), header - 4);
  else bytes.writeInt32BE(bytes.readInt32BE(header - 4) + below(random, 9) - 4, header - 4);
  return bytes;
}

function changedBody(random: Random, body: Buffer): Buffer {
  const at = below(random, body.length + 1);
  switch (below(random, 5)) {
    case 0: {
      const bytes = Buffer.from(body);
      if (at < bytes.length) bytes.writeUInt8((bytes[at] ?? 0) ^ (1 << below(random, 8)), at);
      return bytes;
    }
    case 1: {
      const bytes = Buffer.from(body);
      if (at < bytes.length) bytes.writeUInt8(pick(random, EDGES), at);
      return bytes;
    }
    case 2:
      return Buffer.concat([body.subarray(0, at), body.subarray(at + 1 + below(random, 8))]);
    case 3: {
      const more = Buffer.from(Array.from({ length: 1 + below(random, 8) }, () => below(random, 256)));
      return Buffer.concat([body.subarray(0, at), more, body.subarray(at)]);
    }
    default: {
      // A length or count within the message.
      const bytes = Buffer.from(body);
      if (at + 4 <= bytes.length) bytes.writeInt32BE(pick(random, LENGTHS), at);
      return bytes;
    }
  }
}

function retyped(random: Random, frame: Buffer): Buffer {
  const bytes = Buffer.from(frame);
  bytes.writeUInt8(pick(random, [...TYPES]), 0);
  return bytes;
}

function withBody(frame: Buffer, body: Buffer, header: number): Buffer {
  const bytes = Buffer.concat([frame.subarray(0, header), body]);
  bytes.writeInt32BE(body.length + 4, header - 4);
  return bytes;
}
