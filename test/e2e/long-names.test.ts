import { serialize } from 'pg-protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeFrame } from '../../src/protocol/backend.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { playSteps, type Step } from '../support/wire-script.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ sample: 'CREATE TABLE t (id int)' });
});
afterAll(() => stack.close());

const Q = serialize.query;
const S = serialize.sync();
const bytes = (...parts: readonly (string | Buffer)[]) =>
  Buffer.concat(parts.map((part) => Buffer.from(part)));
const P = (name: string | Buffer, text: string) =>
  encodeFrame(0x50, bytes(name, `\0${text}\0`, Buffer.alloc(2)));
const B = (statement: string | Buffer, portal: string | Buffer = '') =>
  encodeFrame(0x42, bytes(portal, '\0', statement, '\0', Buffer.alloc(6)));
const E = (portal: string | Buffer = '') => encodeFrame(0x45, bytes(portal, '\0', Buffer.alloc(4)));

const E40 = 'é'.repeat(40);
/** As SQL cuts it: whole characters in 63 bytes. */
const E31 = 'é'.repeat(31);
const HAN = '漢'.repeat(30);
const A70 = 'a'.repeat(70);

const SCRIPTS: Record<string, readonly Step[]> = {
  'SQL PREPARE of two-byte characters, used by SQL under its whole and its cut name': [
    [1, Q(`PREPARE ${E40} AS SELECT 1`)],
    [1, Q(`EXECUTE ${E40}`)],
    [1, Q(`EXECUTE ${E31}`)],
    [1, Q(`DEALLOCATE ${E31}`)],
  ],
  'SQL PREPARE of two-byte characters, used by the protocol under its cut name': [
    [1, Q(`PREPARE ${E40} AS SELECT 2`)],
    [1, B(E31), E(), S],
  ],
  'SQL PREPARE of three-byte characters, which end at 63 bytes exactly': [
    [1, Q(`PREPARE "${HAN}" AS SELECT 3`)],
    [1, B(HAN), E(), S],
    [1, Q(`EXECUTE "${HAN}"`)],
  ],
  'SQL PREPARE of one-byte characters': [
    [1, Q(`PREPARE ${A70} AS SELECT 4`)],
    [1, B(`${'a'.repeat(63)}bbb`), E(), S],
  ],
  'DECLARE of two-byte characters': [
    [1, Q(`BEGIN; DECLARE ${E40} CURSOR FOR SELECT generate_series(1, 5)`)],
    [1, Q(`FETCH 1 FROM ${E40}`)],
    [1, Q(`FETCH 1 FROM ${E31}`)],
    [1, E(E31), S],
    [1, Q(`CLOSE ${E31}; COMMIT`)],
  ],
  'Parse of a name of whole characters, used by SQL': [
    [1, P(E31, 'SELECT 5'), S],
    [1, Q(`EXECUTE ${E40}`)],
  ],
};

describe('names of more than 63 bytes mean what they mean to the server', () => {
  it.each(Object.keys(SCRIPTS))('%s', async (name) => {
    const steps = SCRIPTS[name] ?? [];
    const direct = await playSteps(stack.directUrl, steps, [['client_encoding', 'UTF8']]);
    expect(await playSteps(stack.agentUrl, steps, [['client_encoding', 'UTF8']])).toEqual(direct);
    expect(await stack.api.open()).toEqual([]);
  });

  it('a protocol name is cut in the middle of a character, so SQL does not find it', async () => {
    const steps: Step[] = [
      [1, P(`${E40}1`, 'SELECT 6'), S],
      [1, B(`${E40}2`), E(), S],
      [1, Q(`EXECUTE ${E40}`)],
    ];
    const codes = (frames: readonly string[]) =>
      frames
        .filter((frame) => !'SN'.includes(frame[0] ?? ''))
        .map((frame) => /^E.*\0C(\w{5})/s.exec(frame)?.[1] ?? frame);
    const direct = codes(await playSteps(stack.directUrl, steps, [['client_encoding', 'UTF8']]));
    expect(direct).toContain('26000');
    expect(codes(await playSteps(stack.agentUrl, steps, [['client_encoding', 'UTF8']]))).toEqual(direct);
  });
});
