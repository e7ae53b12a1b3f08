import type { Analyser } from '../../src/analyser/analyser.ts';
import type { ParseResult } from '../../src/statement/parse-result.ts';
import type { Candidate } from './candidate.ts';
import { Judge, type Judged, judged, LIMITS } from './judge.ts';
import type { Bench, Laboratory } from './laboratory.ts';
import type { Planted } from './planted.ts';
import { type Outcome, type Run, Server } from './server.ts';
import type { Tally } from './tally.ts';
import { changeOf, violations } from './verdict.ts';

export type CampaignOptions = {
  readonly planted?: readonly Planted[];
  /** The server gives up a statement that takes longer, milliseconds: a join of everything with everything. */
  readonly statementMs: number;
};

/** Statements that are sent before the first answer is waited for. */
const BATCH = 64;
/** For each bench: one batch runs while others are made and judged, so that the server never waits. */
const BATCHES_AHEAD = 3;
const VACUUM_EVERY = 5_000;

type Batch = { readonly first: number; readonly strings: readonly Judged[] };

/** Analyses, runs and compares; as many statements as `next` gives, which are the same for the same seed. */
export async function campaign(
  laboratory: Laboratory,
  analyser: Analyser,
  next: () => Candidate | null,
  tally: Tally,
  options: CampaignOptions,
): Promise<void> {
  const judge = new Judge(laboratory, analyser);
  const batches = new Batches(next, judge, tally);
  /** Where a look took too long (a busy machine), once more at the end. */
  const repeated: Judged[] = [];
  const work = async (bench: Bench, server: Server): Promise<void> => {
    let sinceVacuum = 0;
    for (;;) {
      const batch = await batches.take();
      if (batch.strings.length === 0) return;
      const strings = await Promise.all(batch.strings.map((one) => judge.second(one)));
      const outcomes = await server.run(strings.map(toRun));
      settle({ first: batch.first, strings }, outcomes);
      sinceVacuum += strings.length;
      if (sinceVacuum < VACUUM_EVERY / BATCHES_AHEAD) continue;
      sinceVacuum = 0;
      await server.alone(bench.vacuum);
    }
  };
  const settle = ({ first, strings }: Batch, outcomes: readonly Outcome[]): void => {
    for (const [at, one] of strings.entries()) {
      const outcome = outcomes[at];
      if (outcome === undefined) continue;
      if (isUnseen(outcome)) repeated.push(one);
      else tally.count(one, outcome, laboratory.facts);
      for (const mistake of isUnseen(outcome) ? [] : (options.planted ?? []))
        if (first + at + 1 < (tally.planted.get(mistake.name) ?? Number.POSITIVE_INFINITY))
          if (finds(mistake, one, outcome, laboratory)) tally.foundPlanted(mistake.name, first + at + 1);
    }
  };
  const servers = laboratory.benches.map((bench) => Server.connect(bench.url, setUp(options.statementMs)));
  try {
    await Promise.all(
      laboratory.benches.flatMap((bench, at) => {
        const server = servers[at];
        return server === undefined ? [] : Array.from({ length: BATCHES_AHEAD }, () => work(bench, server));
      }),
    );
    for (const one of repeated)
      for (const outcome of (await servers[0]?.run([toRun(one)])) ?? [])
        tally.count(one, outcome, laboratory.facts);
  } finally {
    for (const server of servers) await server.close();
    tally.unanswered += judge.unanswered;
    await judge.close();
  }
}

function setUp(statementMs: number): string {
  return `SET statement_timeout = ${statementMs}; SET lock_timeout = 100; SET client_min_messages = 'error';
    SET max_parallel_workers_per_gather = 0; SET jit = off`;
}

/** Strings in the order in which they are made, whoever takes them. */
class Batches {
  readonly #next: () => Candidate | null;
  readonly #judge: Judge;
  readonly #tally: Tally;
  #turn: Promise<unknown> = Promise.resolve();
  #made = 0;

  constructor(next: () => Candidate | null, judge: Judge, tally: Tally) {
    this.#next = next;
    this.#judge = judge;
    this.#tally = tally;
  }

  /** Empty: there are no more. */
  take(): Promise<Batch> {
    const made = this.#turn.then(() => this.#make());
    this.#turn = made;
    return made;
  }

  async #make(): Promise<Batch> {
    const strings: Judged[] = [];
    while (strings.length < BATCH) {
      const candidate = this.#next();
      if (candidate === null) break;
      const one = await this.#judge.first(candidate);
      this.#tally.see(one.parse);
      if (endsTransaction(one.parse)) this.#tally.skipped += 1;
      else strings.push(one);
    }
    const first = this.#made;
    this.#made += strings.length;
    return { first, strings };
  }
}

function isUnseen({ error, status, before, after }: Outcome): boolean {
  return before === null || (error === null && status === 'T' && after === null);
}

/** With every setting where the text looks as if it changed one. */
function toRun({ candidate }: Judged): Run {
  const rest = candidate.sql.replace(/\bupdate\b[^;]*?\bset\b/gi, '');
  return { ...candidate, whole: /config|\bset\b/i.test(rest) };
}

/** Would a planted mistake be seen in this outcome, in one judgement or the other? */
function finds(
  mistake: Planted,
  { parse, candidate, clarified }: Judged,
  outcome: Outcome,
  { catalog: real, facts }: Laboratory,
): boolean {
  const catalog = mistake.catalog?.(real) ?? real;
  const shows = (answers: Parameters<typeof judged>[3]): boolean => {
    const analysis = judged(parse, catalog, candidate, answers);
    const mistaken = mistake.analysis?.(analysis) ?? analysis;
    return violations(mistaken, outcome, changeOf(outcome), facts, LIMITS).length > 0;
  };
  return shows([]) || (clarified !== null && shows(clarified.answers));
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
