import pg from 'pg';
import { serialize } from 'pg-protocol';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { decodeErrorFields } from '../../src/protocol/backend.ts';
import { RawClient } from '../support/raw-client.ts';
import { type Stack, startStack } from '../support/stack.ts';

const SHOW = 'SHOW countersign.requests';
/** A SELECT of the server's own, in the same place: what comes back must have the same form. */
const LIKE = "SELECT * FROM pg_catalog.json_to_recordset('[]') AS r (id text, created timestamptz)";

vi.setConfig({ testTimeout: 180_000 });

let stack: Stack;
/** Of an agent that asks nobody anything. */
let idle = '';
const clients: RawClient[] = [];
beforeAll(async () => {
  stack = await startStack({
    config: (config) => {
      const [agent] = config.agents;
      return agent === undefined ? config : { ...config, agents: [agent, { ...agent, name: 'other' }] };
    },
  });
  idle = stack.agentUrl.replace('agent:', 'other:');
});
afterAll(() => stack.close());
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const { id } of await stack.api.open()) await stack.api.verdict(id, 'deny', 'left over');
});

async function raw(url = stack.agentUrl): Promise<RawClient> {
  const client = await RawClient.connect(url);
  clients.push(client);
  return client;
}

async function rows(url = stack.agentUrl, text = SHOW, values?: unknown[]): Promise<pg.QueryResultRow[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query({ text, ...(values === undefined ? {} : { values }) })).rows;
  } finally {
    await client.end();
  }
}

/** A statement that waits; its request's id. */
async function waiting(sql: string, url = stack.agentUrl): Promise<{ id: string; client: pg.Client }> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  client.query(sql).catch(() => {});
  return { id: (await stack.api.waitFor(sql.slice(0, 20))).id, client };
}

const types = (frames: readonly Buffer[]) => frames.map((one) => String.fromCharCode(one[0] ?? 0)).join('');
const codes = (frames: readonly Buffer[]) =>
  frames.flatMap((one) => (one[0] === 0x45 ? [decodeErrorFields(one)['C']] : []));

describe('SHOW countersign.requests', () => {
  it('shows the agent its own open requests, and what to do next; nobody else’s', async () => {
    expect(await rows()).toEqual([]);
    const hostile = `DROP TABLE payments /* ' " \\' $$ ; -- \u202e\u0001 é😀 */`;
    const { id, client } = await waiting(hostile);
    const [shown, ...more] = await rows();
    expect(more).toEqual([]);
    expect(shown).toMatchObject({
      id,
      state: 'open',
      statement: `DROP TABLE payments /* ' " \\' $$ ; -- ‹U+202E›‹U+0001› é😀 */`,
      why: 'ddl: drops a table (rule default:ddl)',
      url: `http://127.0.0.1/requests/${id}`,
      next: expect.stringContaining('A connection of yours waits'),
      created: expect.any(Date),
      expires: expect.any(Date),
    });
    expect(await rows(idle)).toEqual([]);
    // Client gone: the request stays, and can be waited for again.
    await client.end();
    await expect
      .poll(async () => (await rows())[0]?.['next'], { timeout: 20_000 })
      .toMatch(/^Nobody has answered yet/);
    await stack.api.verdict(id, 'approve');
    expect((await rows())[0]).toMatchObject({
      state: 'approved',
      next: expect.stringContaining('runs at once'),
    });
  });

  it('shows a statement of a megabyte cut, with parameters where it has some', async () => {
    const { client } = await waiting(`DROP TABLE payments /* ${'x'.repeat(1_000_000)} */`);
    const other = new pg.Client({ connectionString: stack.agentUrl });
    await other.connect();
    other.query('SELECT set_config($1, $2, false)', ['role', "it's"]).catch(() => {});
    await stack.api.waitFor('set_config($1');
    const shown = (await rows(stack.agentUrl, SHOW, [])).filter(({ state }) => state === 'open');
    expect(shown.map(({ parameters }) => parameters)).toEqual([null, "$1 = 'role', $2 = 'it's'"]);
    expect(shown[0]?.['statement']).toMatch(
      /^DROP TABLE payments \/\* x+‹cut here, 1000026 characters in all›$/,
    );
    expect(shown[0]?.['statement'].length).toBeLessThan(600);
    await client.end();
    await other.end();
  });

  it.each([
    ['Query', [serialize.query(SHOW)], [serialize.query(LIKE)]],
    [
      'among others',
      [serialize.query(`SELECT 1; ${SHOW}; SELECT 2`)],
      [serialize.query(`SELECT 1; ${LIKE}; SELECT 2`)],
    ],
    [
      'with an error before',
      [serialize.query(`SELECT 1/0; ${SHOW}`)],
      [serialize.query(`SELECT 1/0; ${LIKE}`)],
    ],
    [
      'with an error behind',
      [serialize.query(`${SHOW}; SELECT 1/0`)],
      [serialize.query(`${LIKE}; SELECT 1/0`)],
    ],
    ['in a failed transaction', failed(SHOW), failed(LIKE)],
    ['extended', extended(SHOW), extended(LIKE)],
    ['extended, described as a statement', described(SHOW), described(LIKE)],
    ['extended, in a failed transaction', failedExtended(SHOW), failedExtended(LIKE)],
    ['bound twice, and its statement closed', twice(SHOW), twice(LIKE)],
    ['bound with a parameter that it does not have', tooMany(SHOW), tooMany(LIKE)],
    ['skipped after an error', skipped(SHOW), skipped(LIKE)],
    ['in a pipeline', pipeline(SHOW), pipeline(LIKE)],
  ])('%s: replies as the server gives them', async (_name, ask, like) => {
    const [proxied, direct] = [await raw(idle), await raw(stack.directUrl)];
    const count = types([...like]).replace(/[^QS]/g, '').length;
    direct.send(...like);
    const expected = await direct.ready(count);
    proxied.send(...ask);
    const got = await proxied.ready(count);
    expect(types(got)).toBe(types(expected));
    expect(codes(got)).toEqual(codes(expected));
    // In step.
    proxied.send(serialize.query('SELECT 1'));
    expect(types(await proxied.ready())).toBe('TDCZ');
  });

  it('is a statement of the log, and counts against no budget', async () => {
    await rows(stack.agentUrl, '/* mine */ show "Countersign".requests');
    await expect
      .poll(
        () =>
          stack.audited(
            `SELECT class, decision, rule, outcome FROM audit.statements WHERE sql LIKE '/* mine */%'`,
          ),
        { timeout: 20_000 },
      )
      .toEqual([{ class: 'session', decision: 'allow', rule: 'default:session', outcome: 'executed' }]);
  });

  it('says so when its database is away', async () => {
    const second = await stack.second();
    const client = new pg.Client({ connectionString: second.agentUrl.replace('agent:', 'other:') });
    await client.connect();
    await stack.audit.query('ALTER TABLE countersign.request RENAME TO hidden');
    try {
      await expect(client.query(SHOW)).rejects.toMatchObject({
        code: '57P03',
        hint: expect.stringContaining('Ask again'),
      });
    } finally {
      await stack.audit.query('ALTER TABLE countersign.hidden RENAME TO request');
    }
    expect((await client.query(SHOW)).rows).toEqual([]);
    await client.end();
  });
});

