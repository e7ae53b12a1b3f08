/** One installation whose policy holds whatever touches the table `held`, and clients of it and of the server itself. */
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { makePolicy } from '../../src/config/policy.ts';
import { decodeErrorFields } from '../../src/protocol/backend.ts';
import { RawClient } from '../support/raw-client.ts';
import { type Stack, startStack } from '../support/stack.ts';

const SAMPLE = `
  CREATE TABLE trace (what text);
  CREATE TABLE held (id int); INSERT INTO held VALUES (1), (2);
  CREATE TABLE box (id int);
  CREATE TABLE tiny (id int); INSERT INTO tiny SELECT generate_series(1, 6); ANALYZE tiny;
  CREATE TABLE parent (id int PRIMARY KEY);
  CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
  CREATE FUNCTION writes() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.trace VALUES ('ran'); RETURN 1; END $$;
  CREATE FUNCTION stable_liar() RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN public.writes(); END $$;
  CREATE FUNCTION immutable_liar() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN public.writes(); END $$;
  CREATE PROCEDURE nothing() LANGUAGE sql AS 'SELECT 1';`;

export type Rules = {
  readonly stack: () => Stack;
  readonly connect: (side: 'direct' | 'proxied') => Promise<RawClient>;
  /** The NOTICE of a hold is denied by a person; what came of it, up to ReadyForQuery. */
  readonly deny: (client: RawClient) => Promise<Buffer[]>;
  readonly approve: (client: RawClient) => Promise<Buffer[]>;
  /**
   * Messages at once; both sides must say the same, byte for byte but for the source places of errors. What they said.
   */
  readonly expectSame: (ready: number, ...frames: Buffer[]) => Promise<string[]>;
};

/** Starts it for the tests of a file; clients are closed after each. */
export function useRules(): Rules {
  let stack: Stack;
  const clients: RawClient[] = [];
  beforeAll(async () => {
    const rules = [
      { name: 'held', match: { relation: ['public.held'] }, decision: 'hold' as const },
      { name: 'traced', match: { relation: ['public.trace'] }, decision: 'allow' as const },
    ];
    stack = await startStack({
      sample: SAMPLE,
      config: (config) => ({ ...config, policy: makePolicy(rules) }),
      limits: { noticeIntervalMs: 400 },
    });
  });
  afterAll(() => stack.close());
  afterEach(async () => {
    for (const client of clients.splice(0)) client.close();
    for (const { id } of await stack.api.open()) await stack.api.verdict(id, 'deny', 'left over');
    await stack.shop.query('DELETE FROM trace');
  });
  const connect = async (side: 'direct' | 'proxied') => {
    const client = await RawClient.connect(side === 'direct' ? stack.directUrl : stack.agentUrl);
    clients.push(client);
    return client;
  };
  const answer = (verdict: 'approve' | 'deny') => async (client: RawClient) => {
    await stack.api.verdict(await held(client), verdict);
    return (await client.ready()).filter((frame) => frame[0] !== NOTICE);
  };
  return {
    stack: () => stack,
    connect,
    deny: answer('deny'),
    approve: answer('approve'),
    expectSame: async (ready, ...frames) => {
      const said: string[][] = [];
      for (const side of ['direct', 'proxied'] as const) {
        const client = await connect(side);
        client.send(...frames);
        said.push((await client.ready(ready)).map(shown));
        client.close();
      }
      expect(said[1]).toEqual(said[0]);
      return said[0] ?? [];
    },
  };
}

const NOTICE = 0x4e;

/** Waits until the client is told that it is held; the request's id. */
export async function held(client: RawClient): Promise<string> {
  const frames = await client.until(
    (seen) => seen.some((frame) => frame[0] === NOTICE || frame[0] === 0x5a),
    30_000,
  );
  const notice = frames.find((frame) => frame[0] === NOTICE) ?? Buffer.alloc(5);
  const id = /request (\S+)/.exec(decodeErrorFields(notice)['M'] ?? '')?.[1];
  if (id === undefined) throw new Error(`not held: ${types(frames)} ${codes(frames)}`);
  return id;
}

export function types(frames: readonly Buffer[]): string {
  return frames.map((frame) => String.fromCharCode(frame[0] ?? 0)).join('');
}

/** SQLSTATEs of the errors. */
export function codes(frames: readonly Buffer[]): (string | undefined)[] {
  return frames.filter((frame) => frame[0] === 0x45).map((frame) => decodeErrorFields(frame)['C']);
}

export function shown(frame: Buffer): string {
  const type = String.fromCharCode(frame[0] ?? 0);
  if (type !== 'E' && type !== 'N') return `${type} ${frame.subarray(5).toString('latin1')}`;
  const { F: _file, L: _line, R: _routine, ...fields } = decodeErrorFields(frame);
  return `${type} ${JSON.stringify(fields)}`;
}
