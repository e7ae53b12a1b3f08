import { join } from 'node:path';
import type { SignedCheckpoint } from '../checkpoints/checkpoint.ts';
import type { Finding } from '../verify/finding.ts';
import { isUpkeep, type UpkeepRow } from '../verify/gone.ts';
import type { BroughtKey } from '../verify/key-check.ts';
import { checkKeys } from '../verify/registered-keys.ts';
import { checkDigests, type RequestDigest, withoutOpening } from '../verify/request-digests.ts';
import { type Jwks, noteKeys, trustIn } from '../verify/trusted-keys.ts';
import { type Keys, type NamedEnd, namedEnd, type StoredRow } from '../verify/verify.ts';
import { TreeVerifier } from '../verify/verify-tree.ts';
import { linesOf } from './file.ts';
import { checkFiles, type FileProblem, Lines, NoEvidence, readText } from './folder.ts';
import { EvidenceGone } from './gone.ts';
import { EvidenceLeaves } from './leaves.ts';
import {
  BadLine,
  type BatchLine,
  parseBatch,
  parseCheckpointLine,
  parseEntry,
  parseLeaf,
  parseSigningKey,
  parseStream,
  type StreamLine,
} from './lines.ts';
import { parseManifest, type ReadManifest } from './manifest.ts';
import { NamedEnds } from './named-ends.ts';
import { EvidenceStatements, STATEMENTS } from './statements.ts';
import { EvidenceStream, type StreamFinding } from './stream.ts';
import type { Period } from './views.ts';

/**
 * Beside those of the log, `file`: a file is missing, changed, or not what it should be; `range`: entries of the period
 * may be left out; `view`: a CSV does not say what the entries say; `log`: what was found when the folder was made.
 */
export type EvidenceCheck = Finding['check'] | 'file' | 'range' | 'view' | 'log';
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
  /** What entries of the log account for: rows that retention dropped, of whatever time, and texts of entries here that were erased. */
  readonly gone: { readonly dropped: number; readonly redacted: number };
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
 * attacker-controlled. Memory: some bytes for each batch of the log, what entries say of keys, requests and upkeep, and
 * the entries of one batch. Throws `NoEvidence`.
 */
export async function verifyEvidence(source: EvidenceSource): Promise<EvidenceResult> {
  const manifest = parseManifest(await readText(source.directory, 'manifest.json'));
  if (manifest === null) throw new NoEvidence('manifest.json is none of an evidence folder of this form');
  const check = new EvidenceVerifier(source, manifest);
  return await check.result();
}

/** What entries say of other entries, read before those are checked. */
type Told = { readonly gone: EvidenceGone; readonly ends: NamedEnds };

class EvidenceVerifier {
  readonly #source: EvidenceSource;
  readonly #manifest: ReadManifest;
  readonly #findings: EvidenceFinding[] = [];
  readonly #leaves = new EvidenceLeaves();
  readonly #upkeep: UpkeepRow[] = [];
  readonly #digests: RequestDigest[] = [];
  readonly #brought: BroughtKey[] = [];
  readonly #gone = { dropped: 0, redacted: 0 };
  #rows = 0;

  constructor(source: EvidenceSource, manifest: ReadManifest) {
    this.#source = source;
    this.#manifest = manifest;
  }

