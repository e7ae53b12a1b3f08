/** Plays one program against Postgres and through the proxy, and compares replies, status and tables. */
import pg from 'pg';
import { makePolicy } from '../../../src/config/policy.ts';
import { decodeErrorFields, type ErrorFields } from '../../../src/protocol/backend.ts';
import { superuser } from '../../support/postgres.ts';
import { RawClient } from '../../support/raw-client.ts';
import { type Stack, type StackOptions, startStack } from '../../support/stack.ts';
import { Q, S } from './messages.ts';
import type { Step } from './positions.ts';

/** How the waiting ends; `policy`: it does not wait at all. */
export type Ending = 'approved' | 'denied' | 'timeout' | 'cancelled' | 'policy';

/** Tables of its own for each program that runs at the same time. */
const LANES = 5;

export type Bench = {
  readonly stack: Stack;
  readonly ending: Ending;
  readonly lanes: number[];
  readonly waiting: ((lane: number) => void)[];
  readonly admin: pg.Pool;
  programs: number;
};

export async function startBench(ending: Ending, options: StackOptions = {}): Promise<Bench> {
  const rules = [
    { name: 'held', match: { relation: ['public.held_*'] }, decision: 'hold' as const },
    { name: 'denied', match: { relation: ['public.denied_*'] }, decision: 'deny' as const },
    { name: 'open', match: { relation: ['public.box_*', 'public.tiny'] }, decision: 'allow' as const },
  ];
  const tables = Array.from(
    { length: LANES },
    (_, i) =>
      `CREATE TABLE held_${i} (id int); CREATE TABLE denied_${i} (id int); CREATE TABLE box_${i} (id int);`,
  );
  const stack = await startStack({
    sample: `${tables.join('\n')} CREATE TABLE tiny (id int); INSERT INTO tiny SELECT generate_series(1, 6); ANALYZE tiny`,
    config: (config) => ({ ...config, policy: makePolicy(rules) }),
    ...options,
    limits: { openRequestsPerAgent: 100_000, ...options.limits },
  });
  const admin = new pg.Pool({ ...superuser(stack.shop.name), max: LANES });
  admin.on('error', () => {});
  return {
    stack,
    ending,
    lanes: Array.from({ length: LANES }, (_, i) => i),
    waiting: [],
    admin,
    programs: 0,
  };
}

export async function closeBench(bench: Bench): Promise<void> {
  await bench.admin.end();
  await bench.stack.close();
}

/** What came of a program. */
export type Played = {
  /** Frames, one a line, without our NOTICEs; errors without the server's source places. */
  readonly replies: readonly Reply[];
  readonly tables: unknown;
  readonly notices: number;
};
export type Reply = string | { readonly error: ErrorFields };

export async function withLane<T>(
  bench: Bench,
  work: (table: string, box: string) => Promise<T>,
): Promise<T> {
  const lane = bench.lanes.pop() ?? (await new Promise<number>((done) => bench.waiting.push(done)));
  try {
    const table = `${bench.ending === 'policy' ? 'denied' : 'held'}_${lane}`;
    return await work(`${table} /* ${++bench.programs} */`, `box_${lane}`);
  } finally {
    const next = bench.waiting.shift();
    if (next === undefined) bench.lanes.push(lane);
    else next(lane);
  }
}

const END = 'end of program';

/** Every program ends by asking: is the connection in step, did the transaction write, which state is it in? */
const CLOSING: readonly Step[] = [
  { send: [S], wait: 'nothing' },
  { send: [Q('SELECT pg_current_xact_id_if_assigned() IS NOT NULL AS wrote')], wait: 'nothing' },
  { send: [Q('ROLLBACK'), Q(`SELECT '${END}' AS mark`)], wait: 'nothing' },
];

export async function play(
  bench: Bench,
  side: 'direct' | 'proxied',
  steps: readonly Step[],
  table: string,
  box: string,
): Promise<Played> {
  await bench.admin.query(`DELETE FROM ${table}; DELETE FROM ${box}; INSERT INTO ${table} VALUES (1)`);
  const { stack } = bench;
  const client = await RawClient.connect(side === 'direct' ? stack.directUrl : stack.agentUrl);
  const all: Buffer[] = [];
  let notices = 0;
  const answer = (frame: Buffer) => {
    const id = heldRequest(frame);
    if (id === null) return;
    notices += 1;
    if (bench.ending === 'approved') void stack.api.verdict(id, 'approve');
    if (bench.ending === 'denied') void stack.api.verdict(id, 'deny');
    if (bench.ending === 'cancelled') void client.cancel();
  };
  const collect = async (enough: (frames: readonly Buffer[]) => boolean) => {
    let looked = 0;
    const frames = await client.until((seen) => {
      for (; looked < seen.length; looked++) answer(seen[looked] ?? Buffer.alloc(0));
      return enough(seen);
    }, 60_000);
    all.push(...frames);
  };
  try {
    for (const { send, wait } of [...steps, ...CLOSING]) {
      client.send(...send);
      if (wait === 'nothing') continue;
      if (wait === 'answer')
        await collect(
          (frames) => frames.some((frame) => 'EsI'.includes(typeOf(frame))) || completed(frames) >= 2,
        );
      else await collect((frames) => frames.filter((frame) => typeOf(frame) === 'Z').length >= wait);
    }
    await collect(
      (frames) =>
        typeOf(frames.at(-1)) === 'Z' && frames.some((frame) => typeOf(frame) === 'D' && frame.includes(END)),
    );
  } finally {
    client.close();
  }
  const { rows } = await bench.admin.query(
    `SELECT (SELECT array_agg(id ORDER BY id) FROM ${table}) AS table, (SELECT array_agg(id ORDER BY id) FROM ${box}) AS box`,
  );
  const replies = all.filter((frame) => heldRequest(frame) === null).map(shown);
  return { replies: client.closed ? [...replies, 'closed'] : replies, tables: rows[0], notices };
}

const typeOf = (frame: Buffer | undefined) => String.fromCharCode(frame?.[0] ?? 0);
const completed = (frames: readonly Buffer[]) => frames.filter((frame) => typeOf(frame) === 'C').length;

function heldRequest(frame: Buffer): string | null {
  if (typeOf(frame) !== 'N') return null;
  return /^countersign: held, request (\S+)/.exec(decodeErrorFields(frame)['M'] ?? '')?.[1] ?? null;
}

function shown(frame: Buffer): Reply {
  const type = typeOf(frame);
  if (type !== 'E') return `${type} ${frame.subarray(5).toString('latin1')}`;
  const { F: _file, L: _line, R: _routine, ...error } = decodeErrorFields(frame);
  return { error };
}

/** SQLSTATEs of the statements that stand for the refused one: no other part of a program fails with these. */
const STANDS_FOR_REFUSAL = new Set(['22012', '42703', '42601']);

/** Replies with each refusal, ours or the one that stands for it, in the same words. */
export function withRefusals(replies: readonly Reply[], ending: Ending): readonly unknown[] {
  const code = ending === 'denied' || ending === 'policy' ? '42501' : '57014';
  return replies.map((reply) => {
    if (typeof reply === 'string') return reply;
    const { C, M, S: severity, V, D, H } = reply.error;
    if (STANDS_FOR_REFUSAL.has(C ?? '')) return 'refused';
    const ours = M?.startsWith('countersign: ') && C === code && severity === 'ERROR' && V === 'ERROR';
    return ours && D?.startsWith('Rule ') && H !== undefined ? 'refused' : reply.error;
  });
}
