import type { Limits } from '../config/limits.ts';
import type { SecondReading } from '../statement/second-opinion.ts';
import { UNREAD } from '../statement/second-opinion.ts';
import { secondProgram } from './second-program.ts';
import { ParserWorker } from './worker.ts';

export type SecondParserLimits = Pick<Limits, 'inlineParseBytes' | 'secondOpinionMs' | 'secondOpinions'>;

/** How another grammar reads a text. The texts are attacker-controlled; what it cannot read in time is `unread`. */
export type SecondParser = {
  /** What is known already; undefined: `read` has to be asked. */
  readonly known: (sql: Buffer) => SecondReading | undefined;
  /** On another thread, at most `secondOpinionMs` (milliseconds) once it is its turn. */
  readonly read: (sql: Buffer) => Promise<SecondReading>;
  readonly close: () => Promise<void>;
};

/**
 * Its thread starts with the first text. A grammar with back-tracking can take exponential time: what is long is not
 * shown to it, and a text that takes too long costs the thread its life.
 */
export function createSecondParser(limits: SecondParserLimits): SecondParser {
  const worker = new ParserWorker(secondProgram, limits.secondOpinionMs);
  const readings = new Map<string, SecondReading>();

  const known = (sql: Buffer): SecondReading | undefined => {
    if (sql.length > limits.inlineParseBytes || sql.includes(0)) return UNREAD;
    const key = sql.toString('latin1');
    const reading = readings.get(key);
    if (reading === undefined) return undefined;
    // The least recently used goes first.
    readings.delete(key);
    readings.set(key, reading);
    return reading;
  };
  return {
    known,
    read: async (sql) => {
      const before = known(sql);
      if (before !== undefined) return before;
      const answer = await worker.parse(sql.toString('utf8'));
      const reading = answer.kind === 'read' ? answer : UNREAD;
      readings.set(sql.toString('latin1'), reading);
      for (const oldest of readings.keys()) {
        if (readings.size <= limits.secondOpinions) break;
        readings.delete(oldest);
      }
      return reading;
    },
    close: () => worker.close(),
  };
}
