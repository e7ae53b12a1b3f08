/**
 * The process is killed (SIGKILL) at every point between the arrival of a statement and the last row about it, is
 * started again on the same data, and must then be able to say what happened. `npm run test:faults` has all points with
 * all kinds of statements, COUNTERSIGN_ROUNDS times; the ordinary run a few.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Jwks } from '../../src/audit/verify/trusted-keys.ts';
import { verifyLog } from '../../src/audit/verify/verify-database.ts';
import { allClosed, atRest, takeUp } from './aftermath.ts';
import { compare } from './compare.ts';
import { printCounts } from './counts.ts';
import { type Kill, killAt } from './doomed-round.ts';
import { type Installation, makeInstallation } from './installation.ts';
import { ALL_KINDS, KINDS, type Kind } from './kinds.ts';
import { BETWEEN, INSIDE, type Point, reachOf } from './points.ts';

const ROUNDS = Number(process.env['COUNTERSIGN_ROUNDS'] ?? 0);
/** Where the ordinary run kills: around each promise, once. */
const FEW: readonly (readonly [Point, Kind])[] = [
  ['after forward', 'multi'],
  ['before reply', 'read'],
  ['outcome in memory', 'pipeline'],
  ['verdict recorded, after commit', 'ddl'],
  ['consumed, after commit', 'ddl'],
  ['shipped, after commit', 'write'],
];

let place: Installation;
beforeAll(async () => {
  place = await makeInstallation();
}, 300_000);
afterAll(() => place.close(), 120_000);

function plan(): (readonly [Point, Kind])[] {
  if (ROUNDS === 0) return [...FEW];
  const all = [...INSIDE, ...BETWEEN].flatMap((point) =>
    ALL_KINDS.filter((kind) => reachOf(point) === 'all' || KINDS[kind].asked !== 'no').map(
      (kind) => [point, kind] as const,
    ),
  );
  const only = process.env['COUNTERSIGN_POINT'];
  const chosen = only === undefined ? all : all.filter(([point]) => point === only);
  return Array.from({ length: ROUNDS }, () => chosen).flat();
}

it('whatever the moment, the log tells what ran, nothing runs twice, and no verdict is lost', async () => {
  const rounds: Kill[] = [];
  const unreached: string[] = [];
  for (const [number, [point, kind]] of plan().entries()) {
    const doomed = await place.start();
    // What earlier rounds left is recovered meanwhile, or that is killed, too.
    await killAt(place, doomed, { marker: `m${number}x`, kind, point }).then(
      (round) => rounds.push(round),
      (error: Error) => unreached.push(error.message),
    );
  }
  expect(unreached).toEqual([]);
  const last = await place.start();
  await atRest(place);
  const lost = await takeUp(place, last, rounds);
  await allClosed(place);
  const compared = await compare(place, rounds);
  tell(rounds, compared);
  expect([...lost, ...compared.findings]).toEqual([]);
  const keys = (await (await fetch(`${last.httpUrl}/.well-known/jwks.json`)).json()) as Jwks;
  const verified = await verifyLog({ url: place.auditorUrl(), schema: 'audit', keys });
  expect(verified).toMatchObject({ findings: [], whole: true });
  expect(await place.requests('SELECT * FROM audit.unapproved_exceptions')).toEqual([]);
}, 3_600_000);

function tell(
  rounds: readonly Kill[],
  { ran, recorded, unknown, releases }: Awaited<ReturnType<typeof compare>>,
): void {
  const lines = [...INSIDE, ...BETWEEN].map((point) => {
    const kills = rounds.filter((round) => round.point === point);
    return `${point.padEnd(34)}${String(kills.length).padStart(4)}  ${[...new Set(kills.map(({ kind }) => kind))].join(' ')}`;
  });
  printCounts(
    'point                            kills  kinds',
    ...lines,
    `${rounds.length} kills; the server ran ${ran} statements, the log has ${recorded}, of ${unknown} nobody knows the outcome; ${releases} releases`,
  );
}
