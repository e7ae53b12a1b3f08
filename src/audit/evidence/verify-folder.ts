import type { SignedCheckpoint } from '../checkpoints/checkpoint.ts';
import type { Finding } from '../verify/finding.ts';
import type { UpkeepRow } from '../verify/gone.ts';
import { type Jwks, noteKeys, trustIn } from '../verify/trusted-keys.ts';
import type { Keys, NamedEnd, StoredRow } from '../verify/verify.ts';
import { TreeVerifier } from '../verify/verify-tree.ts';
import { checkFiles, type FileProblem, Lines, NoEvidence, readText } from './folder.ts';
import { EvidenceGone, type LeansOn } from './gone.ts';
import { EvidenceLeaves } from './leaves.ts';
import {
  type BatchLine,
  parseBatch,
  parseCheckpointLine,
  parseEntry,
  parseLeaf,
  parseStream,
  type StreamLine,
} from './lines.ts';
import { parsePeriod } from './manifest.ts';
import { EvidenceStatements } from './statements.ts';
import { EvidenceStream, type StreamFinding } from './stream.ts';
import type { Period } from './views.ts';

/**
 * Beside those of the log, `file`: a file is missing, changed, or not what it should be; `range`: entries of the period
 * may be left out; `view`: a CSV does not say what the entries say.
 */
export type EvidenceCheck = Finding['check'] | 'file' | 'range' | 'view';
export type EvidenceFinding = Omit<Finding, 'check'> & {
  readonly check: EvidenceCheck;
  /** Within the folder. */
  readonly file: string;
  /** From 1. */
  readonly line: number | null;
};

export type EvidenceResult = {
  readonly period: Period;
  readonly findings: readonly EvidenceFinding[];
  /** Every check was made and nothing was found. */
  readonly whole: boolean;
  readonly altered: boolean;
  /** The keys came from the folder itself. */
  readonly keysFromLog: boolean;
  /** Entries that were looked at. */
  readonly rows: number;
  readonly streams: number;
};

export type EvidenceSource = {
  readonly directory: string;
  /** The installation's public keys, from elsewhere. Left out: the folder's own. */
  readonly keys?: Jwks | undefined;
  /** A checkpoint that was kept elsewhere. */
  readonly checkpoint?: SignedCheckpoint | undefined;
};

/**
 * Checks a folder that `writeEvidence` made, by itself: no database, no network. Everything in it is
 * attacker-controlled. Memory: some bytes for each batch of the log, and the entries of one. Throws `NoEvidence`.
 */
export async function verifyEvidence(source: EvidenceSource): Promise<EvidenceResult> {
  const period = parsePeriod(await readText(source.directory, 'manifest.json'));
  if (period === null) throw new NoEvidence('manifest.json is none of an evidence folder of this form');
  const check = new EvidenceVerifier(source, period);
  return await check.result();
}

class EvidenceVerifier {
  readonly #source: EvidenceSource;
  readonly #period: Period;
  readonly #findings: EvidenceFinding[] = [];
  readonly #leaves = new EvidenceLeaves();
  readonly #named: NamedEnd[] = [];
  #rows = 0;

  constructor(source: EvidenceSource, period: Period) {
    this.#source = source;
    this.#period = period;
  }

  async result(): Promise<EvidenceResult> {
    const { problems, readable } = await checkFiles(this.#source.directory);
    for (const problem of problems) this.#problem(problem);
    const streams = readable ? await this.#checkLog() : 0;
    return {
      period: this.#period,
      findings: this.#findings,
      whole: this.#findings.every(({ ok }) => ok === true),
      altered: this.#findings.some(({ ok }) => ok === false),
      keysFromLog: this.#source.keys === undefined,
      rows: this.#rows,
      streams,
    };
  }

  async #checkLog(): Promise<number> {
    const streams = await this.#lines('log/streams.jsonl', parseStream).all();
    const jwks = this.#source.keys ?? (await this.#ownKeys());
    const { keys, known, findings } = trustIn(jwks, streams);
    for (const finding of findings) this.#found('log/streams.jsonl', null, finding);
    await this.#readLeaves();
    await this.#checkStreams(streams, keys);
    this.#checkNamedEnds(streams);
    await this.#checkTree(noteKeys(known), keys);
    return streams.length;
  }

