/** Start-up parameters: what a client may set, by an explicit list. All of it is attacker-controlled. */
import { SQLSTATE } from '../protocol/sqlstate.ts';
import { PINNED } from '../session/pinned.ts';
import { shownClaim } from '../statement/claims.ts';

/** Why a client is not let in; becomes one FATAL error. */
export class LoginRefused extends Error {
  override readonly name = 'LoginRefused';
  readonly code: string;
  readonly hint: string | undefined;
  constructor(code: string, message: string, hint?: string) {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}

/** Settings that change how results look or how long things may take, never how text is read or who runs it. */
const PASSED = new Set([
  'application_name',
  'bytea_output',
  'datestyle',
  'default_transaction_deferrable',
  'default_transaction_isolation',
  'default_transaction_read_only',
  'extra_float_digits',
  'fallback_application_name',
  'geqo',
  'idle_in_transaction_session_timeout',
  'idle_session_timeout',
  'intervalstyle',
  'jit',
  'lock_timeout',
  'plan_cache_mode',
  'search_path',
  'statement_timeout',
  'tcp_keepalives_count',
  'tcp_keepalives_idle',
  'tcp_keepalives_interval',
  'timezone',
  'transaction_timeout',
  'xmloption',
]);

export type ClientParameters = {
  readonly user: string;
  /** Null: none was named. */
  readonly database: string | null;
  /** Go upstream. */
  readonly passed: ReadonlyMap<string, string>;
  readonly applicationName: string | null;
  /** `countersign.run`: the agent's own claim. */
  readonly run: string | null;
};

/**
 * In mode observe (`pinned` false) pinned settings go upstream as they are asked for. Throws `LoginRefused` for what is missing, forbidden or not on the
 * list.
 */
export function readClientParameters(
  parameters: ReadonlyMap<string, string>,
  pinned = true,
): ClientParameters {
  const user = parameters.get('user');
  if (user === undefined || user === '')
    throw new LoginRefused(
      SQLSTATE.invalidAuthorization,
      'no PostgreSQL user name specified in startup packet',
    );
  const passed = new Map<string, string>();
  let run: string | null = null;
  for (const [name, value] of parameters) {
    if (name === 'user' || name === 'database') continue;
    if (name === 'replication') refuseReplication(value);
    else if (name === 'countersign.run') run = claimed(value);
    else if (name === 'options')
      for (const [option, set] of readOptions(value))
        if (option === 'countersign.run') run = claimed(set);
        else accept(passed, option, set, pinned);
    else accept(passed, name, value, pinned);
  }
  const database = parameters.get('database') ?? null;
  return {
    user,
    database: database === '' ? null : database,
    passed,
    applicationName: passed.get('application_name') ?? null,
    run,
  };
}

/** Null: nothing is said. */
function claimed(run: string): string | null {
  return run.trim() === '' ? null : shownClaim(run);
}

function accept(passed: Map<string, string>, name: string, value: string, pinned: boolean): void {
  const folded = name.toLowerCase();
  if (!pinned && PINNED[folded] !== undefined) {
    passed.set(folded, value);
    return;
  }
  if (folded === 'client_encoding')
    return requirePinned(name, /^["']?utf-?8["']?$|^unicode$/i.test(value.trim()), 'UTF8');
  if (folded === 'standard_conforming_strings')
    return requirePinned(name, /^(on|true|yes|1)$/i.test(value.trim()), 'on');
  if (!PASSED.has(folded))
    throw new LoginRefused(
      SQLSTATE.featureNotSupported,
      `countersign: start-up parameter "${name}" is not accepted`,
      'Remove it from the connection string or the options, or set it with SET after connecting.',
    );
  if (passed.has(folded))
    throw new LoginRefused(SQLSTATE.protocolViolation, `startup parameter "${name}" is given twice`);
  passed.set(folded, value);
}

function requirePinned(name: string, pinned: boolean, value: string): void {
  if (!pinned)
    throw new LoginRefused(
      SQLSTATE.featureNotSupported,
      `countersign: "${name}" is pinned to ${value}`,
      `Under another value the server would read other statements than the proxy; ${
        value === 'UTF8' ? 'set PGCLIENTENCODING=UTF8' : 'leave it out'
      }.`,
    );
}

function refuseReplication(value: string): void {
  if (!/^(false|off|no|0)$/i.test(value))
    throw new LoginRefused(
      SQLSTATE.featureNotSupported,
      'countersign: replication connections are not allowed',
    );
}

/**
 * The `options` parameter as Postgres splits it (pg_split_opts: blanks separate, a backslash escapes the next
 * character): `-c name=value`, `-cname=value`, `--name=value`. Anything else is refused.
 */
export function readOptions(text: string): readonly (readonly [string, string])[] {
  const words = splitOptions(text);
  const settings: [string, string][] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    let setting: string;
    if (word === '-c' || word === '--') setting = words[++i] ?? '';
    else if (word.startsWith('--')) setting = word.slice(2);
    else if (word.startsWith('-c')) setting = word.slice(2);
    else
      throw new LoginRefused(SQLSTATE.featureNotSupported, `countersign: option "${word}" is not accepted`);
    const equals = setting.indexOf('=');
    if (equals < 1) throw new LoginRefused(SQLSTATE.protocolViolation, `option "${word}" needs a value`);
    settings.push([setting.slice(0, equals).replaceAll('-', '_'), setting.slice(equals + 1)]);
  }
  return settings;
}

function splitOptions(text: string): readonly string[] {
  const words: string[] = [];
  let word = '';
  let inWord = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i] ?? '';
    if (/[ \t\n\v\f\r]/.test(character)) {
      if (inWord) words.push(word);
      word = '';
      inWord = false;
    } else {
      inWord = true;
      word += character === '\\' ? (text[++i] ?? '') : character;
    }
  }
  if (inWord) words.push(word);
  return words;
}
