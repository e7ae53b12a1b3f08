import { serialize } from 'pg-protocol';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { decodeErrorFields } from '../../src/protocol/backend.ts';
import { RawClient } from '../support/raw-client.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { connectPg, eventually, expectServed, failure, refusedLogins } from './support.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({
    limits: { sessions: 8, sessionsPerAgent: 4, frameBytes: 200_000, statementBytes: 50_000 },
    config: (config) => {
      const [agent] = config.agents;
      if (agent === undefined) throw new Error('no agent');
      const named = (name: string) => ({ ...agent, name });
      return { ...config, agents: [agent, named('second'), named('third'), named('fourth')] };
    },
  });
});
afterAll(() => stack.close());
afterEach(() => expectServed(stack.agentUrl));

const urlOf = (agent: string) => stack.agentUrl.replace('//agent:', `//${agent}:`);
const open = (agent: string) => connectPg({ connectionString: urlOf(agent) });
const typesOf = (frames: readonly Buffer[]) =>
  frames.map((frame) => String.fromCharCode(frame[0] ?? 0)).join('');
function errorOf(frames: readonly Buffer[]): Record<string, string> {
  return decodeErrorFields(frames.find((frame) => frame[0] === 0x45) ?? Buffer.alloc(5));
}

describe('sessions', () => {
  it('of one agent are limited, and a place is free again when one ends', async () => {
    const mine = await Promise.all(Array.from({ length: 4 }, () => open('agent')));
    const before = (await refusedLogins(stack, 0)).length;
    for (let i = 0; i < 3; i++)
      expect(await failure(open('agent'))).toMatchObject({ code: '53300', severity: 'FATAL' });
    expect((await refusedLogins(stack, before + 3)).at(-1)).toMatchObject({ user: 'agent', code: '53300' });
    await expectServed(urlOf('second'));
    await mine[0]?.end();
    await expectServed(stack.agentUrl);
    await Promise.all(mine.slice(1).map((client) => client.end()));
  });

  it('in all are limited', async () => {
    const all = await Promise.all(
      ['agent', 'agent', 'agent', 'second', 'second', 'second', 'third', 'third'].map(open),
    );
    expect(await failure(open('fourth'))).toMatchObject({
      code: '53300',
      message: 'sorry, too many clients already',
    });
    await Promise.all(all.map((client) => client.end()));
    await eventually('a place is free', () =>
      expectServed(urlOf('fourth')).then(
        () => true,
        () => false,
      ),
    );
  });

  it('that could not begin keep no place', async () => {
    for (let i = 0; i < 10; i++) {
      const error = await failure(connectPg({ connectionString: stack.agentUrl.replace(/[^/]+$/, 'other') }));
      expect(error).toMatchObject({ code: '3D000' });
    }
    const { rows } = await stack.shop.query(
      "SELECT count(*)::int AS open FROM pg_stat_activity WHERE datname = current_database() AND usename LIKE 'app_%' AND application_name = ''",
    );
    expect(rows[0].open).toBe(0);
  });

  it('whose client leaves while the upstream connection is made keep no place', async () => {
    for (let i = 0; i < 12; i++) {
      const client = connectPg({ connectionString: stack.agentUrl });
      const left = connectThenLeave(i);
      await Promise.all([client.then((open) => open.end()), left]);
    }
    await eventually('no upstream connection is left', async () => {
      const { rows } = await stack.shop.query(
        "SELECT count(*)::int AS open FROM pg_stat_activity WHERE datname = current_database() AND usename LIKE 'app_%' AND application_name = 'leaves'",
      );
      return rows[0].open === 0;
    });
    const all = await Promise.all(Array.from({ length: 4 }, () => open('agent')));
    await Promise.all(all.map((client) => client.end()));
  });
});

/** Proves its password and is gone before, or just when, it is let in. */
async function connectThenLeave(milliseconds: number): Promise<void> {
  const { logInRaw } = await import('./scram-client.ts');
  const left = await logInRaw(stack.agentUrl, 0x30000, {
    parameters: [['application_name', 'leaves']],
    leaveAfterMs: milliseconds,
  }).catch(() => null);
  left?.client.close();
}

describe('sizes', () => {
  it('of a frame are limited: the session ends', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    client.send(serialize.query(`SELECT '${'x'.repeat(200_000)}'`));
    const frames = await client.ready();
    expect(typesOf(frames)).toBe('E');
    expect(errorOf(frames)).toMatchObject({ S: 'FATAL', C: '54000' });
    expect(client.closed).toBe(true);
  });

  it('of a frame count as announced, before its bytes are there', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    const head = Buffer.from([0x51, 0, 0, 0, 0]);
    head.writeUInt32BE(200_001, 1);
    client.send(head);
    expect(errorOf(await client.ready())).toMatchObject({ S: 'FATAL', C: '54000' });
  });

  it.each([0, 1, 2, 3, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1])(
    'that no frame can have end the session without a word, as the server does: %i',
    async (length) => {
      const answers = async (url: string) => {
        const client = await RawClient.connect(url);
        const head = Buffer.from([0x51, 0, 0, 0, 0, 0, 0, 0]);
        head.writeUInt32BE(length, 1);
        client.send(head);
        return { frames: typesOf(await client.ready()), closed: client.closed };
      };
      expect(await answers(stack.directUrl)).toEqual({ frames: '', closed: true });
      expect(await answers(stack.agentUrl)).toEqual({ frames: '', closed: true });
    },
  );

  it('of a statement are limited: the session goes on, in every way to send it', async () => {
    const long = `SELECT '${'x'.repeat(50_000)}'`;
    const client = await RawClient.connect(stack.agentUrl);
    client.send(serialize.query(long));
    const simple = await client.ready();
    expect([typesOf(simple), errorOf(simple)['C'], errorOf(simple)['S']]).toEqual(['EZ', '54000', 'ERROR']);
    client.send(
      serialize.parse({ text: long, name: '', types: [] }),
      serialize.bind({}),
      serialize.execute({}),
      serialize.sync(),
    );
    const extended = await client.ready();
    expect([typesOf(extended), errorOf(extended)['C']]).toEqual(['EZ', '54000']);
    client.send(serialize.query(`SELECT length('${'x'.repeat(49_000)}')`));
    const within = await client.ready();
    expect(typesOf(within)).toBe('TDCZ');
    client.close();
  });
});
