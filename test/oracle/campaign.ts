import type { Analyser } from '../../src/analyser/analyser.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { analyse } from '../../src/statement/analyse.ts';
import type { Analysis, NameScope } from '../../src/statement/analysis.ts';
import type { Catalog } from '../../src/statement/catalog.ts';
import type { ParseResult } from '../../src/statement/parse-result.ts';
import { Coverage } from './coverage.ts';
import type { Laboratory } from './laboratory.ts';
import type { Planted } from './planted.ts';
import { type Outcome, Server } from './server.ts';
import { changeOf, flows, isHarmless, type Violation, violations } from './verdict.ts';

/** A string to be run; `data`: what a COPY FROM STDIN in it is given. */
export type Candidate = { readonly sql: string; readonly source: string; readonly data?: string };

export type Found = Violation & { readonly sql: string; readonly searchPath: readonly string[] };

export type Tally = {
  statements: number;
  ran: number;
  flowed: number;
  flowedAndRan: number;
  harmless: number;
  harmlessHeld: number;
  skipped: number;
  readonly bySource: Map<string, { all: number; ran: number }>;
  readonly errors: Map<string, number>;
  readonly tags: Map<string, number>;
  readonly heldReasons: Map<string, number>;
  readonly found: Found[];
  readonly coverage: Coverage;
  /** Planted mistakes: after how many statements each was found. */
  readonly planted: Map<string, number>;
};

export function newTally(): Tally {
  return {
    statements: 0,
    ran: 0,
    flowed: 0,
    flowedAndRan: 0,
    harmless: 0,
    harmlessHeld: 0,
    skipped: 0,
    bySource: new Map(),
    errors: new Map(),
    tags: new Map(),
    heldReasons: new Map(),
    found: [],
    coverage: new Coverage(),
    planted: new Map(),
  };
}

/** Statements that are sent before the first answer is waited for. */
const BATCH = 64;
const VACUUM_EVERY = 10_000;
const LIMITS = DEFAULT_LIMITS;

const SETUP = (path: readonly string[]) => `
SET search_path = ${path.join(', ')};
SET statement_timeout = '5s'; SET lock_timeout = '200ms'; SET client_min_messages = 'error';
SET max_parallel_workers_per_gather = 0; SET jit = off; SET track_functions = 'all'`;

type Judged = { readonly candidate: Candidate; readonly parse: ParseResult; readonly analysis: Analysis };

/** Analyses, runs and compares; as many statements as `next` gives. */
export async function campaign(
  laboratory: Laboratory,
  analyser: Analyser,
  searchPath: readonly string[],
  next: () => Candidate | null,
  tally: Tally,
  planted: readonly Planted[] = [],
): Promise<void> {
  const server = Server.connect(laboratory.url, SETUP(searchPath).replace("SET track_functions = 'all'", ''));
  const scope: NameScope = { searchPath, tempPossible: false };
  let sinceVacuum = 0;
  /** Where a look took too long (a busy machine), once more at the end. */
  const repeated: Judged[] = [];
  try {
    let running: { judged: Judged[]; outcomes: Promise<Outcome[]> } | null = null;
    for (;;) {
      // While the server works on a batch the next one is made and judged.
      const judged = await batch(next, laboratory, analyser, scope, tally);
      const done: typeof running = running;
      const outcomes: Outcome[] = done === null ? [] : await done.outcomes;
      running = judged.length === 0 ? null : { judged, outcomes: server.run(judged.map(toRun)) };
      for (const [at, one] of (done?.judged ?? []).entries()) {
        const outcome = outcomes[at];
        if (outcome === undefined) continue;
        if (unseen(outcome)) repeated.push(one);
        else count(one, outcome, laboratory, searchPath, tally);
        for (const mistake of unseen(outcome) ? [] : planted)
          if (!tally.planted.has(mistake.name) && finds(mistake, one, outcome, laboratory, scope))
            tally.planted.set(mistake.name, tally.statements);
      }
      if (running === null) break;
      sinceVacuum += judged.length;
      if (sinceVacuum >= VACUUM_EVERY) {
        sinceVacuum = 0;
        await laboratory.vacuum();
      }
    }
    for (const one of repeated) {
      const [outcome] = await server.run([toRun(one)]);
      if (outcome !== undefined) count(one, outcome, laboratory, searchPath, tally);
    }
  } finally {
    await server.close();
  }
}

