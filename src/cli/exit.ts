import { CommanderError } from 'commander';

/** What the program ends with: 0 done, 1 refused or found wanting, 2 usage, configuration or connection. */
export type ExitCode = 0 | 1 | 2;

/** A command line that cannot be obeyed, or a place that cannot be reached; the message says what to change. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly code: string;
  readonly exitCode: ExitCode;
  constructor(code: string, message: string, exitCode: ExitCode = 2) {
    super(message);
    this.code = code;
    this.exitCode = exitCode;
  }
}

const EXPECTED = new Set([
  'CliError',
  'ConfigError',
  'DataDirectoryError',
  'EmbeddedPostgresUnavailable',
  'JournalRefused',
  'KeyError',
  'MigrationFailed',
  'SecretUnavailable',
]);

/** Of the operating system and of Postgres (class 08, 28, 3D, 57P03): the other side is not there or not willing. */
const CONNECTION =
  /^(E(CONN[A-Z]+|ADDR[A-Z]+|HOSTUNREACH|NETUNREACH|NOTFOUND|TIMEDOUT|AI_AGAIN|PIPE)|08...|28...|3D...|57P03)$/;

/** The exit code, and whether it is an expected end, told in one line without a stack. */
export function classifyError(error: unknown): { readonly exitCode: ExitCode; readonly expected: boolean } {
  if (error instanceof CommanderError) return { exitCode: error.exitCode === 0 ? 0 : 2, expected: true };
  if (error instanceof CliError) return { exitCode: error.exitCode, expected: true };
  if (!(error instanceof Error)) return { exitCode: 1, expected: false };
  if (EXPECTED.has(error.name)) return { exitCode: 2, expected: true };
  const { code } = error as { code?: unknown };
  if (typeof code === 'string' && CONNECTION.test(code)) return { exitCode: 2, expected: true };
  return { exitCode: 1, expected: false };
}
