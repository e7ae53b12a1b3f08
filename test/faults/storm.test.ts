/**
 * Faults at random moments, under load: whatever came together, the log tells what ran, nothing runs twice, no verdict
 * is lost. The seed is printed; COUNTERSIGN_SEED takes it again (the moments are the same, what they meet is not).
 */
import { randomInt } from 'node:crypto';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { Jwks } from '../../src/audit/verify/trusted-keys.ts';
import { verifyLog } from '../../src/audit/verify/verify-database.ts';
import { allClosed, atRest, takeUp } from './aftermath.ts';
import { type AuditServer, startAuditServer } from './audit-server.ts';
import { type Compared, compare } from './compare.ts';
import { printCounts } from './counts.ts';
import { type Installation, makeInstallation } from './installation.ts';
import { ALL_KINDS } from './kinds.ts';
import { type Random, type Weathered, weather } from './storm.ts';

const SEED = Number(process.env['COUNTERSIGN_SEED'] ?? randomInt(2 ** 31));
const SECONDS = Number(process.env['COUNTERSIGN_SECONDS'] ?? 0);
/** The ordinary run has one of every fault. */
const ROUNDS = 4 * Number(process.env['COUNTERSIGN_ROUNDS'] ?? 0) || 1;
const AGENTS = 4;
const STORMY = { databasesWereAway: true };

let audit: AuditServer;
let place: Installation;
beforeAll(async () => {
  audit = await startAuditServer();
  place = await makeInstallation({
    audit,
    limits: { requestsPerMinutePerAgent: 10_000, approvalsPerMinutePerPerson: 10_000 },
  });
}, 300_000);
// Another try has the place to itself.
afterEach(() => place.killAll());
afterAll(async () => {
  await place.close();
  await audit.close();
}, 120_000);

it('whatever comes together, the log tells what ran, nothing runs twice, and no verdict is lost', async () => {
  printCounts(`seed ${SEED}`);
  const until = Date.now() + SECONDS * 1_000;
  const goesOn = (round: number) => (SECONDS > 0 ? Date.now() < until : round < ROUNDS);
  const weathered = await weather({ place, audit, random: numbersFrom(SEED), agents: AGENTS, goesOn });
  const { doomed, rounds } = weathered;
  await atRest(place);
  const lost = await takeUp(place, doomed, rounds, STORMY);
  await allClosed(place);
  const compared = await compare(place, rounds, STORMY);
  tell(weathered, compared);
  expect([...lost, ...compared.findings]).toEqual([]);
  expect(rounds.length).toBeGreaterThan(AGENTS);
  const keys = (await (await fetch(`${doomed.httpUrl}/.well-known/jwks.json`)).json()) as Jwks;
  const verified = await verifyLog({ url: place.auditorUrl(), schema: 'audit', keys });
  expect(verified).toMatchObject({ findings: [], whole: true });
  expect(await place.requests('SELECT * FROM audit.unapproved_exceptions')).toEqual([]);
}, 7_200_000);

function tell({ rounds, faults }: Weathered, { ran, recorded, unknown, releases }: Compared): void {
  const kinds = ALL_KINDS.map((kind) => `${kind} ${rounds.filter((round) => round.kind === kind).length}`);
  const done = rounds.filter(({ completed }) => completed).length;
  const verdicts = rounds.filter(({ verdictTaken }) => verdictTaken).length;
  const lines = Object.entries(faults).map(([name, times]) => `${String(times).padStart(4)}  ${name}`);
  printCounts(
    ...lines,
    `seed ${SEED}: ${rounds.length} statements (${kinds.join(', ')}), ${done} were answered to their end, ${verdicts} approvals taken; the server ran ${ran}, the log has ${recorded}, of ${unknown} nobody knows the outcome; ${releases} releases`,
  );
}

/** Mulberry32. */
function numbersFrom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
