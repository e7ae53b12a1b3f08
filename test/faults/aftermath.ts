/** After the faults: all comes to rest, and what was asked before them is answered and used. */
import { expect } from 'vitest';
import { attachKey, type Binding } from '../../src/approval/digest.ts';
import { RawClient } from '../support/raw-client.ts';
import { CALM, type Requested, requestsOf, type Weather } from './compare.ts';
import { approve, type Round } from './doomed-round.ts';
import type { Doomed, Installation } from './installation.ts';
import { KINDS } from './kinds.ts';
import { AGENT_APPLICATION } from './points.ts';

const PATIENCE = { timeout: 90_000, interval: 200 };

/** Journals of dead processes are in the log, and nobody holds a request or has one that is consumed. */
export async function atRest(place: Installation): Promise<void> {
  await place.recovered();
  const consumed = async () => (await requestsOf(place)).filter(({ state }) => state === 'consumed');
  await expect.poll(consumed, PATIENCE).toEqual([]);
  await expect.poll(() => attached(place), PATIENCE).toBe(0);
}

/** Every statement in the log has an outcome. */
export async function allClosed(place: Installation): Promise<void> {
  const open = async () => {
    const rows = await place.requests(
      'SELECT count(*)::int AS n FROM audit.statements WHERE outcome IS NULL',
    );
    return rows[0]?.['n'];
  };
  await expect.poll(open, PATIENCE).toBe(0);
}

/** Requests that a dead process still has: until its lease is over nobody else takes them up. */
async function attached(place: Installation): Promise<number> {
  const rows = await place.requests(
    `SELECT count(*)::int AS n FROM countersign.request r JOIN countersign.process p ON p.id = r.attached_by
      WHERE p.lease_until > clock_timestamp() AND r.state IN ('open', 'approved')`,
  );
  return Number(rows[0]?.['n']);
}

async function isReady({ httpUrl }: Doomed): Promise<boolean> {
  return (await fetch(`${httpUrl}/readyz`)).ok;
}

/** Asked while nobody could say what its names mean, and then again when that was known: two questions. */
function isAnother(first: Requested, later: Requested | undefined): boolean {
  if (later === undefined) return false;
  const [before, after] = [JSON.parse(first.binding) as Binding, JSON.parse(later.binding) as Binding];
  const wasSure =
    before.relations.every(({ oid }) => oid !== null) && !before.searchPath.includes(' in session ');
  return !wasSure && attachKey(before) !== attachKey(after);
}

/** What was asked before the kill is answered, and used, after it: sent again, the statement runs. Gives what was lost. */
export async function takeUp(
  place: Installation,
  doomed: Doomed,
  rounds: readonly Round[],
  { databasesWereAway }: Weather = CALM,
): Promise<string[]> {
  // Before it has read the database's catalog it would ask anew.
  await expect.poll(() => isReady(doomed), PATIENCE).toBe(true);
  const lost: string[] = [];
  const before = await requestsOf(place);
  for (const { marker, when, kind, verdictTaken } of rounds) {
    const what = `${kind} ${when} (${marker})`;
    const request = before.find(({ sql }) => sql.includes(marker));
    if (verdictTaken && (request === undefined || request.state === 'open'))
      lost.push(`${what}: the approver was told 200, and the request is ${request?.state}`);
    if (KINDS[kind].asked !== 'before' || request === undefined) continue;
    if (request.state !== 'open' && request.state !== 'approved') continue;
    const client = await RawClient.connect(doomed.agentUrl, { application_name: AGENT_APPLICATION });
    let over = false;
    const answered = approve(place, doomed, marker, () => over);
    const came = await KINDS[kind].run(client, marker).catch(() => []);
    over = true;
    await answered;
    client.close();
    if (!came.some(([type]) => type === 0x43)) lost.push(`${what}: it did not run when it was sent again`);
    const after = (await requestsOf(place)).filter(({ sql }) => sql.includes(marker));
    const other = after.find(({ id }) => id !== request.id);
    if (after.length !== (databasesWereAway && isAnother(request, other) ? 2 : 1))
      lost.push(`${what}: it was asked about ${after.length} times, as ${JSON.stringify(after)}`);
  }
  return lost;
}
