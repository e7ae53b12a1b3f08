import { type Command, Option } from 'commander';
import pg from 'pg';
import { readCatalogNames } from '../catalog/names.ts';
import { visible } from '../channels/visible.ts';
import { checkApprovers, knownAgent } from '../config/approver-check.ts';
import { ConfigError } from '../config/errors.ts';
import { checkHolds } from '../config/hold-check.ts';
import { type InspectedConfig, inspectConfig } from '../config/load.ts';
import { nearest } from '../config/nearest.ts';
import { checkRules } from '../policy/check.ts';
import type { KnownNames } from '../policy/known-names.ts';
import { configOption } from './options.ts';
import { addUpstreamOptions, configuredUpstream, tagRulesOf, type UpstreamOption } from './policy-options.ts';

type Options = UpstreamOption & { readonly config: string; readonly strict?: true; readonly json?: true };

export type Finding = {
  readonly severity: 'error' | 'warning';
  /** Stable. */
  readonly code: string;
  readonly file: string;
  /** From 1; null: the file as a whole. */
  readonly line: number | null;
  /** Path in the file, `policy.rules[2].approvers`. */
  readonly key: string;
  /** Name of the rule; null: it is not about one. */
  readonly rule: string | null;
  readonly problem: string;
  /** What to do. */
  readonly advice: string;
};

/** Names of the catalog, or why there are none. */
type Names = { readonly known: KnownNames } | { readonly skipped: string };

/** `countersign policy check`: 0 nothing wrong, 1 errors (with --strict also warnings), 2 no configuration. */
export function policyCheckCommand(policy: Command): void {
  const command = policy
    .command('check')
    .description('find rules that can never match, names that nothing has, and holds that nobody can approve')
    .addOption(configOption());
  addUpstreamOptions(command)
    .addOption(new Option('--strict', 'warnings count as errors'))
    .addOption(new Option('--json', 'the result as one JSON object'))
    .action(async (options: Options) => {
      const config = await inspectConfig(options.config);
      const names = await namesFor(config, options.upstream);
      const findings = findingsOf(config, 'known' in names ? names.known : null);
      const ok = !findings.some(({ severity }) => options.strict === true || severity === 'error');
      process.stdout.write(
        options.json === true ? asJson(config, names, findings, ok) : asText(config, names, findings),
      );
      process.exitCode = ok ? 0 : 1;
    });
}

/** Everything that was found, in the order of files and lines. */
export function findingsOf(config: InspectedConfig, names: KnownNames | null): readonly Finding[] {
  const { parsed, rules, policy, problems } = config;
  const agents = parsed.value.agents.map((agent) => knownAgent(parsed.value, agent));
  const ruleAt = (at: unknown) => policy.rules[Number(at)]?.name ?? null;
  const unusable = problems.map(
    ({ code, file, line, key, problem }): Finding => ({
      severity: 'error',
      code,
      file,
      line,
      key,
      rule: ruleAt(/\brules\[(\d+)\]/.exec(key)?.[1]),
      problem,
      advice: 'The program does not start with this.',
    }),
  );
  const ofRules = [
    ...checkRules(policy.rules, agents, names, nearest),
    ...checkHolds(parsed.value.limits ?? {}, policy.rules),
  ].map((one): Finding => {
    const { path, ...rest } = one;
    const { file, line, key } = rules.problem('config_reference', path, '');
    return { ...rest, file, line, key, rule: ruleAt(path[0]) };
  });
  const ofPeople = checkApprovers(parsed.value, policy.rules).map((one): Finding => {
    const { in: place, path, ...rest } = one;
    const { file, line, key } = (place === 'rules' ? rules : parsed).problem('config_reference', path, '');
    return { ...rest, file, line, key, rule: place === 'rules' ? ruleAt(path[0]) : null };
  });
  return [...unusable, ...ofRules, ...ofPeople].sort(
    (a, b) => (a.file === b.file ? 0 : a.file < b.file ? -1 : 1) || (a.line ?? 0) - (b.line ?? 0),
  );
}

async function namesFor(config: InspectedConfig, upstream: Options['upstream']): Promise<Names> {
  if (upstream === false) return { skipped: '--no-upstream' };
  try {
    const server =
      upstream === undefined
        ? await configuredUpstream(config, null, null)
        : { connectionString: upstream, connectionTimeoutMillis: 10_000 };
    const client = new pg.Client({ ...server, application_name: 'countersign policy check' });
    await client.connect();
    try {
      return { known: await readCatalogNames(client, tagRulesOf(config)) };
    } finally {
      await client.end();
    }
  } catch (error) {
    // One that was asked for must be there; the configured one may be out of reach where files are checked.
    if (upstream !== undefined) throw error;
    const why = error instanceof ConfigError ? (error.problems[0]?.problem ?? '') : reasonOf(error);
    return { skipped: `the database could not be asked: ${why}` };
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message || String(Reflect.get(error, 'code') ?? error.name);
}

function asText(config: InspectedConfig, names: Names, findings: readonly Finding[]): string {
  const blocks = findings.map(({ severity, file, line, key, rule, problem, advice }) => {
    const place = line === null ? file : `${file}:${line}`;
    const what = rule === null ? key : `rule ${rule}`;
    return `${place}: ${severity}: ${what}: ${oneLine(problem)}\n  ${oneLine(advice)}\n`;
  });
  const { agents, people } = config.parsed.value;
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  const skipped = 'skipped' in names ? `names were not compared with a database: ${names.skipped}\n` : '';
  const size = `rules ${config.policy.rules.length}, agents ${agents.length}, people ${people.length}`;
  const sum = findings.length === 0 ? 'good' : `${errors} errors, ${findings.length - errors} warnings`;
  return `${blocks.join('')}${skipped}${config.path}: ${sum} (${size})\npolicy digest ${config.policy.digest}\n`;
}

function asJson(config: InspectedConfig, names: Names, findings: readonly Finding[], ok: boolean): string {
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  const result = {
    ok,
    policy: config.policy.digest,
    errors,
    warnings: findings.length - errors,
    namesSkipped: 'skipped' in names ? names.skipped : null,
    findings,
  };
  return `${JSON.stringify(result)}\n`;
}

function oneLine(text: string): string {
  return visible(text).replace(/\s+/g, ' ').trim();
}
