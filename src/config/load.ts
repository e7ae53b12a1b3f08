import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Policy } from '../policy/rule.ts';
import { buildConfig } from './build.ts';
import type { Config, ListedFunction } from './config.ts';
import { crossCheck } from './cross-check.ts';
import { type Parsed, type Path, parseYaml } from './document.ts';
import { ConfigError, throwIfAny } from './errors.ts';
import { deepFreeze } from './freeze.ts';
import { makePolicy, type ParsedRules } from './policy.ts';
import { type ConfigShape, configSchema, functionsFileSchema, policyFileSchema } from './schema.ts';

/**
 * Reads the configuration file, the policy file that it names, and every secret. Relative paths in it are relative
 * to the file. Throws `ConfigError` with all problems that could be found together; none quotes a value.
 */
export async function loadConfig(path: string, env: NodeJS.ProcessEnv): Promise<Config> {
  const { parsed, rules } = await readChecked(path);
  const functions = await readFunctions(path, parsed);
  const config = await buildConfig(parsed, makePolicy(rules.value), functions, dirname(resolve(path)), env);
  return deepFreeze(config);
}

/** The policy alone, checked against the rest of the file, without a look at any secret. Throws `ConfigError`. */
export async function loadPolicy(path: string): Promise<Policy> {
  const { rules } = await readChecked(path);
  return deepFreeze(makePolicy(rules.value));
}

async function readChecked(
  path: string,
): Promise<{ readonly parsed: Parsed<ConfigShape>; readonly rules: ParsedRules }> {
  const parsed = parseYaml(path, await readConfigFile(path, ''), configSchema);
  const rules = await readRules(path, parsed);
  throwIfAny(crossCheck(parsed, rules));
  return { parsed, rules };
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
