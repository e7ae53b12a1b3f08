/** What is wrong with a configuration, as a stable code. */
export type ConfigErrorCode =
  | 'config_unreadable'
  | 'config_syntax'
  | 'config_unknown_key'
  | 'config_missing_key'
  | 'config_wrong_type'
  | 'config_invalid_value'
  | 'config_literal_secret'
  | 'config_secret_unavailable'
  | 'config_reference';

/** One finding. `key` is the path in the file (`agents[0].owner`), `line` counts from 1; null: the whole file. */
export type ConfigProblem = {
  readonly code: ConfigErrorCode;
  readonly file: string;
  readonly line: number | null;
  readonly key: string;
  /** What was expected. Never holds a value from the file: it might be a secret in the wrong place. */
  readonly problem: string;
};

/**
 * The configuration cannot be used; whoever wrote it has to change it. The message has one line for each problem,
 * `file:line: key: problem`; `code` is that of the first.
 */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly code: ConfigErrorCode;
  readonly problems: readonly ConfigProblem[];

  constructor(first: ConfigProblem, ...rest: readonly ConfigProblem[]) {
    super([first, ...rest].map(describe).join('\n'));
    this.code = first.code;
    this.problems = [first, ...rest];
  }
}

/** Throws when there is a problem; the problems keep their order. */
export function throwIfAny(problems: readonly ConfigProblem[]): void {
  const [first, ...rest] = problems;
  if (first !== undefined) throw new ConfigError(first, ...rest);
}

function describe({ file, line, key, problem }: ConfigProblem): string {
  const place = line === null ? file : `${file}:${line}`;
  return key === '' ? `${place}: ${problem}` : `${place}: ${key}: ${problem}`;
}
