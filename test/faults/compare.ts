/** The server's own log against ours, statement by statement. */

import type { Round } from './doomed-round.ts';
import type { Installation } from './installation.ts';
import { KINDS } from './kinds.ts';
import { AGENT_APPLICATION } from './points.ts';

export type Compared = {
  /** What must not be; each names the round. */
  readonly findings: readonly string[];
  /** Lines that the server logged, rows of the audit log's statements, and those of them whose outcome nobody knows. */
  readonly ran: number;
  readonly recorded: number;
  readonly unknown: number;
  readonly releases: number;
};

type Recorded = {
  readonly sql: string;
  readonly decision: string;
  readonly reasons: readonly string[] | null;
  readonly outcome: string | null;
  readonly request_id: string | null;
};
export type Requested = {
  readonly id: string;
  readonly sql: string;
  readonly state: string;
  readonly end_reason: string | null;
  readonly binding: string;
  readonly verdicts: number;
  readonly told_verdicts: number;
  readonly told_approvals: number;
  readonly releases: number;
};

/** Where each request of a round stands, and what the log says of it. */
export async function requestsOf(place: Installation): Promise<readonly Requested[]> {
  const rows = await place.requests(`
    SELECT id, sql, state, end_reason, binding,
      (SELECT count(*)::int FROM countersign.verdict v WHERE v.request_id = r.id) AS verdicts,
      (SELECT count(*)::int FROM audit.entry e WHERE e.request_id = r.id AND e.kind = 'verdict') AS told_verdicts,
      (SELECT count(*)::int FROM audit.entry e WHERE e.request_id = r.id AND e.kind = 'request_approved') AS told_approvals,
      (SELECT count(*)::int FROM audit.entry e WHERE e.request_id = r.id AND e.kind = 'released') AS releases
    FROM countersign.request r`);
  return rows as Requested[];
}

/** What databases that are away explain, and nothing else does. */
export type Weather = { readonly databasesWereAway: boolean };
export const CALM: Weather = { databasesWereAway: false };

/** To be called when everything was recovered and nothing runs. */
export async function compare(
  place: Installation,
  rounds: readonly Round[],
  weather: Weather = CALM,
): Promise<Compared> {
  const lines = await place.upstream.statements(AGENT_APPLICATION);
  const rows = await place.requests(
    'SELECT sql, decision, reasons, outcome, request_id FROM audit.statements',
  );
  const recorded = rows as Recorded[];
  const requests = await requestsOf(place);
  const marks = await place.shop('SELECT mark, count(*)::int AS n FROM marks GROUP BY mark');
  const tables = await place.shop("SELECT relname FROM pg_class WHERE relkind = 'r'");
  const findings = rounds.flatMap((round) => {
    const of = <T extends { readonly sql: string }>(all: readonly T[]) =>
      all.filter(({ sql }) => sql.includes(round.marker));
    const facts = {
      ran: lines.filter((line) => line.includes(round.marker)).length,
      recorded: of(recorded),
      requests: of(requests),
      marks: Number(marks.find(({ mark }) => mark === round.marker)?.['n'] ?? 0),
      table: tables.some(({ relname }) => relname === round.marker),
    };
    return [...unrecorded(round, facts), ...untrue(round, facts, weather), ...unapproved(round, facts)].map(
      (what) => `${round.kind} ${round.when} (${round.marker}): ${what}`,
    );
  });
  return {
    findings,
    ran: lines.length,
    recorded: recorded.length,
    unknown: recorded.filter(({ outcome }) => outcome === 'unknown').length,
    releases: requests.reduce((sum, { releases }) => sum + releases, 0),
  };
}

type Facts = {
  readonly ran: number;
  readonly recorded: readonly Recorded[];
  readonly requests: readonly Requested[];
  readonly marks: number;
  readonly table: boolean;
};

/** Record, then act. */
function* unrecorded({ kind, result }: Round, { ran, recorded, marks }: Facts): Generator<string> {
  const script = KINDS[kind];
  const needed = Math.ceil((ran * script.intents) / script.lines);
  const excused = script.read && result === 0 && recorded.length === 0;
  if (recorded.length < needed && !excused)
    yield `the server ran ${ran} and the log has ${recorded.length} of ${needed}`;
  if (result > 0 && recorded.length === 0)
    yield `${result} frames of its result left, and the log knows nothing of it`;
  if (marks > 0 && recorded.length === 0) yield 'it left its rows, and the log knows nothing of it';
}

/** What the log says happened. */
function* untrue(
  { kind, completed }: Round,
  { ran, recorded, marks, table }: Facts,
  { databasesWereAway }: Weather,
): Generator<string> {
  const script = KINDS[kind];
  for (const { outcome, decision, reasons } of recorded) {
    if (outcome === null) yield 'its outcome is missing';
    if (outcome === 'executed' && ran === 0) yield 'the log says executed, and the server never saw it';
    // Nothing flows that no budget can be had for, and the audit database keeps them.
    const hadNoBudget = databasesWereAway && reasons?.some((reason) => reason.startsWith(NO_BUDGET)) === true;
    if (decision === 'deny' && !hadNoBudget) yield `it was denied: ${reasons?.join('; ')}`;
  }
  const outcomes = recorded.map(({ outcome }) => outcome);
  if (completed && !outcomes.some((outcome) => outcome === 'executed' || outcome === 'unknown'))
    yield `the client was told that it is done, and the log says ${outcomes.join(', ') || 'nothing'}`;
  if (marks > script.marks) yield `it ran twice: ${marks} rows`;
  // In a pipeline all is undone where its Sync does not arrive.
  const left = kind === 'ddl' ? table : kind === 'pipeline' || marks >= script.marks;
  if (outcomes.includes('executed') && !left) yield 'the log says executed, and nothing of it is there';
  if (
    marks > 0 &&
    recorded.length > 0 &&
    outcomes.every((outcome) => outcome !== null && UNDONE.has(outcome))
  )
    yield `the log says ${outcomes.join(', ')}, and it left its rows`;
  if (ran > 0 && recorded.length > 0 && outcomes.every((outcome) => outcome !== null && UNSENT.has(outcome)))
    yield `the log says ${outcomes.join(', ')}, and the server ran it`;
}

const NO_BUDGET = 'its budget could not be asked';
const UNSENT: ReadonlySet<string> = new Set(['denied', 'expired', 'withdrawn']);
const UNDONE: ReadonlySet<string> = new Set(['failed', ...UNSENT]);

/** One approval, one release; no verdict lost. */
function* unapproved({ kind }: Round, { ran, requests }: Facts): Generator<string> {
  let releases = 0;
  for (const request of requests) {
    releases += request.releases;
    if (request.releases > 1) yield `request ${request.id} was released ${request.releases} times`;
    if (request.verdicts !== request.told_verdicts)
      yield `${request.verdicts} verdicts are stored, and the log has ${request.told_verdicts}`;
    const approved = request.state !== 'open' && request.state !== 'withdrawn';
    if (approved && request.told_approvals !== 1)
      yield `it is ${request.state}, and the log has ${request.told_approvals} approvals`;
    if (request.state === 'consumed') yield 'its request is still consumed: nobody says how it ended';
    if (request.state === 'executed' && ran === 0)
      yield 'its request says executed, and the server never saw it';
  }
  if (KINDS[kind].asked === 'before' && ran > releases) yield `it ran ${ran} times on ${releases} releases`;
}
