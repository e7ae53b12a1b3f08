/**
 * The process is killed (SIGKILL) at every point between the arrival of a statement and the last row about it, is
 * started again on the same data, and must then be able to say what happened. `npm run test:faults` has all points with
 * all kinds of statements, COUNTERSIGN_ROUNDS times; the ordinary run a few.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Jwks } from '../../src/audit/verify/trusted-keys.ts';
import { verifyLog } from '../../src/audit/verify/verify-database.ts';
import { RawClient } from '../support/raw-client.ts';
import { compare, requestsOf } from './compare.ts';
import { approve, killAt, type Round } from './doomed-round.ts';
import { type Doomed, type Installation, makeInstallation } from './installation.ts';
import { ALL_KINDS, KINDS, type Kind } from './kinds.ts';
import { AGENT_APPLICATION, BETWEEN, INSIDE, type Point, reachOf } from './points.ts';

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
  const rounds: Round[] = [];
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
  await place.recovered();
  await expect
    .poll(async () => (await requestsOf(place)).filter(({ state }) => state === 'consumed'), {
      timeout: 90_000,
    })
    .toEqual([]);
  await expect.poll(() => attached(), { timeout: 90_000 }).toBe(0);
  const lost = await takeUp(last, rounds);
  await expect.poll(() => openOutcomes(), { timeout: 60_000 }).toBe(0);
  const compared = await compare(place, rounds);
  tell(rounds, compared);
  expect([...lost, ...compared.findings]).toEqual([]);
  const keys = (await (await fetch(`${last.httpUrl}/.well-known/jwks.json`)).json()) as Jwks;
  const verified = await verifyLog({ url: place.stack.auditorUrl, schema: 'audit', keys });
  expect(verified).toMatchObject({ findings: [], whole: true });
  expect(await place.stack.audited('SELECT * FROM audit.unapproved_exceptions')).toEqual([]);
}, 3_600_000);

/** Requests that a dead process still has: until its lease is over nobody else takes them up. */
const attached = async () =>
  (
    await place.stack.audit.query(
      `SELECT count(*)::int AS n FROM countersign.request r JOIN countersign.process p ON p.id = r.attached_by
        WHERE p.lease_until > clock_timestamp() AND r.state IN ('open', 'approved')`,
    )
  ).rows[0]?.['n'];

const openOutcomes = async () =>
  (await place.stack.audited('SELECT count(*)::int AS n FROM audit.statements WHERE outcome IS NULL'))[0]?.[
    'n'
  ];

/** What was asked before the kill is answered, and used, after it: sent again, the statement runs. Gives what was lost. */
async function takeUp(doomed: Doomed, rounds: readonly Round[]): Promise<string[]> {
  const lost: string[] = [];
  const before = await requestsOf(place);
  for (const { marker, point, kind, verdictTaken } of rounds) {
    const request = before.find(({ sql }) => sql.includes(marker));
    if (verdictTaken && (request === undefined || request.state === 'open'))
      lost.push(
        `${kind} killed at '${point}': the approver was told 200, and the request is ${request?.state}`,
      );
    if (KINDS[kind].asked !== 'before' || request === undefined) continue;
    if (request.state !== 'open' && request.state !== 'approved') continue;
    const client = await RawClient.connect(doomed.agentUrl, { application_name: AGENT_APPLICATION });
    let over = false;
    const answered =
      request.state === 'open' ? approve(place, doomed, marker, () => over) : Promise.resolve(true);
    const came = await KINDS[kind].run(client, marker);
    over = true;
    await answered;
    client.close();
    if (!came.some(([type]) => type === 0x43))
      lost.push(`${kind} killed at '${point}' did not run when it was sent again`);
    const after = (await requestsOf(place)).filter(({ sql }) => sql.includes(marker));
    if (after.length !== 1) lost.push(`${kind} killed at '${point}' was asked about ${after.length} times`);
  }
  return lost;
}

function tell(
  rounds: readonly Round[],
  { ran, recorded, unknown, releases }: Awaited<ReturnType<typeof compare>>,
): void {
  const lines = [...INSIDE, ...BETWEEN].map((point) => {
    const kills = rounds.filter((round) => round.point === point);
    return `${point.padEnd(34)}${String(kills.length).padStart(4)}  ${[...new Set(kills.map(({ kind }) => kind))].join(' ')}`;
  });
  process.stderr.write(
    `\npoint                            kills  kinds\n${lines.join('\n')}\n${rounds.length} kills; the server ran ${ran} statements, the log has ${recorded}, of ${unknown} nobody knows the outcome; ${releases} releases\n`,
  );
}
