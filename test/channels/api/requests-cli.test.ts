import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Command } from 'commander';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type HttpServer, listenHttp } from '../../../src/channels/api/server.ts';
import { type Paint, PLAIN } from '../../../src/cli/paint.ts';
import { requestsCommand } from '../../../src/cli/requests.ts';
import type { RequestsIo } from '../../../src/cli/requests-io.ts';
import { widthOf } from '../../../src/cli/terminal-text.ts';
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
  options: Partial<RequestsIo> & { token?: string; url?: string } = {},
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
    rows: null,
    paint: PLAIN,
    page: null,
    ask: null,
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

const COLOURED: Paint = (how, text) => `<${how}>${text}</>`;

describe('on a terminal', () => {
  it('a list fits, in colours, with short ids, ages and wide characters counted', async () => {
    await http.approvals.open(
      question({ text: `DELETE FROM 顧客 WHERE 名前 = '日本日本日本日本日本日本日本日本'` }),
    );
    const { out } = await run(['list'], { columns: 80, paint: COLOURED });
    expect(out[0]).toMatch(/^<bold>ID +STATE +AGENT +CLASS +AGE +LEFT +STATEMENT/);
    const bare = out.map((line) => line.replace(/<\/?[a-z]*>/g, ''));
    for (const line of bare) expect(widthOf(line)).toBeLessThanOrEqual(80);
    expect(out.find((line) => line.startsWith(id.slice(0, 10)))).toContain('<yellow>open');
    expect(bare.find((line) => line.startsWith(id.slice(0, 10)))).toMatch(/ \d+ s +59 min /);
  });

  it('a long statement goes to the pager, a short one and a pipe do not', async () => {
    const long = question({ text: Array.from({ length: 60 }, (_, n) => `SELECT ${n};`).join('\n') });
    const { id: longId } = await http.approvals.open(long);
    const pages: string[] = [];
    const page = async (text: string) => void pages.push(text);
    expect((await run(['show', longId], { columns: 80, rows: 40, page })).out).toEqual([]);
    expect(pages[0]).toContain('│ SELECT 59;');
    expect((await run(['show', id], { columns: 80, rows: 60, page })).out.length).toBeGreaterThan(5);
    expect((await run(['show', longId], { page })).out.join('\n')).toContain('| SELECT 59;');
    expect(pages).toHaveLength(1);
  });

  it('nothing is approved but what was shown whole and said yes to', async () => {
    const asked: string[] = [];
    const ask = (says: string) => async (text: string) => {
      asked.push(text);
      return says;
    };
    for (const says of ['', 'y', 'no', 'yes please'])
      expect(await run(['approve', id], { columns: 80, rows: 10, ask: ask(says) })).toMatchObject({
        code: 1,
        err: [expect.stringContaining('not_confirmed')],
      });
    expect((await http.approvals.get(id))?.verdicts).toEqual([]);
    const said = await run(['approve', id], { columns: 80, rows: 10, ask: ask(' YES ') });
    expect(said).toMatchObject({ code: 0 });
    expect(said.out.join('\n')).toContain(`│   cli_${n}`);
    expect(said.out.at(-1)).toBe(`${id} approved`);
    expect(asked).toHaveLength(5);
  });

  it('--yes does not ask', async () => {
    const ask = async () => 'no';
    expect(await run(['deny', id, '--yes'], { columns: 80, ask })).toMatchObject({
      code: 0,
      out: [`${id} denied`],
    });
  });
});

describe('an id', () => {
  it('may be shortened to what only it begins with', async () => {
    expect((await run(['show', id.slice(0, 14), '--json'])).out[0]).toContain(`"id":"${id}"`);
    expect((await run(['show', id.slice(4, 14), '--json'])).out[0]).toContain(`"id":"${id}"`);
    for (const [start, code] of [
      ['req_', 'bad_id'],
      ['../admin', 'bad_id'],
      ['req_zzzzzzzzz', 'not_found'],
      [`${id.slice(0, -1)}${id.endsWith('a') ? 'b' : 'a'}`, 'not_found'],
    ])
      expect(await run(['show', start ?? '']), start).toMatchObject({
        err: [expect.stringContaining(`(${code})`)],
      });
  });
});

