/**
 * Each conversation of fixtures/transcripts, sent to Postgres itself and through the proxy: the replies are equal, byte
 * for byte, and are those of the file. With COUNTERSIGN_WRITE_TRANSCRIPTS=all the files take Postgres' replies, with
 * =new those that have none.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FrameReader } from '../../src/protocol/frame-reader.ts';
import { RawClient } from '../support/raw-client.ts';
import { comparableReplies, DELIVERIES, type Delivery, outlineOf, printReplies, replay } from './replay.ts';
import { parseTranscript, type Transcript, withReplies } from './transcript.ts';
import { startWireStack, type WireStack } from './wire-stack.ts';

const DIRECTORY = new URL('../../fixtures/transcripts/', import.meta.url);
const WRITE = process.env['COUNTERSIGN_WRITE_TRANSCRIPTS'];

const names = readdirSync(DIRECTORY)
  .filter((name) => name.endsWith('.txt'))
  .map((name) => name.slice(0, -'.txt'.length));
const transcripts = new Map<string, Transcript>(names.map((name) => [name, parseTranscript(read(name))]));

function read(name: string): string {
  return readFileSync(new URL(`${name}.txt`, DIRECTORY), 'utf8');
}

function transcriptOf(name: string): Transcript {
  const transcript = transcripts.get(name);
  if (transcript === undefined) throw new Error(`no transcript ${name}`);
  return transcript;
}

/** Where statements are judged in earnest, the hardest two are enough. */
const DELIVERIES_OF = { observe: DELIVERIES, enforce: ['byte', 'coalesced'] } as const;

/** What another session does has its place between the messages, so those are not sent all at once. */
function deliveriesOf({ segments }: Transcript, mode: 'observe' | 'enforce'): readonly Delivery[] {
  const alone = segments.every(({ another }) => another.length === 0);
  return DELIVERIES_OF[mode].filter((delivery) => alone || delivery !== 'coalesced');
}

async function play(stack: WireStack, url: string, name: string, delivery: Delivery, recording = false) {
  await stack.reset();
  return replay(url, transcriptOf(name).segments, { delivery, another: stack.admin, recording });
}

describe.each(['observe', 'enforce'] as const)('mode %s', (mode) => {
  let stack: WireStack;
  beforeAll(async () => {
    stack = await startWireStack(mode);
    if (WRITE === undefined) return;
    for (const name of names.filter((one) => WRITE === 'all' || !read(one).includes('\nB '))) {
      const replies = await play(stack, stack.directUrl, name, 'segment', true);
      const text = withReplies(read(name), printReplies(replies));
      writeFileSync(new URL(`${name}.txt`, DIRECTORY), text);
      transcripts.set(name, parseTranscript(text));
    }
  }, 600_000);
  afterAll(() => stack.close());

  it.each(names.filter((name) => mode === 'observe' || transcriptOf(name).held === null))(
    '%s',
    async (name) => {
      const transcript = transcriptOf(name);
      const heldBefore = (await stack.api.open()).length;
      const expected = transcript.segments.map((segment) => segment.expected);
      for (const delivery of deliveriesOf(transcript, mode)) {
        const direct = await play(stack, stack.directUrl, name, delivery);
        const proxied = await play(stack, stack.agentUrl, name, delivery);
        const said = printReplies(direct);
        if (transcript.differs !== null) {
          if (delivery !== 'coalesced')
            expect(outlineOf(said.flat()), `${delivery}: the file says`).toEqual(outlineOf(expected.flat()));
          expect(outlineOf(printReplies(proxied).flat()), delivery).toEqual(outlineOf(said.flat()));
          continue;
        }
        if (delivery !== 'coalesced') expect(said, `${delivery}: the file says`).toEqual(expected);
        expect(comparableReplies(proxied), delivery).toEqual(comparableReplies(direct));
      }
      expect(await stack.api.open()).toHaveLength(heldBefore);
    },
    120_000,
  );
});

describe('what a transcript says that policy holds', () => {
  let stack: WireStack;
  beforeAll(async () => {
    stack = await startWireStack('enforce');
  });
  afterAll(() => stack.close());

  it.each(names.filter((name) => transcriptOf(name).held !== null))(
    'is held or refused: %s',
    async (name) => {
      const client = await RawClient.connect(stack.agentUrl);
      client.send(...transcriptOf(name).segments.flatMap(({ frames }) => frames));
      const word = (frame: Buffer) => frame.includes('countersign:');
      expect((await client.until((frames) => frames.some(word))).some(word)).toBe(true);
      client.close();
    },
  );
});

describe('the bytes of all transcripts', () => {
  it('are the same frames wherever they are cut in two', () => {
    const valid = names.filter((name) => !name.startsWith('framing-'));
    for (const name of valid) {
      const frames = transcriptOf(name).segments.flatMap((segment) => segment.frames);
      const bytes = Buffer.concat(frames);
      if (bytes.length > 20_000) continue;
      for (let at = 0; at <= bytes.length; at++) {
        const seen: Buffer[] = [];
        const reader = new FrameReader(1 << 30);
        for (const part of [bytes.subarray(0, at), bytes.subarray(at)])
          reader.push(part, (_type, frame) => {
            seen.push(Buffer.from(frame));
            return true;
          });
        expect(Buffer.concat(seen).equals(bytes) && seen.length === frames.length, `${name} at ${at}`).toBe(
          true,
        );
      }
    }
  });
});
