import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Policy } from '../policy/rule.ts';
import { buildConfig } from './build.ts';
import type { Config, ListedFunction } from './config.ts';
import { crossCheck } from './cross-check.ts';
import { hasTopKey, type Parsed, type Path, parseYaml } from './document.ts';
import { ConfigError, type ConfigProblem, throwIfAny } from './errors.ts';
import { deepFreeze } from './freeze.ts';
import { functionsFileSchema } from './function-schema.ts';
import { makePolicy, type ParsedRules } from './policy.ts';
import { type ConfigShape, configSchema, policyFileSchema } from './schema.ts';

/**
 * Reads the configuration file, the policy file that it names, and every secret. Relative paths in it are relative
 * to the file. Throws `ConfigError` with all problems that could be found together; none quotes a value.
 */
export async function loadConfig(path: string, env: NodeJS.ProcessEnv): Promise<Config> {
  const { parsed, policy } = await readChecked(path);
  const functions = await readFunctions(path, parsed);
  const config = await buildConfig(parsed, policy, functions, dirname(resolve(path)), env);
  return deepFreeze(config);
}

/** The policy alone, checked against the rest of the file, without a look at any secret. Throws `ConfigError`. */
export async function loadPolicy(path: string): Promise<Policy> {
  const { rules } = await readChecked(path);
  return deepFreeze(makePolicy(rules.value));
}

/** A file in the right form, with what does not fit together in it. Secrets were not looked at. */
export type InspectedConfig = {
  readonly path: string;
  readonly parsed: Parsed<ConfigShape>;
  readonly rules: ParsedRules;
  readonly policy: Policy;
  /** Names that nobody has, requests that nobody could approve, and the like; empty: it can be used. */
  readonly problems: readonly ConfigProblem[];
};

/** Reads the file and its policy, and no secret. Throws `ConfigError` where the form is wrong. */
export async function inspectConfig(path: string): Promise<InspectedConfig> {
  const parsed = parseYaml(path, await readConfigFile(path, ''), configSchema);
  const rules = await readRules(path, parsed);
  const policy = deepFreeze(makePolicy(rules.value));
  return { path, parsed, rules, policy, problems: crossCheck(parsed, rules) };
}

async function readChecked(path: string): Promise<InspectedConfig> {
  const inspected = await inspectConfig(path);
  throwIfAny(inspected.problems);
  return inspected;
}

/** The listed functions of a file that was inspected. Throws `ConfigError`. */
export async function functionsOf({ path, parsed }: InspectedConfig): Promise<readonly ListedFunction[]> {
  return readFunctions(path, parsed);
}

async function readRules(path: string, parsed: Parsed<ConfigShape>): Promise<ParsedRules> {
  const { file, rules } = parsed.value.policy;
  if (file === undefined) return { value: rules ?? [], problem: under(parsed, ['policy', 'rules']) };
  const shown = resolve(dirname(resolve(path)), file);
  const own = parseYaml(shown, await readNamedFile(parsed, shown, ['policy', 'file']), policyFileSchema);
  return { value: own.value.rules, problem: under(own, ['rules']) };
}

async function readFunctions(path: string, parsed: Parsed<ConfigShape>): Promise<readonly ListedFunction[]> {
  const { functions } = parsed.value;
  if (typeof functions !== 'string') return functions;
  const shown = resolve(dirname(resolve(path)), functions);
  return parseFunctions(shown, await readNamedFile(parsed, shown, ['functions']));
}

/** A policy file of its own, or the policy of a configuration. Throws `ConfigError`. */
export async function loadEitherPolicy(path: string): Promise<Policy> {
  const text = await readConfigFile(path, '');
  if (!hasTopKey(text, 'rules')) return loadPolicy(path);
  return deepFreeze(makePolicy(parseYaml(path, text, policyFileSchema).value.rules));
}

/** The content of a file of listed functions. Throws `ConfigError`. */
export function parseFunctions(file: string, text: string): readonly ListedFunction[] {
  return parseYaml(file, text, functionsFileSchema).value.functions;
}

/** A file that the configuration names at `key`. */
async function readNamedFile(parsed: Parsed<ConfigShape>, file: string, key: Path): Promise<string> {
  return readConfigFile(file, key.join('.')).catch((error: unknown) => {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(parsed.problem('config_unreadable', key, error.problems[0]?.problem ?? ''));
  });
}

function under(parsed: Parsed<unknown>, prefix: Path): Parsed<unknown>['problem'] {
  return (code, path, problem) => parsed.problem(code, [...prefix, ...path], problem);
}

async function readConfigFile(path: string, key: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    const why = error.code === 'ENOENT' ? 'no such file' : `cannot be read (${error.code ?? 'unknown'})`;
    throw new ConfigError({ code: 'config_unreadable', file: path, line: null, key, problem: why });
  });
}
