import { isUtf8 } from 'node:buffer';
import type { Limits } from '../config/limits.ts';
import type { ParseFailure, ParseResult, PlpgsqlParse } from '../statement/parse-result.ts';
import { grammarProgram } from './grammar-program.ts';
import { loadParser, parseHere, placed, plpgsqlHere } from './parser.ts';
import { commentDepthAtMost, isHeavy } from './scan.ts';
import { ParserWorker } from './worker.ts';

export type AnalyserLimits = Pick<
  Limits,
  | 'statementBytes'
  | 'inlineParseBytes'
  | 'parseMs'
  | 'commentDepth'
  | 'statementNodes'
  | 'textNodes'
  | 'listElements'
>;

/** Postgres' own grammar. The texts are attacker-controlled; nothing here throws because of one. */
export type Analyser = {
  /** On this thread, at once; throws `TypeError` for a text for which `needsWorker` is true. */
  readonly parse: (sql: Buffer) => ParseResult;
  /** On another thread, at most `parseMs` (milliseconds) once it is its turn. */
  readonly parseLater: (sql: Buffer) => Promise<ParseResult>;
  /** Too long or too deeply nested for this thread. */
  readonly needsWorker: (sql: Buffer) => boolean;
  /**
   * A whole CREATE FUNCTION as PL/pgSQL reads it, on this thread, at once; `body` is its body. An error where it cannot
   * be read, is too long, or nested too deeply for this thread.
   */
  readonly parsePlpgsql: (definition: Buffer, body: string) => PlpgsqlParse;
  readonly close: () => Promise<void>;
};

type ReaderFailure = Exclude<ParseFailure, 'syntax' | 'settings'>;

const FAILURES: Readonly<Record<ReaderFailure, string>> = {
  nul: 'the text has a NUL byte, at which a parser would stop reading',
  encoding: 'the text is not valid UTF-8',
  comment_depth: 'comments are nested too deeply to be read',
  size: 'the text is longer than the limit for analysis',
  nodes: 'the text has more parts, or nests them deeper, than the limit for analysis',
  timeout: 'the text took too long to parse',
  fault: 'the parser failed on this text',
};

/** Loads the parser (WASM, about 50 ms). */
export async function loadAnalyser(limits: AnalyserLimits): Promise<Analyser> {
  await loadParser();
  const worker = new ParserWorker(grammarProgram(limits), limits.parseMs);
  // An instance that threw anything but a SqlError may give wrong answers later: then all goes to the worker.
  let inlineBroken = false;

  const needsWorker = (sql: Buffer) => inlineBroken || isHeavy(sql, limits.inlineParseBytes);
  return {
    needsWorker,
    parse(sql) {
      if (needsWorker(sql)) throw new TypeError('this text needs parseLater');
      const refused = refusal(sql, limits);
      if (refused !== null) return refused;
      if (sql.length === 0) return { kind: 'tree', sql, statements: [] };
      try {
        return placed(sql, parseHere(sql.toString('utf8')));
      } catch {
        inlineBroken = true;
        return failure(sql, 'fault');
      }
    },
    async parseLater(sql) {
      const refused = refusal(sql, limits);
      if (refused !== null) return refused;
      if (sql.length === 0) return { kind: 'tree', sql, statements: [] };
      const answer = await worker.parse(sql.toString('utf8'));
      if (answer.kind === 'tree' || answer.kind === 'syntax') return placed(sql, answer);
      return failure(sql, answer.kind);
    },
    parsePlpgsql(definition, body) {
      if (needsWorker(definition)) return { kind: 'error', message: 'it is too long to be read' };
      const refused = refusal(definition, limits);
      if (refused?.kind === 'error') return { kind: 'error', message: refused.message };
      try {
        return plpgsqlHere(definition.toString('utf8'), body);
      } catch {
        inlineBroken = true;
        return { kind: 'error', message: FAILURES.fault };
      }
    },
    close: () => worker.close(),
  };
}

function refusal(sql: Buffer, limits: AnalyserLimits): ParseResult | null {
  if (sql.length > limits.statementBytes) return failure(sql, 'size');
  if (sql.includes(0)) return failure(sql, 'nul');
  if (!isUtf8(sql)) return failure(sql, 'encoding');
  if (commentDepthAtMost(sql) > limits.commentDepth) return failure(sql, 'comment_depth');
  return null;
}

function failure(sql: Buffer, cause: ReaderFailure): ParseResult {
  return { kind: 'error', sql, cause, message: FAILURES[cause], position: null };
}
