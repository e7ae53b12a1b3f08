/** The comparison can fail: programs that break a promise are run, and it names what each of them did. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { allClosed, atRest, takeUp } from './aftermath.ts';
import type { BrokenPromise } from './broken-promises.ts';
import { compare } from './compare.ts';
import { printCounts } from './counts.ts';
import { type Kill, killAt } from './doomed-round.ts';
import { type Installation, makeInstallation } from './installation.ts';
import type { Kind } from './kinds.ts';
import type { Point } from './points.ts';

let place: Installation;
beforeAll(async () => {
  place = await makeInstallation();
}, 300_000);
afterAll(() => place.close(), 120_000);
afterEach(() => place.killAll());

type Broken = {
  readonly kind: Kind;
  /** Where the broken program is killed. */
  readonly point: Point;
  /** What is said of it, and nothing else is. */
  readonly found: readonly string[];
};

const WHILE_IT_RUNS = {
  'the intent is recorded behind the statement': {
    ...{ kind: 'write', point: 'after forward' },
    found: ['the server ran 1 and the log has 0 of 1', 'it left its rows, and the log knows nothing of it'],
  },
  'a result leaves before its record is written': {
    ...{ kind: 'read', point: 'after reply' },
    found: [
      'the server ran 1 and the log has 0 of 1',
      'frames of its result left, and the log knows nothing of it',
      'the client was told that it is done, and the log says nothing',
    ],
  },
  'a statement is sent twice': {
    ...{ kind: 'write', point: 'after forward' },
    found: ['the server ran 2 and the log has 1 of 2', 'it ran twice: 2 rows'],
  },
  'an approval is not used up': {
    ...{ kind: 'bulk', point: 'after reply' },
    found: ['it ran twice: 2 rows', 'was released 2 times'],
  },
  'a statement runs before its approval is used up': {
    ...{ kind: 'bulk', point: 'after forward' },
    found: ['it ran twice: 2 rows', 'it ran 2 times on 1 releases'],
  },
  'an approver is told before the answer is stored': {
    ...{ kind: 'bulk', point: 'verdict recorded, before commit' },
    found: ['the approver was told 200, and the request is open'],
  },
} satisfies Partial<Record<BrokenPromise, Broken>>;

it('names what programs that break a promise did', async () => {
  const kills: Kill[] = [];
  for (const [broken, { kind, point }] of Object.entries(WHILE_IT_RUNS) as [BrokenPromise, Broken][]) {
    const doomed = await place.start(broken);
    kills.push(await killAt(place, doomed, { marker: `broken${kills.length}x`, kind, point }));
  }
  const last = await place.start();
  await atRest(place);
  const lost = await takeUp(place, last, kills);
  // What has just been sent again is on its way to the log.
  await allClosed(place);
  const said = [...lost, ...(await compare(place, kills)).findings];
  printCounts('what broken programs did, as it was found:', ...said);
  for (const [at, [broken, { found }]] of Object.entries(WHILE_IT_RUNS).entries())
    expect([broken, ...said.filter((one) => one.includes(`broken${at}x`))]).toEqual([
      broken,
      ...found.map((one) => expect.stringContaining(one)),
    ]);
}, 600_000);

it.each([
  [
    'what a dead process left is called executed',
    [
      'the log says executed, and the server never saw it',
      'the log says executed, and nothing of it is there',
    ],
  ],
  ['what a dead process left gets no outcome', ['its outcome is missing']],
] as const)(
  'names it when %s',
  async (broken, found) => {
    const marker = `${broken.replaceAll(/\W/g, '')}x`;
    const kill = await killAt(place, await place.start(), { marker, kind: 'write', point: 'before forward' });
    await place.start(broken);
    await atRest(place);
    const { findings } = await compare(place, [kill]);
    expect(findings).toEqual(found.map((one) => expect.stringContaining(one)));
  },
  600_000,
);
