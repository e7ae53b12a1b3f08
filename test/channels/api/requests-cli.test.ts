import { Command } from 'commander';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type HttpServer, listenHttp } from '../../../src/channels/api/server.ts';
import { requestsCommand } from '../../../src/cli/requests.ts';
import { type ApprovalWorld, approvalWorld, question, until } from '../../approval/support.ts';
import { type HttpWorld, httpWorld } from './support.ts';

let world: ApprovalWorld;
let http: HttpWorld;
let server: HttpServer;
let id: string;
let n = 0;

beforeAll(async () => {
  world = await approvalWorld('apcli');
  http = await httpWorld(world);
  server = await listenHttp(http.app, { host: '127.0.0.1', port: 0 });
});
afterAll(async () => {
  await server?.close();
  await world?.close();
});
beforeEach(async () => {
  n += 1;
  id = (await http.approvals.open(question({ text: `DROP TABLE\n  cli_${n}` }))).id;
});

type Ran = { out: string[]; err: string[]; code: number | null };

async function run(
  args: string[],
  options: { token?: string; columns?: number; url?: string; stopped?: AbortSignal } = {},
): Promise<Ran> {
  const ran: Ran = { out: [], err: [], code: null };
  const program = new Command();
  requestsCommand(program, {
    env: {
      COUNTERSIGN_URL: options.url ?? `http://127.0.0.1:${server.port}/`,
      COUNTERSIGN_TOKEN: options.token ?? 'reviewer-token',
    },
    out: (line) => ran.out.push(line),
    err: (line) => ran.err.push(line),
    columns: options.columns ?? null,
    exit: (code) => {
      ran.code = code;
    },
    stopped: options.stopped ?? null,
  });
  await program.parseAsync(['requests', ...args], { from: 'user' });
  return ran;
}

it('lists: tab-separated in a pipe, a table that fits in a terminal, JSON on demand', async () => {
  const pipe = await run(['list']);
  const line = pipe.out.find((text) => text.startsWith(id));
  expect(line?.split('\t')).toEqual([id, 'open', 'shop-agent', 'ddl', '60 min', `DROP TABLE cli_${n}`]);
  const table = await run(['list'], { columns: 72 });
  expect(table.out[0]).toMatch(/^ID +STATE +AGENT/);
  expect(Math.max(...table.out.map((text) => text.length))).toBeLessThanOrEqual(72);
  const json = await run(['list', '--json', '--state', 'open']);
  expect(JSON.parse(json.out[0] ?? '')).toMatchObject({
    requests: expect.arrayContaining([expect.objectContaining({ id })]),
  });
});

it('shows the whole statement, and nothing that a terminal would obey', async () => {
  const evil = question({ text: 'DROP TABLE x -- \u001b[2J\u202e', reasons: ['because \u001b]0;x\u0007'] });
  const { id: evilId } = await http.approvals.open(evil);
  const shown = (await run(['show', evilId])).out.join('\n');
  expect(shown).toContain('DROP TABLE x -- ‹U+001B›[2J‹U+202E›');
  expect(shown).not.toMatch(/[\u001b\u202e\u0007]/);
});

it('approves with 0; refused is 1; a wrong token, address or no address is 2', async () => {
  expect(await run(['approve', id, '--reason', 'fine'], { token: 'owner-token' })).toMatchObject({
    code: 1,
    err: [expect.stringContaining('self_approval')],
  });
  expect(await run(['approve', id, '--reason', 'fine'])).toMatchObject({ code: 0, out: [`${id} approved`] });
  expect((await http.approvals.get(id))?.verdicts[0]?.reason).toBe('fine');
  expect(await run(['deny', id], { token: 'deputy-token' })).toMatchObject({
    code: 1,
    err: [expect.stringContaining('already_ended')],
  });
  expect(await run(['list'], { token: 'wrong' })).toMatchObject({ code: 2 });
  expect(await run(['list'], { url: 'http://127.0.0.1:1' })).toMatchObject({
    code: 2,
    err: [expect.stringContaining('connection')],
  });
});

it('watches: what is there, what changes, what ends', async () => {
  const stop = new AbortController();
  const lines: string[] = [];
  const program = new Command();
  requestsCommand(program, {
    env: { COUNTERSIGN_URL: `http://127.0.0.1:${server.port}`, COUNTERSIGN_TOKEN: 'reviewer-token' },
    out: (line) => lines.push(line),
    err: (line) => lines.push(line),
    columns: null,
    exit: () => {},
    stopped: stop.signal,
  });
  const watching = program.parseAsync(['requests', 'watch'], { from: 'user' });
  await until(() => lines.some((line) => line.startsWith(`${id}\topen`)));
  await run(['deny', id, '--reason', 'no']);
  await until(() => lines.some((line) => line.startsWith(`${id}\tdenied`)));
  stop.abort();
  await watching;
});
