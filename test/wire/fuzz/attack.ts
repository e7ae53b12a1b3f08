/** Connections that send mutated frames: most of them after log-in, some before. */
import { connect } from 'node:net';
import pg from 'pg';
import { serialize } from 'pg-protocol';
import { FrameReader } from '../../../src/protocol/frame-reader.ts';
import { openUpstream, UpstreamRefused } from '../../../src/proxy/upstream.ts';
import { printFrontend } from '../frontend-text.ts';
import { below, mutated, outOfStep, pick, type Random, randomOf } from './mutate.ts';

export type Counts = {
  /** Frames that were sent while the connection stood. */
  afterLogin: number;
  beforeLogin: number;
  connections: number;
  /** How often the server itself fell: Postgres 18 reads freed memory after some failed Queries. */
  outages: number;
  /** What came back that never may. */
  readonly faults: string[];
};

export type Attack = {
  readonly url: string;
  readonly seed: number;
  /** Frames to be sent in all. */
  readonly frames: number;
  /** Valid conversations. */
  readonly conversations: readonly (readonly Buffer[])[];
};

/** Connections at once. */
const WORKERS = 8;
const FRAMES_PER_CONNECTION = 120;
/** Of all connections, those that do not log in; they are short. */
const BEFORE_LOGIN = 0.85;
const BATCH = 12;
/** COPY that a conversation has left open would end the session with whatever comes next. */
const END_COPY = [serialize.copyFail('over'), serialize.sync()];
const LAST_WORD_MS = 300;

export async function attack(options: Attack): Promise<Counts> {
  const counts: Counts = { afterLogin: 0, beforeLogin: 0, connections: 0, outages: 0, faults: [] };
  let away: Promise<void> | null = null;
  const recovered = () => {
    if (away !== null) return away;
    counts.outages += 1;
    const wait = serverIsBack(options).finally(() => {
      away = null;
    });
    away = wait;
    return wait;
  };
  const work = async () => {
    while (counts.afterLogin + counts.beforeLogin < options.frames && counts.faults.length < 5) {
      // Each connection has a seed of its own, so that one can be looked at without those before it.
      const seed = (options.seed + counts.connections++ * 7919) >>> 0;
      const random = randomOf(seed);
      if (random() < BEFORE_LOGIN) {
        const sent = await strange(options.url, random);
        counts.beforeLogin += sent;
      } else {
        try {
          const sent = await conversation(options, random, (what) => counts.faults.push(what), seed);
          counts.afterLogin += sent;
        } catch (error) {
          if (!isOutage(error)) throw error;
          await recovered();
        }
      }
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, work));
  return counts;
}

/** The server is starting again (57P03), or ended the connection while it was falling (57P02, or without a word). */
function isOutage(error: unknown): boolean {
  const code = error instanceof UpstreamRefused ? error.fields['C'] : undefined;
  return code !== undefined && ['57P03', '57P02', '08006', '08001'].includes(code);
}

async function serverIsBack({ url }: Attack): Promise<void> {
  for (let i = 0; i < 300; i++) {
    const client = new pg.Client({ connectionString: url });
    client.on('error', () => {});
    try {
      await client.connect();
      await client.end();
      return;
    } catch {
      await new Promise((done) => setTimeout(done, 200));
    }
  }
  throw new Error('the server did not come back within a minute');
}

