import { type Command, Option } from 'commander';
import { loadEitherPolicy } from '../config/load.ts';
import { DiffTally } from '../policy/diff.ts';
import { compare, compareAgain } from '../policy/replay.ts';
import type { Policy } from '../policy/rule.ts';
import { auditAddress } from './audit-database.ts';
import { CliError } from './exit.ts';
import { type ConnectCatalog, connectLazily } from './explain.ts';
import { configOption } from './options.ts';
import { type DiffRun, diffJson, diffText } from './policy-diff-text.ts';
import { type RecordedRow, readRecorded, recordedPolicy } from './recorded-rows.ts';
import { openTexts, type Texts } from './recorded-texts.ts';
import { sinceOf } from './report.ts';

type Options = {
  readonly config: string;
  readonly url?: string;
  readonly schema?: string;
  readonly since: string;
  readonly until?: string;
  readonly upstream?: string;
  readonly json?: true;
};

/** `countersign policy diff`: what another policy would have decided of what agents really asked. */
export function policyDiffCommand(policy: Command, connect: ConnectCatalog = connectLazily): void {
  policy
    .command('diff')
    .description('replay the audit log: what would be decided otherwise under another policy')
    .argument('<old>', 'policy file, configuration, or the digest (8 digits or more) of a recorded policy')
    .argument('<new>', 'the same')
    .addOption(configOption())
    .option('--url <url>', 'audit database, as a role that reads its views (COUNTERSIGN_AUDIT_URL)')
    .option('--schema <name>', 'its schema (default: audit, or what the configuration says)')
    .option('--since <time>', 'how far back: a number and m, h, d or w, or a date', '7d')
    .option('--until <time>', 'up to when (default: now)')
    .addOption(
      new Option(
        '--upstream <url>',
        'where the log does not tell enough, look at the text again with this database, as it is now',
      ),
    )
    .addOption(new Option('--json', 'the result as one JSON object'))
    .action(async (before: string, after: string, options: Options) => {
      const now = Date.now();
      const since = sinceOf(options.since, now);
      const until = options.until === undefined ? new Date(now) : sinceOf(options.until, now, '--until');
      const { url, schema } = await auditAddress(options);
      const load = (named: string) => policyNamed(named, url, schema);
      const [old, fresh] = [await load(before), await load(after)];
      const rows = readRecorded(url, schema, since, until);
      const texts = options.upstream === undefined ? null : await openTexts(options.upstream, connect);
      const run = await replay(old, fresh, rows, { since, until }, texts).finally(() => texts?.close());
      process.stdout.write(options.json === true ? diffJson(run) : diffText(run, texts !== null));
    });
}

/** Reads rows as they come; memory does not grow with their number. */
export async function replay(
  old: Policy,
  fresh: Policy,
  rows: AsyncIterable<RecordedRow>,
  time: Pick<DiffRun, 'since' | 'until'>,
  texts: Texts | null = null,
): Promise<DiffRun> {
  const tally = new DiffTally();
  let mistakes = 0;
  for await (const { recorded, mistake, relations, sql } of rows) {
    if (mistake) {
      mistakes++;
      continue;
    }
    const told = compare(recorded, old, fresh);
    const statement =
      told.kind === 'untold' && texts !== null && sql !== null ? await texts.statement(sql) : null;
    const again = statement === null ? null : compareAgain(statement, recorded, relations, old, fresh);
    tally.add(again ?? told, recorded, relations, sql, again !== null);
  }
  return { diff: tally.result(), old, new: fresh, ...time, mistakes };
}

/** A digest means a policy that was in force, as the audit log has it; anything else a file. */
async function policyNamed(named: string, url: string, schema: string): Promise<Policy> {
  if (!/^[0-9a-f]{8,64}$/.test(named)) return loadEitherPolicy(named);
  const found = await recordedPolicy(url, schema, named);
  if (found === null)
    throw new CliError(
      'unknown_policy',
      `policy diff: the audit log has no policy whose digest begins with ${named}`,
    );
  return found;
}
