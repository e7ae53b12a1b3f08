import { lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { linesOf, sha256Of } from './file.ts';
import { BadLine } from './lines.ts';
import { parseSums } from './manifest.ts';

/** It is no evidence folder, or cannot be read. */
export class NoEvidence extends Error {
  override readonly name = 'NoEvidence';
  readonly code = 'no_evidence';
}

export type FileProblem = { readonly file: string; readonly line: number | null; readonly detail: string };

export type FilesChecked = {
  readonly problems: readonly FileProblem[];
  /** All that the checks need is there. */
  readonly readable: boolean;
};

/**
 * What is wrong with the files of the folder: each against its sum, and nothing beside them. `failed`: files that could
 * not be made. Throws `NoEvidence`.
 */
export async function checkFiles(
  directory: string,
  failed: ReadonlyMap<string, string>,
): Promise<FilesChecked> {
  const problems: FileProblem[] = [];
  const found = (file: string, detail: string) => problems.push({ file, line: null, detail });
  const sums = parseSums(await readText(directory, 'SHA256SUMS'));
  if (sums === null) throw new NoEvidence('SHA256SUMS is no list of sums of files in this folder');
  const present = await filesOf(directory, found);
  for (const [file, sha256] of sums) {
    if (!present.has(file)) found(file, 'it is in SHA256SUMS and not here');
    else if ((await sha256Of(join(directory, file))) !== sha256)
      found(file, 'it was changed: its sum is not the one in SHA256SUMS');
  }
  for (const file of present)
    if (!sums.has(file) && file !== 'SHA256SUMS') found(file, 'it is here and not in SHA256SUMS');
  const needed = NEEDED.filter((file) => !failed.has(file));
  for (const file of needed) if (!present.has(file) && !sums.has(file)) found(file, 'it is not here');
  return { problems, readable: needed.every((file) => present.has(file)) };
}

/** Throws `NoEvidence`. */
export async function readText(directory: string, file: string): Promise<string> {
  try {
    if (!(await lstat(join(directory, file))).isFile()) throw new RangeError('it is no plain file');
    return await readFile(join(directory, file), 'utf8');
  } catch (error) {
    throw new NoEvidence(
      `${join(directory, file)} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** The lines of a file one after the other, with a look at the next one. */
export class Lines<T> {
  readonly file: string;
  readonly #lines: AsyncGenerator<string>;
  readonly #parse: (line: string) => T;
  readonly #problem: (problem: FileProblem) => void;
  #next: T | null = null;
  #number = 0;
  #ended = false;

  /** `problem` is told of a line that cannot be read; the file ends there. */
  constructor(
    directory: string,
    file: string,
    parse: (line: string) => T,
    problem: (one: FileProblem) => void,
  ) {
    this.file = file;
    this.#lines = linesOf(join(directory, file));
    this.#parse = parse;
    this.#problem = problem;
  }

  /** Of the line that was taken last, from 1. */
  get number(): number {
    return this.#next === null ? this.#number : this.#number - 1;
  }

  /** Null: there is none left. */
  async peek(): Promise<T | null> {
    if (this.#next !== null || this.#ended) return this.#next;
    try {
      const { done, value } = await this.#lines.next();
      if (done === true) this.#ended = true;
      else {
        this.#number += 1;
        this.#next = this.#parse(value);
      }
    } catch (error) {
      this.#ended = true;
      if (!(error instanceof BadLine || error instanceof RangeError)) throw error;
      this.#problem({
        file: this.file,
        line: this.#number,
        detail: `the line cannot be read: ${error.message}`,
      });
    }
    return this.#next;
  }

  async take(): Promise<T | null> {
    const value = await this.peek();
    this.#next = null;
    return value;
  }

  async all(): Promise<T[]> {
    const values: T[] = [];
    for (let one = await this.take(); one !== null; one = await this.take()) values.push(one);
    return values;
  }
}

/** Plain files, one folder deep. */
async function filesOf(
  directory: string,
  found: (file: string, detail: string) => void,
): Promise<Set<string>> {
  const files = new Set<string>();
  const look = async (folder: string | null) => {
    for (const name of await readdir(folder === null ? directory : join(directory, folder))) {
      const file = folder === null ? name : `${folder}/${name}`;
      const facts = await lstat(join(directory, file));
      if (facts.isFile()) files.add(file);
      else if (facts.isDirectory() && folder === null) await look(file);
      else found(file, 'it is no plain file');
    }
  };
  await look(null);
  return files;
}

const NEEDED = [
  'manifest.json',
  'keys.json',
  'views/statements.csv',
  ...['streams', 'batches', 'leaves', 'checkpoints', 'entries', 'signing_keys'].map(
    (name) => `log/${name}.jsonl`,
  ),
];