/** A session: logs in properly, then sends mutations; how many frames it got rid of. */
async function conversation(
  { url, conversations }: Attack,
  random: Random,
  fault: (what: string) => void,
  seed: number,
): Promise<number> {
  const { hostname, port, username, password, pathname } = new URL(url);
  const address = { host: hostname, port: Number(port), database: null, user: null, password: null };
  // The server's list of sessions names the seed of one that does not end.
  const parameters = new Map([['application_name', `fuzz ${seed}`]]);
  const login = { user: username, password, database: pathname.slice(1), parameters };
  const { wire } = await openUpstream({ ...address, tls: { mode: 'disable' } }, login, 30_000);
  let closed = false;
  let wake = () => {};
  const frames: Buffer[] = [];
  const report = (what: string) =>
    fault(`${what} (seed ${seed}) after\n${frames.map((frame) => `F ${printFrontend(frame)}`).join('\n')}`);
  const reader = new FrameReader(1 << 28, (type) => (BACKEND_TYPES.has(type) ? 0x7fff_ffff : null));
  wire.listen({
    chunk: (chunk) => {
      if (chunk.includes('countersign: internal error')) report('internal error');
      try {
        reader.push(chunk, () => true);
      } catch (error) {
        report(`the proxy is out of step: ${(error as Error).message}`);
        wire.destroy();
      }
    },
    closed: () => {
      closed = true;
      wake();
    },
    drained: () => {},
  });
  while (!closed && frames.length < FRAMES_PER_CONNECTION) {
    const some = [...mutated(random, pick(random, conversations), 0.5), ...END_COPY];
    for (let at = 0; at < some.length && !closed; at += BATCH) {
      const batch = some.slice(at, at + BATCH);
      frames.push(...batch);
      wire.write(cutAnywhere(random, Buffer.concat(batch), (part) => wire.write(part)));
      await new Promise((next) => setImmediate(next));
    }
  }
  if (!closed && random() < 0.5) {
    const last = outOfStep(random, pick(random, pick(random, conversations)));
    frames.push(last);
    wire.write(last);
  }
  // Some leave without a word, in the middle of it all.
  if (random() < 0.75) {
    wire.write(serialize.end());
    if (!closed)
      await new Promise<void>((done) => {
        const timer = setTimeout(done, LAST_WORD_MS);
        wake = () => {
          clearTimeout(timer);
          done();
        };
      });
  }
  wire.destroy();
  return frames.length;
}

const BACKEND_TYPES: ReadonlySet<number> = new Set(Buffer.from('123ACDEGHIKNRSTVZcdnst'));

/** Sends a beginning by itself, now and then, and gives the rest. */
function cutAnywhere(random: Random, bytes: Buffer, send: (part: Buffer) => void): Buffer {
  if (random() < 0.7) return bytes;
  const at = below(random, bytes.length + 1);
  send(bytes.subarray(0, at));
  return bytes.subarray(at);
}

const STARTUP = serialize.startup({ user: 'agent', database: 'shop' });
const FIRST = [
  STARTUP,
  serialize.requestSsl(),
  Buffer.from('0000000804d21630', 'hex'), // GSSENCRequest
  serialize.cancel(1, 2),
] as const;
const LATER = [
  serialize.sendSASLInitialResponseMessage('SCRAM-SHA-256', 'n,,n=*,r=abcdefghijklmnop'),
  serialize.sendSCRAMClientFinalMessage(`c=biws,r=abcdefghijklmnop,p=${'A'.repeat(43)}=`),
  serialize.password('secret'),
  serialize.query('SELECT 1'),
] as const;

/** Somebody who never logs in. */
function strange(url: string, random: Random): Promise<number> {
  const first = [pick(random, FIRST), ...(random() < 0.5 ? [STARTUP] : [])];
  const frames = [
    ...mutated(random, first, 0.3, 4),
    ...mutated(random, [pick(random, LATER), pick(random, LATER)], 0.5),
  ];
  if (random() < 0.3 && frames[0] !== undefined) frames[0] = outOfStep(random, frames[0], 4);
  const { hostname, port } = new URL(url);
  return new Promise((done) => {
    const socket = connect({ host: hostname, port: Number(port) });
    const timer = setTimeout(() => socket.destroy(), LAST_WORD_MS);
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      done(frames.length);
    });
    socket.on('data', () => {});
    if (random() < 0.9) socket.end(Buffer.concat(frames));
    else for (const frame of frames) socket.write(frame);
  });
}