  async #readLeaves(): Promise<void> {
    const lines = this.#lines('log/leaves.jsonl', parseLeaf);
    for (let leaf = await lines.take(); leaf !== null; leaf = await lines.take()) {
      const problem = this.#leaves.add(leaf);
      if (problem === null) continue;
      this.#found(lines.file, lines.number, tree(null, null, problem));
      return;
    }
  }

  /** Streams, batches and entries are in one order: each stream's batches, and to each the entries that there are. */
  async #checkStreams(streams: readonly StreamLine[], keys: Keys): Promise<void> {
    const batches = this.#lines('log/batches.jsonl', parseBatch);
    const entries = this.#lines('log/entries.jsonl', parseEntry);
    const gone = new EvidenceGone(await this.#lines(UPKEEP, parseEntry).all());
    const leans = new Map<string, LeansOn>();
    const statements = new EvidenceStatements(this.#source.directory, this.#period, (problem) =>
      this.#found('views/statements.csv', problem.line, { ...problem, check: 'view', ok: false }),
    );
    for (const { stored } of streams) {
      await this.#skipStrays(batches, entries, stored.stream);
      const stream = new EvidenceStream(stored, keys, this.#period, gone.of(stored.stream));
      for (
        let batch = await next(batches, stored.stream);
        batch !== null;
        batch = await next(batches, stored.stream)
      ) {
        const { toSeq } = batch;
        const problem = this.#leaves.claim(batch);
        if (problem !== null)
          this.#found(batches.file, batches.number, tree(batch.stream, batch.fromSeq, problem));
        stream.batch(batch, ((await peekRow(entries, stored.stream))?.row.seq ?? toSeq + 1n) <= toSeq);
        this.#take(stream, batches);
        await this.#rowsTo(stream, entries, stored.stream, { statements, gone }, toSeq);
      }
      await this.#rowsTo(stream, entries, stored.stream, { statements, gone }, null);
      stream.end();
      this.#take(stream, entries, false);
      leans.set(stored.stream, stream.leansOn);
      this.#named.push(...stream.namedEnds);
    }
    await this.#skipStrays(batches, entries, null);
    await statements.end();
    for (const { line, entry } of gone.unproved(leans)) this.#found(UPKEEP, line, unproved(entry));
    for (const index of this.#leaves.unclaimed())
      this.#found('log/leaves.jsonl', index + 1, tree(null, null, `the batch of leaf ${index} is missing`));
  }

  /** Hands over a stream's rows up to that number; null: all that there are. */
  async #rowsTo(
    stream: EvidenceStream,
    entries: Lines<StoredRow>,
    name: string,
    { statements, gone }: { readonly statements: EvidenceStatements; readonly gone: EvidenceGone },
    to: bigint | null,
  ): Promise<void> {
    for (let row = await peekRow(entries, name); row !== null; row = await peekRow(entries, name)) {
      if (to !== null && row.row.seq > to) return;
      await entries.take();
      this.#rows += 1;
      stream.row(row);
      this.#take(stream, entries);
      gone.verified(row.row);
      await statements.entry(row);
    }
  }

  /** Lines of streams that come before that one, and are not registered, or out of order; null: all that are left. */
  async #skipStrays(
    batches: Lines<BatchLine>,
    entries: Lines<StoredRow>,
    before: string | null,
  ): Promise<void> {
    const told = new Set<string>();
    const skip = async <T>(lines: Lines<T>, streamOf: (one: T) => string) => {
      for (let one = await lines.peek(); one !== null; one = await lines.peek()) {
        const stream = streamOf(one);
        if (before !== null && stream >= before) return;
        await lines.take();
        if (told.has(stream)) continue;
        told.add(stream);
        const detail = 'lines of a stream that is not registered, or not in order';
        this.#found(lines.file, lines.number, { stream, seq: null, check: 'head', ok: false, detail });
      }
    };
    await skip(batches, ({ stream }) => stream);
    await skip(entries, ({ row }) => row.stream);
  }

  /** Ends that streams name for the streams before them, against the heads, which the batches have been held against. */
  #checkNamedEnds(streams: readonly StreamLine[]): void {
    const heads = new Map(streams.map(({ stored }) => [stored.stream, stored]));
    for (const { by, stream, seq, hash } of this.#named) {
      const head = heads.get(stream);
      if (
        head !== undefined &&
        (seq < head.headSeq || (seq === head.headSeq && head.headHash.toString('hex') === hash))
      )
        continue;
      const detail =
        head === undefined || seq > head.headSeq
          ? `the row is missing: stream ${by} names it as the end of the one before`
          : `not the row that stream ${by} names as the end of the one before`;
      this.#found('log/streams.jsonl', null, { stream, seq, check: 'head', ok: false, detail });
    }
  }

  async #checkTree(known: ReturnType<typeof noteKeys>, { trusted }: Keys): Promise<void> {
    const lines = this.#lines('log/checkpoints.jsonl', parseCheckpointLine);
    const verifier = new TreeVerifier(await lines.all(), this.#source.checkpoint ?? null, known, trusted);
    for (let i = 0; i < this.#leaves.count; i += 1) {
      const hash = Buffer.from(this.#leaves.hash(i));
      verifier.leaf({ index: BigInt(i), stream: '', fromSeq: 0n, hash, computed: hash });
    }
    verifier.end();
    for (const finding of verifier.findings) this.#found(lines.file, null, finding);
  }

  async #ownKeys(): Promise<Jwks> {
    try {
      const value: unknown = JSON.parse(await readText(this.#source.directory, 'keys.json'));
      const list = (name: string): Jwks['keys'] => {
        const keys: unknown = Reflect.get(Object(value), name) ?? [];
        if (!Array.isArray(keys)) throw new RangeError(`${name} is no list`);
        return keys.filter((one) => typeof one === 'object' && one !== null);
      };
      return { keys: list('keys'), revoked: list('revoked') };
    } catch {
      throw new NoEvidence('keys.json is no JWK set: give the public keys with --keys');
    }
  }

  #lines<T>(file: string, parse: (line: string) => T): Lines<T> {
    return new Lines(this.#source.directory, file, parse, (problem) => this.#problem(problem));
  }

  #take(stream: EvidenceStream, { file, number }: Lines<unknown>, atLine = true): void {
    for (const finding of stream.taken()) this.#found(file, atLine ? number : null, finding);
  }

  #found(file: string, line: number | null, finding: Omit<EvidenceFinding, 'file' | 'line'>): void {
    this.#findings.push({ ...finding, file, line });
  }

  #problem({ file, line, detail }: FileProblem): void {
    this.#findings.push({ file, line, stream: null, seq: null, check: 'file', ok: false, detail });
  }
}

/** It may be forged: what leans on it is neither whole nor altered. */
function unproved({ stream, seq, kind }: UpkeepRow): StreamFinding {
  const check = kind === 'retention' ? 'retention' : 'redaction';
  const detail = `what is not there is accounted for by this entry of ${kind}, which is not of the period: that it is of the log was not checked here`;
  return { stream, seq, check, ok: null, detail };
}

function tree(stream: string | null, seq: bigint | null, detail: string): StreamFinding {
  return { stream, seq, check: 'tree', ok: false, detail };
}

async function next(lines: Lines<BatchLine>, stream: string): Promise<BatchLine | null> {
  return (await lines.peek())?.stream === stream ? await lines.take() : null;
}

async function peekRow(lines: Lines<StoredRow>, stream: string): Promise<StoredRow | null> {
  const row = await lines.peek();
  return row?.row.stream === stream ? row : null;
}

const UPKEEP = 'log/upkeep.jsonl';