  async result(): Promise<EvidenceResult> {
    const { problems, readable } = await checkFiles(this.#source.directory, this.#manifest.failed);
    for (const problem of problems) this.#problem(problem);
    this.#checkFoundThen();
    const streams = readable ? await this.#checkLog() : 0;
    return {
      period: this.#manifest.period,
      findings: this.#findings,
      whole: this.#findings.every(({ ok }) => ok === true),
      altered: this.#findings.some(({ ok }) => ok === false),
      keysFromLog: this.#source.keys === undefined,
      rows: this.#rows,
      streams,
      gone: this.#gone,
    };
  }

  async #checkLog(): Promise<number> {
    const streams = await this.#lines(STREAMS, parseStream).all();
    const jwks = this.#source.keys ?? (await this.#ownKeys());
    const { keys, known, findings } = trustIn(jwks, streams);
    for (const finding of findings) this.#found(STREAMS, null, finding);
    await this.#readLeaves();
    const told = await this.#told(streams);
    await this.#checkStreams(streams, keys, told);
    const { gone, ends } = told;
    for (const finding of gone.findings(this.#upkeep)) this.#found(ENTRIES, null, finding);
    for (const finding of ends.findings(
      streams.map(({ stored }) => stored),
      gone.of,
    ))
      this.#found(STREAMS, null, finding);
    for (const finding of checkDigests(this.#digests)) this.#found(ENTRIES, null, finding);
    // Retention drops openings like other rows.
    if (this.#gone.dropped === 0)
      for (const finding of withoutOpening(this.#digests)) this.#found(ENTRIES, null, finding);
    await this.#checkRegister();
    await this.#checkTree(noteKeys(known), keys);
    return streams.length;
  }

  async #readLeaves(): Promise<void> {
    const lines = this.#lines(LEAVES, parseLeaf);
    for (let leaf = await lines.take(); leaf !== null; leaf = await lines.take()) {
      const problem = this.#leaves.add(leaf);
      if (problem === null) continue;
      this.#found(lines.file, lines.number, tree(null, null, problem));
      return;
    }
  }

  /** A first look through the entries. They are believed here, and checked when they come by with their streams. */
  async #told(streams: readonly StreamLine[]): Promise<Told> {
    const upkeep: UpkeepRow[] = [];
    const named: NamedEnd[] = [];
    for await (const line of wellFormed(linesOf(join(this.#source.directory, ENTRIES)))) {
      const row = TELLING.test(line) ? rowIn(line) : null;
      if (row === null) continue;
      if (isUpkeep(row.kind)) upkeep.push(row);
      const end = namedEnd(row);
      if (end !== null) named.push(end);
    }
    const gone = new EvidenceGone(upkeep);
    for (const { stored, startedUs } of streams) {
      gone.begins(stored.stream, startedUs);
      this.#gone.dropped += Number(gone.droppedOf(stored.stream));
    }
    return { gone, ends: new NamedEnds(named) };
  }

  /** Streams, batches and entries are in one order: each stream's batches, and to each the entries that there are. */
  async #checkStreams(streams: readonly StreamLine[], keys: Keys, { gone, ends }: Told): Promise<void> {
    const batches = this.#lines(BATCHES, parseBatch);
    const entries = this.#lines(ENTRIES, parseEntry);
    const { period, failed } = this.#manifest;
    const statements = failed.has(STATEMENTS)
      ? null
      : new EvidenceStatements(this.#source.directory, period, (problem) =>
          this.#found(STATEMENTS, problem.line, { ...problem, check: 'view', ok: false }),
        );
    const each = async (row: StoredRow) => {
      gone.row(row.row);
      ends.passes(row.row.stream, row.row.seq, row.hash);
      await statements?.entry(row);
    };
    for (const { stored } of streams) {
      await this.#skipStrays(batches, entries, stored.stream);
      const stream = new EvidenceStream(stored, keys, period, gone.of(stored.stream));
      for (
        let batch = await next(batches, stored.stream);
        batch !== null;
        batch = await next(batches, stored.stream)
      ) {
        const { toSeq } = batch;
        const problem = this.#leaves.claim(batch);
        if (problem !== null)
          this.#found(batches.file, batches.number, tree(batch.stream, batch.fromSeq, problem));
        ends.passes(batch.stream, toSeq, batch.hash);
        stream.batch(batch, ((await peekRow(entries, stored.stream))?.row.seq ?? toSeq + 1n) <= toSeq);
        this.#take(stream, batches);
        await this.#rowsTo(stream, entries, stored.stream, each, toSeq);
      }
      await this.#rowsTo(stream, entries, stored.stream, each, null);
      stream.end();
      this.#take(stream, entries, false);
      this.#gather(stream);
    }
    await this.#skipStrays(batches, entries, null);
    await statements?.end();
    for (const { index, stream, fromSeq } of this.#leaves.unclaimed())
      this.#found(LEAVES, Number(index) + 1, tree(stream, fromSeq, `the batch of leaf ${index} is missing`));
  }

  #gather({ facts: { upkeep, digests, broughtKeys } }: EvidenceStream): void {
    for (const one of upkeep) this.#upkeep.push(one);
    for (const one of digests) this.#digests.push(one);
    for (const one of broughtKeys) this.#brought.push(one);
  }

  /** Hands over a stream's rows up to that number; null: all that there are. */
  async #rowsTo(
    stream: EvidenceStream,
    entries: Lines<StoredRow>,
    name: string,
    each: (row: StoredRow) => Promise<void>,
    to: bigint | null,
  ): Promise<void> {
    for (let row = await peekRow(entries, name); row !== null; row = await peekRow(entries, name)) {
      if (to !== null && row.row.seq > to) return;
      await entries.take();
      this.#rows += 1;
      if (row.content === null && row.row.content !== null) this.#gone.redacted += 1;
      stream.row(row);
      this.#take(stream, entries);
      await each(row);
    }
  }

  /** Lines of streams that come before that one, and are not registered, or out of order; null: all that are left. */
  async #skipStrays(
    batches: Lines<BatchLine>,
    entries: Lines<StoredRow>,
    before: string | null,
  ): Promise<void> {
    const told = new Set<string>();
    const skip = async <T>(
      lines: Lines<T>,
      placeOf: (one: T) => { readonly stream: string; readonly seq: bigint },
    ) => {
      for (let one = await lines.peek(); one !== null; one = await lines.peek()) {
        const { stream, seq } = placeOf(one);
        if (before !== null && stream >= before) return;
        await lines.take();
        if (told.has(`${lines.file} ${stream}`)) continue;
        told.add(`${lines.file} ${stream}`);
        const detail = 'lines of a stream that is not registered, or not in order';
        this.#found(lines.file, lines.number, { stream, seq, check: 'head', ok: false, detail });
      }
    };
    await skip(batches, ({ stream, fromSeq }) => ({ stream, seq: fromSeq }));
    await skip(entries, ({ row }) => row);
  }

  async #checkRegister(): Promise<void> {
    const lines = this.#lines(SIGNING_KEYS, parseSigningKey);
    for (const finding of checkKeys(await lines.all(), this.#brought)) this.#found(lines.file, null, finding);
  }

  async #checkTree(known: ReturnType<typeof noteKeys>, { trusted }: Keys): Promise<void> {
    const lines = this.#lines('log/checkpoints.jsonl', parseCheckpointLine);
    const verifier = new TreeVerifier(await lines.all(), this.#source.checkpoint ?? null, known, trusted);
    for (let i = 0; i < this.#leaves.count; i += 1) {
      const leaf = this.#leaves.at(i);
      const hash = Buffer.from(leaf.hash);
      // Whether its batch fits was seen when the batch claimed it.
      verifier.leaf({ ...leaf, hash, computed: hash });
    }
    verifier.end();
    for (const finding of verifier.findings) this.#found(lines.file, null, finding);
  }

  #checkFoundThen(): void {
    const { found, failed } = this.#manifest;
    for (const [file, error] of failed)
      this.#found(file, null, {
        ...{ stream: null, seq: null, check: 'view', ok: null },
        detail: `the database could not read this view when the folder was made: ${error}`,
      });
    if (found === 'whole') return;
    const detail =
      found === 'altered'
        ? 'the log was found altered when this folder was made: verification/ says where'
        : 'the log was not checked completely when this folder was made: verification/ says why';
    const ok = found === 'altered' ? false : null;
    this.#found('manifest.json', null, { stream: null, seq: null, check: 'log', ok, detail });
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

/** What an entry says; null: it is no line of this form, which is found when it is checked. Attacker-controlled. */
function rowIn(line: string): StoredRow['row'] | null {
  try {
    return parseEntry(line).row;
  } catch (error) {
    if (error instanceof BadLine) return null;
    throw error;
  }
}

/** Up to one that is too long. */
async function* wellFormed(lines: AsyncGenerator<string>): AsyncGenerator<string> {
  try {
    yield* lines;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
}

/** Entries that tell something of others; a line that hides from this is not believed. */
const TELLING = /"kind":"(?:retention|redaction|log_start|log_recovered)"/;
const STREAMS = 'log/streams.jsonl';
const BATCHES = 'log/batches.jsonl';
const ENTRIES = 'log/entries.jsonl';
const LEAVES = 'log/leaves.jsonl';
const SIGNING_KEYS = 'log/signing_keys.jsonl';
