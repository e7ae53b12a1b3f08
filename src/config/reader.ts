import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Parsed, Path } from './document.ts';
import type { ConfigErrorCode, ConfigProblem } from './errors.ts';
import { type HostPort, parseListen } from './overrides.ts';
import { isLocal, type PostgresUrl, parsePostgresUrl } from './postgres-url.ts';
import type { ConfigShape } from './schema.ts';
import { LITERAL_SECRET, type SecretShape } from './secret-schema.ts';
import { readSecret, SecretUnavailable } from './secrets.ts';

/** Reads values that can fail, keeps what failed, and goes on with a stand-in that nobody gets to see. */
export class Reader {
  readonly problems: ConfigProblem[] = [];
  readonly #parsed: Parsed<ConfigShape>;
  readonly #directory: string;
  readonly #env: NodeJS.ProcessEnv;

  constructor(parsed: Parsed<ConfigShape>, directory: string, env: NodeJS.ProcessEnv) {
    this.#parsed = parsed;
    this.#directory = directory;
    this.#env = env;
  }

  fail(code: ConfigErrorCode, path: Path, problem: string): void {
    this.problems.push(this.#parsed.problem(code, path, problem));
  }

  address(path: Path, text: string): HostPort {
    const parsed = parseListen(text);
    if (parsed === null)
      this.fail('config_invalid_value', path, 'expected host:port, for example 127.0.0.1:6432');
    return parsed ?? { host: '', port: 0 };
  }

  async secret(path: Path, secret: SecretShape): Promise<string> {
    try {
      return await readSecret(secret, this.#directory, this.#env);
    } catch (error) {
      if (!(error instanceof SecretUnavailable)) throw error;
      this.fail('config_secret_unavailable', path, error.message);
      return '';
    }
  }

  async optionalSecret(path: Path, secret: SecretShape | undefined): Promise<string | null> {
    return secret === undefined ? null : this.secret(path, secret);
  }

  /** Relative to the configuration file. */
  path(name: string): string {
    return resolve(this.#directory, name);
  }

  async file(path: Path, name: string): Promise<string> {
    return readFile(resolve(this.#directory, name), 'utf8').catch((error: NodeJS.ErrnoException) => {
      this.fail('config_unreadable', path, `${name} cannot be read (${error.code ?? 'unknown'})`);
      return '';
    });
  }

  /** A password beside the URL goes into it; one in a URL that is written down is a literal secret. */
  async databaseUrl(
    path: Path,
    given: string | SecretShape,
    passwordPath: Path,
    password: SecretShape | undefined,
  ): Promise<PostgresUrl> {
    const literal = typeof given === 'string';
    const text = literal ? given : await this.secret(path, given);
    const url = text === '' ? NO_URL : parsePostgresUrl(text);
    if (typeof url === 'string') {
      this.fail('config_invalid_value', path, url);
      return NO_URL;
    }
    if (literal && url.password !== null)
      this.fail('config_literal_secret', path, `the URL has a password in it: ${LITERAL_SECRET}`);
    if (password !== undefined && url.password !== null)
      this.fail('config_invalid_value', passwordPath, 'expected no password here, because the URL has one');
    return {
      ...url,
      password: password === undefined ? url.password : await this.secret(passwordPath, password),
      // Whatever leaves the machine is verified, unless the file says otherwise.
      sslmode: url.sslmode ?? (isLocal(url.host) ? null : 'verify-full'),
      sslrootcert: url.sslrootcert === null ? null : resolve(this.#directory, url.sslrootcert),
    };
  }
}

const NO_URL: PostgresUrl = {
  host: '',
  port: 0,
  user: null,
  password: null,
  database: null,
  sslmode: null,
  sslrootcert: null,
};
