import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { buildConfig } from './build.ts';
import type { Config } from './config.ts';
import { crossCheck } from './cross-check.ts';
import { type Parsed, type Path, parseYaml } from './document.ts';
import { ConfigError, throwIfAny } from './errors.ts';
import { deepFreeze } from './freeze.ts';
import { makePolicy, type ParsedRules } from './policy.ts';
import { type ConfigShape, configSchema, policyFileSchema } from './schema.ts';

/**
 * Reads the configuration file, the policy file that it names, and every secret. Relative paths in it are relative
 * to the file. Throws `ConfigError` with all problems that could be found together; none quotes a value.
 */
export async function loadConfig(path: string, env: NodeJS.ProcessEnv): Promise<Config> {
  const parsed = parseYaml(path, await readConfigFile(path, ''), configSchema);
  const rules = await readRules(path, parsed);
  throwIfAny(crossCheck(parsed, rules));
  const config = await buildConfig(parsed, makePolicy(rules.value), dirname(resolve(path)), env);
  return deepFreeze(config);
}

async function readRules(path: string, parsed: Parsed<ConfigShape>): Promise<ParsedRules> {
  const { file, rules } = parsed.value.policy;
  if (file === undefined) return { value: rules ?? [], problem: under(parsed, ['policy', 'rules']) };
  const shown = resolve(dirname(resolve(path)), file);
  const text = await readConfigFile(shown, 'policy.file').catch((error: unknown) => {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(
      parsed.problem('config_unreadable', ['policy', 'file'], error.problems[0]?.problem ?? ''),
    );
  });
  const own = parseYaml(shown, text, policyFileSchema);
  return { value: own.value.rules, problem: under(own, ['rules']) };
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
