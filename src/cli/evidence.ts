import type { Command } from 'commander';
import { verifyEvidence } from '../audit/evidence/verify-folder.ts';
import type { Period } from '../audit/evidence/views.ts';
import { type Evidence, EvidenceRefused, writeEvidence } from '../audit/evidence/write-folder.ts';
import { auditAddress } from './audit-database.ts';
import { CliError } from './exit.ts';
import { configOption } from './options.ts';
import { timeOption } from './time-option.ts';
import { readCheckpoint, readJwks } from './verify.ts';
import { evidenceText } from './verify-evidence.ts';
import { programVersion } from './version.ts';

type Options = {
  readonly from: string;
  readonly to: string;
  readonly out?: string;
  readonly config: string;
  readonly url?: string;
  readonly schema?: string;
  readonly keys?: string;
  readonly checkpoint?: string;
};

/** `countersign evidence`: 0 the folder is made and its log whole, 1 made and something was altered, 2 not made. */
export function evidenceCommand(program: Command): void {
  program
    .command('evidence')
    .description(
      'write a folder with all that an auditor needs of a period, which can be checked without the database',
    )
    .requiredOption('--from <time>', 'its beginning: ISO 8601, or a day (UTC)')
    .option('--to <time>', 'its end, which is not in it', 'now')
    .option('--out <dir>', 'the folder to be made (default: evidence-FROM-TO here)')
    .addOption(configOption())
    .option('--url <url>', 'audit database, as a role that reads its views (COUNTERSIGN_AUDIT_URL)')
    .option('--schema <name>', 'its schema (default: audit, or what the configuration says)')
    .option('--keys <file or URL>', 'public keys of the installation, a JWK set (its /.well-known/jwks.json)')
    .option('--checkpoint <file>', 'a checkpoint that was kept elsewhere: all that it covers must be there')
    .action(async (options: Options) => {
      const { url, schema } = await auditAddress(options);
      const period = periodOf(options);
      const keys = options.keys === undefined ? undefined : await readJwks(options.keys);
      const checkpoint =
        options.checkpoint === undefined ? undefined : await readCheckpoint(options.checkpoint);
      const out = options.out ?? `evidence-${dayOf(period.from)}-${dayOf(period.to)}`;
      const made = await written({ url, schema, period, out, keys, checkpoint, version: programVersion() });
      const again = await verifyEvidence({ directory: out, keys, checkpoint: checkpoint?.signed });
      process.stdout.write(`${summary(out, made)}${evidenceText(again)}`);
      process.exitCode =
        made.verification.altered || again.altered ? 1 : made.verification.whole && again.whole ? 0 : 2;
    });
}

function periodOf(options: Pick<Options, 'from' | 'to'>): Period {
  const time = (option: string, text: string) => {
    timeOption(option, text);
    return text === 'now' ? new Date() : new Date(text);
  };
  const period = { from: time('--from', options.from), to: time('--to', options.to) };
  if (period.from >= period.to) throw new CliError('bad_time', '--from must be before --to');
  // It would say of days to come that nothing happened in them.
  if (period.to.getTime() > Date.now())
    throw new CliError('bad_time', '--to is in the future: leave it out to get everything up to now');
  return period;
}

async function written(options: Parameters<typeof writeEvidence>[0]): Promise<Evidence> {
  try {
    return await writeEvidence(options);
  } catch (error) {
    const why = error instanceof Error ? error.message || error.name : String(error);
    if (error instanceof EvidenceRefused) throw new CliError(error.code, why);
    const hint = HINTS.get(String(Reflect.get(Object(error), 'code'))) ?? '';
    throw new CliError('no_evidence', `the evidence could not be written: ${why}${hint}`);
  }
}

/** By SQLSTATE. */
const HINTS: ReadonlyMap<string, string> = new Map([
  ['42501', ": --url must be of a role that reads the views, like the auditor's"],
  ['42P01', ': is this the audit schema, and up to date? See --schema, and countersign audit migrate'],
]);

function summary(out: string, { manifest, verification, sumsSha256 }: Evidence): string {
  const lines = [`${out}: ${manifest.files.length + 2} files`];
  for (const [view, rows] of Object.entries(manifest.must_be_empty))
    lines.push(
      rows === null
        ? `NOT CHECKED: ${view} could not be read`
        : rows === 0
          ? `${view}: empty, as it must be`
          : `NOT EMPTY: ${view}: ${rows} rows`,
    );
  const verdict = verification.altered ? 'ALTERED' : verification.whole ? 'whole' : 'NOT CHECKED COMPLETELY';
  lines.push(
    `the log: ${verdict}: ${verification.rows} rows in ${verification.streams} streams, ${verification.findings.length} findings`,
    `sha256 of SHA256SUMS, to be written down elsewhere: ${sumsSha256}`,
  );
  return `${lines.join('\n')}\n`;
}

function dayOf(time: Date): string {
  return time.toISOString().slice(0, 10);
}
