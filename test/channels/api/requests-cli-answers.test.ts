import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type HttpServer, listenHttp } from '../../../src/channels/api/server.ts';
import { PLAIN } from '../../../src/cli/paint.ts';
import { requestsCommand } from '../../../src/cli/requests.ts';
import type { RequestsIo } from '../../../src/cli/requests-io.ts';
import { type ApprovalWorld, approvalWorld, question, until } from '../../approval/support.ts';
import { type HttpWorld, httpWorld } from './support.ts';

let world: ApprovalWorld;
let http: HttpWorld;
let server: HttpServer;
let n = 0;

beforeAll(async () => {
  world = await approvalWorld('apclans');
  http = await httpWorld(world, undefined, { limits: { approvalsNoticedPerMinute: 4 } });
  server = await listenHttp(http.app, { host: '127.0.0.1', port: 0 });
});
afterAll(async () => {
  await server?.close();
  await world?.close();
});

type Ran = { out: string[]; err: string[]; code: number | null };

async function run(args: string[], options: Partial<RequestsIo> & { token?: string } = {}): Promise<Ran> {
  const ran: Ran = { out: [], err: [], code: null };
  const program = new Command().exitOverride().configureOutput({ writeErr: () => {} });
  requestsCommand(program, {
    env: {
      COUNTERSIGN_URL: `http://127.0.0.1:${server.port}/`,
      COUNTERSIGN_TOKEN: options.token ?? 'reviewer-token',
    },
    out: (line) => ran.out.push(line),
    err: (line) => ran.err.push(line),
    columns: null,
    rows: null,
    paint: PLAIN,
    page: null,
    ask: null,
    exit: (code) => {
      ran.code = code;
    },
    stopped: null,
    ...options,
  });
  await program.parseAsync(['requests', ...args], { from: 'user' });
  return ran;
}

/** Several connections that wait for the very same. */
async function openAlike(count: number): Promise<string[]> {
  n += 1;
  const ids: string[] = [];
  for (let at = 0; at < count; at++)
    ids.push((await http.approvals.open(question({ text: `DROP TABLE alike_${n}` }))).id);
  return ids;
}

describe('--all-like', () => {
  it('approves each that waits for the very same, with a receipt of its own', async () => {
    const ids = await openAlike(3);
    const ran = await run(['approve', '--all-like', ids[1] ?? '']);
    expect(ran).toMatchObject({ code: 0, out: ids.map((id) => `${id} approved`) });
    const receipts = await Promise.all(ids.map(async (id) => (await http.approvals.get(id))?.receipt));
    expect(new Set(receipts).size).toBe(3);
    expect(receipts).not.toContain(null);
  });

  it('without it only one is approved', async () => {
    const ids = await openAlike(2);
    expect(await run(['approve', ids[0] ?? ''])).toMatchObject({ code: 0, out: [`${ids[0]} approved`] });
    expect((await http.approvals.get(ids[1] ?? ''))?.state).toBe('open');
  });

  it('says on a terminal how many they are, and answers those that were shown and no others', async () => {
    const ids = await openAlike(2);
    let question = '';
    const ask = async (text: string) => {
      question = text;
      await http.approvals.open(questionOf(n));
      return 'yes';
    };
    const { out } = await run(['deny', ids[0] ?? '', '--all-like', '--reason', 'no'], { columns: 100, ask });
    expect(question).toContain('Deny these 2, which ask for the very same?');
    expect(out.slice(-2)).toEqual(ids.map((id) => `${id} denied`));
    expect((await http.approvals.list({ state: 'open', limit: 1 }))[0]?.sql).toBe(`DROP TABLE alike_${n}`);
  });

  it('refuses whoever may not, all at once', async () => {
    const ids = await openAlike(2);
    expect(await run(['approve', '--all-like', ids[0] ?? ''], { token: 'owner-token' })).toMatchObject({
      code: 1,
      err: [expect.stringContaining('(self_approval)')],
    });
    for (const id of ids) expect((await http.approvals.get(id))?.state).toBe('open');
  });
});

const questionOf = (number: number) => question({ text: `DROP TABLE alike_${number}` });

it('tells whoever approves very fast, beside what came of it', async () => {
  const ids = await openAlike(5);
  const ran = await run(['approve', '--all-like', ids[0] ?? ''], { token: 'deputy-token' });
  expect(ran.out).toHaveLength(5);
  expect(ran.err).toEqual([expect.stringMatching(/^countersign: please note: You have approved 5 requests/)]);
});

it('puts off for a time, for oneself alone, and takes that back', async () => {
  const [id = ''] = await openAlike(1);
  expect(await run(['snooze', id, '--for', '30m'])).toMatchObject({
    code: 0,
    out: [`${id} put off for 30 min`],
  });
  const listed = async (token: string) =>
    (
      JSON.parse((await run(['list', '--json'], { token })).out[0] ?? '') as {
        requests: { id: string; snoozedUntil: string | null }[];
      }
    ).requests;
  const mine = await listed('reviewer-token');
  expect(mine.at(-1)).toMatchObject({ id, snoozedUntil: expect.any(String) });
  expect((await listed('deputy-token')).find((one) => one.id === id)?.snoozedUntil).toBeNull();
  expect((await run(['snooze', id, '--for', '0'])).out).toEqual([`${id} no longer put off`]);
  expect((await listed('reviewer-token')).find((one) => one.id === id)?.snoozedUntil).toBeNull();
  for (const wrong of ['soon', '25h', '-1m'])
    await expect(run(['snooze', id, `--for=${wrong}`])).rejects.toThrow();
});

it('takes an approval back that was not used, and says when there is none', async () => {
  const [id = ''] = await openAlike(1);
  expect(await run(['withdraw', id])).toMatchObject({
    code: 1,
    err: [expect.stringContaining('(not_approved)')],
  });
  await run(['approve', id]);
  expect(await run(['withdraw', id, '--reason', 'too soon'])).toMatchObject({
    code: 0,
    out: [`${id} withdrawn`],
  });
  expect((await http.approvals.get(id))?.endReason).toBe('too soon');
});

it('watch says who is on call, and tells of it again when a request escalates', async () => {
  const hours = '00:00-24:00';
  const demand = {
    approvers: ['reviewer', 'deputy'],
    quorum: 1,
    assurance: 1,
    onCall: [{ hours, approvers: ['reviewer'] }],
    escalation: { afterMs: 1_500, approvers: ['owner'] },
  } as const;
  const { id } = await http.approvals.open(question({ text: 'DROP TABLE watched', demand }));
  const stop = new AbortController();
  const lines: string[] = [];
  const watching = run(['watch'], { stopped: stop.signal, out: (line) => lines.push(line) });
  const fields = () => lines.filter((line) => line.startsWith(id)).map((line) => line.split('\t').at(-1));
  await until(() => fields().length > 0);
  expect(fields()[0]).toMatch(/on call: only reviewer/);
  await http.approvals.open(question({ text: 'DROP TABLE other' }));
  await new Promise((done) => setTimeout(done, 1_600));
  await http.approvals.open(question({ text: 'DROP TABLE another' }));
  await until(() => fields().some((field) => field?.includes('escalated to owner') === true));
  stop.abort();
  await watching;
}, 30_000);
