/** A transcript, sent: to the server or through the proxy, in one piece or in many. */
import { serialize } from 'pg-protocol';
import { RawClient } from '../support/raw-client.ts';
import { comparable, printBackend } from './backend-text.ts';
import { CLOSED, type Segment } from './transcript.ts';

/**
 * How the bytes are cut. `message`: a write for each message; `segment`: one write up to each wait; `byte`: a write for
 * each byte; `coalesced`: one write for everything and the end of the session, waits left out.
 */
export type Delivery = 'message' | 'segment' | 'byte' | 'coalesced';
export const DELIVERIES: readonly Delivery[] = ['message', 'segment', 'byte', 'coalesced'];

export type ReplayOptions = {
  readonly delivery: Delivery;
  /** Runs the SQL of another session. */
  readonly another: (sql: string) => Promise<unknown>;
  /** The file's replies are not known yet: each wait is until nothing has come for a while. */
  readonly recording?: boolean;
};

/** Whole frames, one list a segment (one for all where they were coalesced), and whether the server ended it. */
export type Replies = { readonly segments: readonly (readonly Buffer[])[]; readonly closed: boolean };

/** A server that has nothing more to say says nothing for so long. */
const QUIET_MS = 400;
const ANSWER_MS = 15_000;
/** Bytes that are more are sent several at once. */
const MOST_PIECES = 4_000;

/**
 * Plays the segments on one connection, then ends it as clients do (Terminate) and reads until the server has closed
 * it, so that what comes too much is seen.
 */
export async function replay(
  url: string,
  segments: readonly Segment[],
  options: ReplayOptions,
): Promise<Replies> {
  const client = await RawClient.connect(url);
  try {
    if (options.delivery === 'coalesced') {
      client.send(...segments.flatMap(({ frames }) => frames), serialize.end());
      return { segments: [await client.atLeast(Number.POSITIVE_INFINITY, ANSWER_MS)], closed: client.closed };
    }
    const replies: Buffer[][] = [];
    let ends = false;
    for (const { another, frames, expected } of segments) {
      for (const sql of another) await options.another(sql);
      await deliver(client, frames, options.delivery);
      ends = expected.at(-1) === CLOSED;
      const count = ends ? Number.POSITIVE_INFINITY : expected.length;
      replies.push(await (options.recording ? client.quiet(QUIET_MS) : client.atLeast(count, ANSWER_MS)));
    }
    const { closed } = client;
    client.send(serialize.end());
    replies.at(-1)?.push(...(await client.atLeast(Number.POSITIVE_INFINITY, ANSWER_MS)));
    return { segments: replies, closed };
  } finally {
    client.close();
  }
}

/** The `B` lines of each segment. */
export function printReplies({ segments, closed }: Replies): readonly (readonly string[])[] {
  return segments.map((frames, i) => {
    const last = closed && i === segments.length - 1;
    return [...frames.map(printBackend), ...(last ? [CLOSED] : [])];
  });
}

/** Each frame as people read it and as it is compared. */
export function comparableReplies({ segments, closed }: Replies): readonly string[] {
  const frames = segments.flat().map((frame) => `${printBackend(frame)} = ${comparable(frame)}`);
  return closed ? [...frames, CLOSED] : frames;
}

/** Types, severities and SQLSTATEs alone, for what cannot be told in the same words. */
export function outlineOf(lines: readonly string[]): readonly string[] {
  return lines.map((line) => {
    const [type = '', fields = ''] = line.split(/ (.*)/);
    if (type !== 'ErrorResponse') return line;
    const { S, C } = JSON.parse(fields) as Record<string, string>;
    return `${type} ${S} ${C}`;
  });
}

async function deliver(client: RawClient, frames: readonly Buffer[], delivery: Delivery): Promise<void> {
  if (delivery === 'segment') return client.send(...frames);
  const whole = Buffer.concat(frames);
  const size = Math.max(1, Math.ceil(whole.length / MOST_PIECES));
  const pieces = Array.from({ length: Math.ceil(whole.length / size) }, (_, i) => i * size);
  const parts = delivery === 'message' ? frames : pieces.map((at) => whole.subarray(at, at + size));
  for (const part of parts) {
    client.send(part);
    await new Promise((next) => setImmediate(next));
  }
}