function unseen({ error, status, before, after }: Outcome): boolean {
  return before === null || (error === null && status === 'T' && after === null);
}

/** With every setting where the text looks as if it changed one. */
function toRun({ candidate }: Judged) {
  return { ...candidate, whole: /config|\bset\b/i.test(candidate.sql) };
}

async function batch(
  next: () => Candidate | null,
  laboratory: Laboratory,
  analyser: Analyser,
  scope: NameScope,
  tally: Tally,
): Promise<Judged[]> {
  const judged: Judged[] = [];
  while (judged.length < BATCH) {
    const candidate = next();
    if (candidate === null) break;
    const one = await judge(candidate, analyser, laboratory.catalog, scope);
    tally.coverage.see(one.parse);
    if (endsTransaction(one.parse)) tally.skipped += 1;
    else judged.push(one);
  }
  return judged;
}

async function judge(
  candidate: Candidate,
  analyser: Analyser,
  catalog: Catalog,
  scope: NameScope,
): Promise<Judged> {
  const bytes = Buffer.from(candidate.sql);
  const parse = analyser.needsWorker(bytes) ? await analyser.parseLater(bytes) : analyser.parse(bytes);
  return { candidate, parse, analysis: analyse(parse, catalog, scope, LIMITS) };
}

/** Would a planted mistake be seen in this outcome? */
function finds(
  mistake: Planted,
  { parse }: Judged,
  outcome: Outcome,
  laboratory: Laboratory,
  scope: NameScope,
): boolean {
  const catalog = mistake.catalog?.(laboratory.catalog) ?? laboratory.catalog;
  const analysis = analyse(parse, catalog, scope, LIMITS);
  const mistaken = mistake.analysis?.(analysis) ?? analysis;
  return violations(mistaken, outcome, changeOf(outcome), laboratory.facts, LIMITS).length > 0;
}

function count(
  { candidate, analysis }: Judged,
  outcome: Outcome,
  laboratory: Laboratory,
  searchPath: readonly string[],
  tally: Tally,
): void {
  tally.statements += 1;
  const source = tally.bySource.get(candidate.source) ?? { all: 0, ran: 0 };
  tally.bySource.set(candidate.source, source);
  source.all += 1;
  const flowed = flows(analysis);
  if (flowed) tally.flowed += 1;
  if (outcome.error === null) {
    tally.ran += 1;
    source.ran += 1;
    if (flowed) tally.flowedAndRan += 1;
  } else {
    const message = outcome.error.message.replace(/"[^"]*"/g, '"…"').slice(0, 60);
    bump(tally.errors, `${outcome.error.code} ${message}`);
  }
  for (const tag of outcome.tags) bump(tally.tags, tag.replace(/( \d+)+$/, ''));
  const change = changeOf(outcome);
  if (isHarmless(outcome, change, LIMITS)) {
    tally.harmless += 1;
    if (!flowed) {
      tally.harmlessHeld += 1;
      bump(tally.heldReasons, `${analysis.class}: ${(analysis.reasons[0] ?? '').slice(0, 70)}`);
    }
  }
  for (const violation of violations(analysis, outcome, change, laboratory.facts, LIMITS))
    tally.found.push({ ...violation, sql: candidate.sql, searchPath });
}

function bump(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/**
 * A string that ends the transaction and goes on would leave its traces in the database: it is not run. Where the
 * grammar does not read the text, by its words.
 */
function endsTransaction(parse: ParseResult): boolean {
  if (parse.kind === 'error')
    return (
      /\b(commit|end|abort|rollback|prepare\s+transaction)\b/i.test(parse.sql.toString('utf8')) ||
      parse.sql.includes(0)
    );
  return parse.statements.some(({ node }) => {
    const kind = (node as { TransactionStmt?: { kind?: string } }).TransactionStmt?.kind ?? '';
    // What is prepared outlives the session.
    return kind === 'TRANS_STMT_PREPARE' || (parse.statements.length > 1 && /COMMIT|ROLLBACK$/.test(kind));
  });
}
