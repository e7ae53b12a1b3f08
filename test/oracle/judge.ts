import pg from 'pg';
import type { Analyser } from '../../src/analyser/analyser.ts';
import { clarify } from '../../src/catalog/clarify.ts';
import { openSideConnection, type SideConnection } from '../../src/catalog/side.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { analyse } from '../../src/statement/analyse.ts';
import type { Analysis, NameScope } from '../../src/statement/analysis.ts';
import type { Answers } from '../../src/statement/answers.ts';
import type { Catalog } from '../../src/statement/catalog.ts';
import type { ParseResult } from '../../src/statement/parse-result.ts';
import type { Candidate } from './candidate.ts';
import type { Laboratory } from './laboratory.ts';
import { flows } from './verdict.ts';

export const LIMITS = DEFAULT_LIMITS;

/** A string with both judgements of it. */
export type Judged = {
  readonly candidate: Candidate;
  readonly parse: ParseResult;
  /** By text and catalog alone. */
  readonly analysis: Analysis;
  /** With what the server says about it; null: nothing was in doubt, or it had no answer. */
  readonly clarified: Clarified | null;
};

export type Clarified = { readonly analysis: Analysis; readonly answers: Answers };

/** Side connections to ask on: an answer takes several round trips, so that one would wait for most of the time. */
const SIDES = 8;
/** Milliseconds; nobody waits here, and the machine may be busy. */
const PROBE_MS = 20_000;

/** Judges strings as the proxy does, by text and catalog, and then with the server's answers. */
export class Judge {
  readonly catalog: Catalog;
  readonly #analyser: Analyser;
  readonly #sides: readonly SideConnection[];
  #asked = 0;
  /** Questions that the server did not answer in time. */
  unanswered = 0;

  constructor(laboratory: Laboratory, analyser: Analyser) {
    this.catalog = laboratory.catalog;
    this.#analyser = analyser;
    const [bench] = laboratory.benches;
    if (bench === undefined) throw new RangeError('a laboratory without a bench');
    const connect = async () => {
      const client = new pg.Client({ connectionString: bench.url });
      await client.connect();
      return client;
    };
    this.#sides = Array.from({ length: SIDES }, () =>
      openSideConnection({ connect, limits: { probeMs: PROBE_MS }, queue: 10_000 }),
    );
  }

  async first(candidate: Candidate): Promise<Judged> {
    const bytes = Buffer.from(candidate.sql);
    const analyser = this.#analyser;
    const parse = analyser.needsWorker(bytes) ? await analyser.parseLater(bytes) : analyser.parse(bytes);
    return { candidate, parse, analysis: judged(parse, this.catalog, candidate), clarified: null };
  }

  /** As the session does: only about what would wait otherwise. */
  async second(one: Judged): Promise<Judged> {
    const { candidate, parse, analysis } = one;
    if (!isInDoubt(one)) return one;
    const side = this.#sides[this.#asked++ % SIDES];
    if (side === undefined) return one;
    let last: Answers = [];
    const again = async (answers: Answers) => {
      last = answers;
      return judged(parse, this.catalog, candidate, answers);
    };
    const clarified = await clarify(Buffer.from(candidate.sql), analysis, null, side, again, () => {
      this.unanswered += 1;
    });
    return { ...one, clarified: clarified === null ? null : { analysis: clarified, answers: last } };
  }

  async close(): Promise<void> {
    await Promise.all(this.#sides.map((side) => side.close()));
  }
}

export function isInDoubt({ analysis }: Judged): boolean {
  return !flows(analysis) && !analysis.changesPinned && analysis.statements.some((s) => s.doubt !== null);
}

/** The analysis of a parsed string with that catalog. */
export function judged(
  parse: ParseResult,
  catalog: Catalog,
  { searchPath }: Candidate,
  answers: Answers = [],
): Analysis {
  const scope: NameScope = { searchPath, tempPossible: false };
  return analyse(parse, catalog, scope, LIMITS, null, answers);
}
