import type { ParseResult } from '../../src/statement/parse-result.ts';
import type { DatabaseFacts } from './catalog-facts.ts';
import { Coverage } from './coverage.ts';
import { isInDoubt, type Judged, LIMITS } from './judge.ts';
import type { Outcome } from './server.ts';
import { changeOf, flows, isHarmless, type Violation, violations } from './verdict.ts';

/** A violation, with the string and by which judgement. */
export type Found = Violation & {
  readonly sql: string;
  readonly searchPath: readonly string[];
  readonly by: 'catalog' | 'answers';
};

/** What a campaign has seen. */
export class Tally {
  statements = 0;
  ran = 0;
  flowed = 0;
  harmless = 0;
  harmlessHeld = 0;
  /** Not run: they would have ended their transaction. */
  skipped = 0;
  /** Something about them was in doubt; the server had answers; with these they flow; and they ran. */
  doubted = 0;
  clarified = 0;
  clarifiedFlowed = 0;
  clarifiedRan = 0;
  unanswered = 0;
  readonly bySource = new Map<string, { all: number; ran: number }>();
  readonly errors = new Map<string, number>();
  readonly tags = new Map<string, number>();
  readonly heldReasons = new Map<string, number>();
  readonly found: Found[] = [];
  readonly coverage = new Coverage();
  /** Planted mistakes: after how many statements each was found. */
  readonly planted = new Map<string, number>();

  see(parse: ParseResult): void {
    this.coverage.see(parse);
  }

  count(one: Judged, outcome: Outcome, facts: DatabaseFacts): void {
    const { candidate, analysis, clarified } = one;
    this.statements += 1;
    const source = this.bySource.get(candidate.source) ?? { all: 0, ran: 0 };
    this.bySource.set(candidate.source, source);
    source.all += 1;
    const flowed = flows(analysis);
    const flowedLater = clarified !== null && flows(clarified.analysis);
    if (flowed) this.flowed += 1;
    if (isInDoubt(one)) this.doubted += 1;
    if (clarified !== null) this.clarified += 1;
    if (flowedLater) this.clarifiedFlowed += 1;
    if (outcome.error === null) {
      this.ran += 1;
      source.ran += 1;
      if (flowedLater) this.clarifiedRan += 1;
    } else {
      const message = outcome.error.message.replace(/"[^"]*"/g, '"…"').slice(0, 60);
      bump(this.errors, `${outcome.error.code} ${message}`);
    }
    for (const tag of outcome.tags) bump(this.tags, tag.replace(/( \d+)+$/, ''));
    this.#judge(one, outcome, facts, flowed || flowedLater);
  }

  #judge(
    { candidate, analysis, clarified }: Judged,
    outcome: Outcome,
    facts: DatabaseFacts,
    flowed: boolean,
  ) {
    const change = changeOf(outcome);
    if (isHarmless(outcome, change, LIMITS)) {
      this.harmless += 1;
      const last = clarified?.analysis ?? analysis;
      if (!flowed) {
        this.harmlessHeld += 1;
        bump(this.heldReasons, `${last.class}: ${(last.reasons[0] ?? '').slice(0, 70)}`);
      }
    }
    const { sql, searchPath } = candidate;
    for (const violation of violations(analysis, outcome, change, facts, LIMITS))
      this.found.push({ ...violation, sql, searchPath, by: 'catalog' });
    if (clarified === null) return;
    for (const violation of violations(clarified.analysis, outcome, change, facts, LIMITS))
      this.found.push({ ...violation, sql, searchPath, by: 'answers' });
  }

  /** The earliest counts, whatever was looked at first. */
  foundPlanted(name: string, after: number): void {
    this.planted.set(name, Math.min(after, this.planted.get(name) ?? Number.POSITIVE_INFINITY));
  }
}

function bump(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
