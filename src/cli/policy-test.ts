import { type Command, Option } from 'commander';
import { visible } from '../channels/visible.ts';
import { throwIfAny } from '../config/errors.ts';
import { inspectConfig } from '../config/load.ts';
import { type PolicyCase, readPolicyCases } from '../config/policy-cases.ts';
import { type ConnectCatalog, connectLazily, type Explanation } from './explain.ts';
import { openBench } from './policy-bench.ts';
import { addUpstreamOptions, type UpstreamOption } from './policy-options.ts';

type Options = UpstreamOption & { readonly config?: string; readonly json?: true };

/** A case, what was decided, and how that differs from what must be; no differences: it passed. */
export type TriedCase = {
  readonly given: PolicyCase;
  readonly got: Pick<Explanation, 'decision' | 'rule' | 'class' | 'reasons' | 'observed'>;
  readonly differences: readonly string[];
};

/** `countersign policy test`: 0 every case is decided as it must be, 1 some are not. */
export function policyTestCommand(policy: Command, connect: ConnectCatalog = connectLazily): void {
  const command = policy
    .command('test')
    .description('try a file of statements that must be allowed, held or denied')
    .argument('<cases>', 'YAML with must_allow, must_hold, must_deny')
    .addOption(new Option('-c, --config <file>', 'configuration file; without it the default policy'));
  addUpstreamOptions(command)
    .addOption(new Option('--json', 'the result as one JSON object'))
    .action(async (file: string, options: Options) => {
      const cases = await readPolicyCases(file);
      const config = options.config === undefined ? null : await inspectConfig(options.config);
      throwIfAny(config?.problems ?? []);
      const bench = await openBench({ ...options, config, cases, connect } as Parameters<
        typeof openBench
      >[0]);
      const tried: TriedCase[] = [];
      try {
        for (const given of cases.cases) tried.push(compared(given, await bench.explain(given)));
      } finally {
        await bench.close();
      }
      const asked = options.upstream !== false && (options.upstream !== undefined || config !== null);
      process.stdout.write(options.json === true ? asJson(file, tried) : asText(file, tried, asked));
      process.exitCode = tried.every(({ differences }) => differences.length === 0) ? 0 : 1;
    });
}

/** What must be against what was decided. */
export function compared(given: PolicyCase, got: TriedCase['got']): TriedCase {
  const differences = (['decision', 'rule', 'class'] as const).flatMap((what) => {
    const wanted = given[what];
    return wanted === null || wanted === got[what] ? [] : [`${what} is ${got[what]}, must be ${wanted}`];
  });
  return { given, got, differences };
}

/** `asked`: a database said what names mean. */
function asText(file: string, tried: readonly TriedCase[], asked: boolean): string {
  const failed = tried.filter(({ differences }) => differences.length > 0);
  const blocks = failed.map(({ given, got, differences }) => {
    const rows = [
      ['sql', given.sql],
      ...(given.why === null ? [] : [['why', given.why]]),
      ['decided', `${got.decision} by ${got.rule}, class ${got.class}`],
      ...got.reasons.map((reason) => ['because', reason]),
      ...(got.observed ?? []).map((trial) => ['observed', trial]),
    ];
    const place = given.line === null ? file : `${file}:${given.line}`;
    const body = rows.map(([name = '', text = '']) => `  ${name.padEnd(8)} ${oneLine(text)}\n`).join('');
    return `${place}: must_${given.decision}: ${differences.join('; ')}\n${body}`;
  });
  const count = `${tried.length} cases: ${tried.length - failed.length} passed, ${failed.length} failed\n`;
  const note = asked || failed.length === 0 ? '' : NO_DATABASE;
  return [...blocks, count, note].join('');
}

const NO_DATABASE =
  'no database was asked: sizes of tables are not known, and a name without its schema could be in any\n';

function asJson(file: string, tried: readonly TriedCase[]): string {
  const failures = tried
    .filter(({ differences }) => differences.length > 0)
    .map(({ given, got, differences }) => ({
      file,
      line: given.line,
      must: given.decision,
      sql: given.sql,
      ...(given.why === null ? {} : { why: given.why }),
      decision: got.decision,
      rule: got.rule,
      class: got.class,
      reasons: got.reasons,
      observed: got.observed ?? [],
      differences,
    }));
  const passed = tried.length - failures.length;
  return `${JSON.stringify({ ok: failures.length === 0, cases: tried.length, passed, failed: failures.length, failures })}\n`;
}

/** Nothing in it may hide, and it stays on its line. */
function oneLine(text: string): string {
  return visible(text).replace(/\s+/g, ' ').trim();
}