it('answers in mode observe, too', async () => {
  const observing = await startStack({ config: (config) => ({ ...config, mode: 'observe' }) });
  try {
    expect(await rows(observing.agentUrl)).toEqual([]);
    expect(await rows(observing.agentUrl, SHOW, [])).toEqual([]);
  } finally {
    await observing.close();
  }
});

const P = (text: string, name = '') => serialize.parse({ name, text, types: [] });
const Bi = (statement = '', values: string[] = []) => serialize.bind({ statement, portal: '', values });
const E = () => serialize.execute({ portal: '', rows: 0 });
const D = (type: 'S' | 'P', name = '') => serialize.describe({ type, name });
const S = () => serialize.sync();
const Q = (text: string) => serialize.query(text);

function failed(text: string): Buffer[] {
  return [Q('BEGIN'), Q('SELECT 1/0'), Q(text), Q('ROLLBACK')];
}
function extended(text: string): Buffer[] {
  return [P(text), Bi(), D('P'), E(), S()];
}
function described(text: string): Buffer[] {
  return [P(text, 'n'), D('S', 'n'), S(), Bi('n'), E(), S()];
}
function failedExtended(text: string): Buffer[] {
  return [P(text, 'n'), S(), Q('BEGIN'), Q('SELECT 1/0'), Bi('n'), E(), S(), P(text), S(), Q('ROLLBACK')];
}
function twice(text: string): Buffer[] {
  return [
    P(text, 'n'),
    Bi('n'),
    E(),
    Bi('n'),
    E(),
    serialize.close({ type: 'S', name: 'n' }),
    S(),
    Bi('n'),
    S(),
  ];
}
function tooMany(text: string): Buffer[] {
  return [P(text), Bi('', ['1']), E(), S()];
}
function skipped(text: string): Buffer[] {
  return [P('SELECT 1/0'), Bi(), E(), P(text), Bi(), E(), S()];
}
function pipeline(text: string): Buffer[] {
  return [
    P('SELECT 1'),
    Bi(),
    E(),
    P(text),
    Bi(),
    E(),
    P('SELECT 2'),
    Bi(),
    E(),
    S(),
    Q(text),
    Q('SELECT 3'),
  ];
}