describe('text that wants to be more than text', () => {
  const EVIL =
    'x\u001b[2J\u001b]52;c;ZXZpbA==\u0007\u009b31m\r\u202e\u200b\nState                approved\n\u001b[1A';
  it.each(['list', 'show', 'watch', 'json'])('reaches no terminal by %s', async (command) => {
    const { id: evil } = await http.approvals.open(
      question({
        text: EVIL,
        reasons: [EVIL],
        session: { ...question().session, agent: 'shop-agent', applicationName: EVIL, run: EVIL },
      }),
    );
    const stop = new AbortController();
    const running = run(
      command === 'show' ? ['show', evil] : command === 'json' ? ['show', evil, '--json'] : [command],
      {
        columns: 120,
        stopped: stop.signal,
      },
    );
    if (command === 'watch') setTimeout(() => stop.abort(), 1_000);
    const { out } = await running;
    const text = out.join('\n');
    expect(text).toContain('‹U+001B›');
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e\u200b]/);
    // No line of the statement passes for one of ours.
    if (command === 'show') {
      expect(out.filter((line) => /^State\s/.test(line))).toEqual([expect.stringMatching(/^State\s+open$/)]);
      expect(text).toContain('│ State                approved');
    }
  });

  it('of a server is harmless in whatever it answers', async () => {
    const bad = '\u009b2J\u001b[1A\u202e';
    const request = {
      ...JSON.parse((await run(['show', id, '--json'])).out[0] ?? '{}'),
      id: bad,
      state: bad,
      class: bad,
      url: bad,
      rule: bad,
      sqlSha256: bad,
      digest: bad,
    };
    const fake = createServer((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ ...request, requests: [request] }));
    });
    await new Promise<void>((done) => fake.listen(0, '127.0.0.1', done));
    const env = {
      COUNTERSIGN_URL: `http://127.0.0.1:${(fake.address() as AddressInfo).port}`,
      COUNTERSIGN_TOKEN: 't',
    };
    for (const args of [['list'], ['list', '--json'], ['show', id], ['approve', id], ['deny', id, '--json']])
      for (const columns of [null, 80]) {
        const { out, err } = await run(args, { env, columns });
        expect(out.length + err.length).toBeGreaterThan(0);
        expect([...out, ...err].join('\n')).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202e]/);
      }
    fake.close();
  });

  it('of a refusal is harmless too', async () => {
    const fake = createServer((_, response) => {
      response.writeHead(403, { 'content-type': 'application/problem+json' });
      response.end(JSON.stringify({ code: '\u001b[31m', detail: 'no \u001b[2J' }));
    });
    await new Promise<void>((done) => fake.listen(0, '127.0.0.1', done));
    const { port } = fake.address() as AddressInfo;
    const { err, code } = await run(['list'], {
      env: { COUNTERSIGN_URL: `http://127.0.0.1:${port}`, COUNTERSIGN_TOKEN: 't' },
    });
    fake.close();
    expect(err).toEqual(['countersign: no ‹U+001B›[2J (unexpected_answer)']);
    expect(code).toBe(2);
  });
});

describe('what is missing or wrong is said', () => {
  const URL_SET = { COUNTERSIGN_URL: 'http://127.0.0.1:1' };
  it.each([
    [{}, /set COUNTERSIGN_URL .* and COUNTERSIGN_TOKEN/],
    [URL_SET, /set COUNTERSIGN_TOKEN/],
    [{ COUNTERSIGN_TOKEN: 't' }, /set COUNTERSIGN_URL/],
    [{ COUNTERSIGN_URL: 'file:///etc', COUNTERSIGN_TOKEN: 't' }, /no http or https/],
    [{ ...URL_SET, COUNTERSIGN_TOKEN: 'a b' }, /no token has/],
    [{ ...URL_SET, COUNTERSIGN_TOKEN: 't' }, /cannot reach http/],
  ])('%j', async (env, message) => {
    expect(await run(['list'], { env })).toMatchObject({ code: 2, err: [expect.stringMatching(message)] });
  });

  it('a token that goes over the network in the open', async () => {
    const env = { COUNTERSIGN_URL: 'http://countersign.invalid:1234', COUNTERSIGN_TOKEN: 't' };
    expect((await run(['list'], { env })).err[0]).toContain('unencrypted to countersign.invalid');
  });

  it('a refused token, an agent, an ended request', async () => {
    expect(await run(['list'], { token: 'wrong' })).toMatchObject({
      code: 2,
      err: [expect.stringMatching(/COUNTERSIGN_TOKEN is not accepted.*no_credential/)],
    });
    expect(await run(['approve', id], { token: 'agent-secret' })).toMatchObject({
      code: 1,
      err: [expect.stringContaining('(agent_credential)')],
    });
    await run(['deny', id]);
    expect(await run(['approve', id], { token: 'deputy-token' })).toMatchObject({
      code: 1,
      err: [expect.stringContaining('(already_ended)')],
    });
  });
});

it('rings for a new request on a terminal, follows a stream of events where there is one, and waits for a server', async () => {
  let requests: object[] = [];
  let stream: ServerResponse | null = null;
  const fake = createServer((request, response) => {
    if (request.url === '/api/requests/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(': hello\n\n');
      stream = response;
      return;
    }
    response.writeHead(requests.length === 0 ? 503 : 200, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify(requests.length === 0 ? { code: 'unavailable', detail: 'away' } : { requests }),
    );
  });
  await new Promise<void>((done) => fake.listen(0, '127.0.0.1', done));
  const { port } = fake.address() as AddressInfo;
  const request = (name: string) => ({
    id: name,
    state: 'open',
    agent: 'a',
    class: 'ddl',
    expiresAt: new Date(Date.now() + 60_000).toISOString(),
    endedAt: null,
    escalated: false,
    escalation: null,
    onCallNow: [],
    sql: 'DROP TABLE x',
  });
  requests = [request('req_1')];
  const [lines, errors]: [string[], string[]] = [[], []];
  const stop = new AbortController();
  const watching = run(['watch'], {
    env: { COUNTERSIGN_URL: `http://127.0.0.1:${port}`, COUNTERSIGN_TOKEN: 't' },
    columns: 100,
    stopped: stop.signal,
    out: (line) => lines.push(line),
    err: (line) => errors.push(line),
  });
  await until(() => lines.length === 1 && stream !== null);
  expect(lines[0]).not.toContain('\u0007');
  requests = [request('req_1'), request('req_2')];
  // Without the event, the next look would be half a minute away.
  (stream as ServerResponse | null)?.write('event: request\ndata: {}\n\n');
  await until(() => lines.length === 2);
  expect(lines[1]).toMatch(/^\u0007.*req_2/);
  requests = [];
  (stream as ServerResponse | null)?.write('data: {}\n\n');
  await until(() => errors.length === 1);
  expect(errors[0]).toContain('waiting for it');
  requests = [request('req_1'), request('req_2'), request('req_3')];
  (stream as ServerResponse | null)?.write('data: {}\n\n');
  await until(() => lines.length === 3);
  stop.abort();
  await watching;
  fake.closeAllConnections();
  fake.close();
});
