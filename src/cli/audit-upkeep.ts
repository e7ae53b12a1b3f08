import type { Command } from 'commander';
import pg from 'pg';
import { ISO_DATES } from '../audit/iso-dates.ts';
import { quoteName } from '../audit/quote-name.ts';
import { addHold, type HoldScope, releaseHold } from '../audit/upkeep/legal-hold.ts';
import { type RedactionScope, redactStatements } from '../audit/upkeep/redaction.ts';
import { dropOldDays } from '../audit/upkeep/retention.ts';
import { type Upkeep, UpkeepRefused } from '../audit/upkeep/upkeep.ts';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { durationMs } from '../policy/duration.ts';
import { auditAddress } from './audit-database.ts';
import { CliError } from './exit.ts';
import { operator, trustedKeys } from './installation-keys.ts';
import { configOption } from './options.ts';
import { oneLine } from './requests-text.ts';
import { jsonLine } from './terminal-text.ts';
import { timeOption } from './time-option.ts';

type Options = { readonly config: string; readonly reason: string };
type RetentionOptions = Options & { readonly keep?: string; readonly dryRun?: true };
type Filters = {
  readonly agent?: string;
  readonly person?: string;
  readonly from?: string;
  readonly to?: string;
};
type RedactOptions = Options & Filters & { readonly statement: readonly string[]; readonly dryRun?: true };
type ListOptions = {
  readonly config: string;
  readonly url?: string;
  readonly schema?: string;
  readonly json?: true;
};

/** `countersign audit retention|redact|hold`: what takes something out of the log, under signed entries. */
export function upkeepCommands(audit: Command): void {
  audit
    .command('retention')
    .description('drop the rows of days long over, with a signed entry; the log still verifies')
    .addOption(configOption())
    .option('--keep <days>', 'how long rows are kept, for example 400d (default: audit.retention)')
    .option('--reason <reason>', 'for the log', 'retention period')
    .option('--dry-run', 'say what would be dropped, and drop nothing')
    .action(retention);
  filters(
    audit
      .command('redact')
      .description('erase text and parameters of statements, with a signed entry; the log still verifies')
      .addOption(configOption())
      .option('--statement <stream/seq>', 'one statement; may be given several times', gather, []),
  )
    .requiredOption('--reason <reason>', 'for the log')
    .option('--dry-run', 'say how many would be erased, and erase nothing')
    .action(redact);
  const hold = audit
    .command('hold')
    .description('legal holds: what they cover is neither dropped nor redacted');
  filters(hold.command('add').description('begin a hold; without a filter it covers everything'))
    .addOption(configOption())
    .requiredOption('--reason <reason>', 'for the log, and for whoever is stopped by it')
    .action(add);
  hold
    .command('list')
    .description('holds, and whether they are in force')
    .addOption(configOption())
    .option('--url <url>', 'audit database, as a role that reads its views (COUNTERSIGN_AUDIT_URL)')
    .option('--schema <name>', 'its schema (default: audit, or what the configuration says)')
    .option('--json', 'one hold a line')
    .action(list);
  hold
    .command('release')
    .description('end a hold')
    .argument('<hold>', 'its name')
    .addOption(configOption())
    .requiredOption('--reason <reason>', 'for the log')
    .action(release);
}

function filters(command: Command): Command {
  return command
    .option('--agent <name>', 'statements of this agent')
    .option('--person <id>', 'of agents that this person owns, or on whose behalf')
    .option('--from <time>', 'from this time on (ISO 8601)')
    .option('--to <time>', 'before this time');
}

const gather = (one: string, before: readonly string[]): readonly string[] => [...before, one];

async function retention({ config: file, keep, reason, dryRun }: RetentionOptions): Promise<void> {
  const config = await loadConfig(file, process.env);
  const keepDays = daysOf(keep, config.audit.retentionDays ?? null);
  const done = await refusable(async () =>
    dropOldDays({ ...(await upkeepOf(config)), keepDays, reason, dryRun: dryRun === true }),
  );
  const what = `${done.rows} rows of ${done.streams} streams, of days before ${done.before}`;
  process.stdout.write(
    done.retention !== null
      ? `${done.retention}: dropped ${what}\n`
      : done.rows === 0n
        ? `nothing to drop before ${done.before}\n`
        : `would drop ${what}\n`,
  );
}

async function redact(options: RedactOptions): Promise<void> {
  const scope = redactionScope(options);
  const config = await loadConfig(options.config, process.env);
  const { reason, dryRun } = options;
  const done = await refusable(async () =>
    redactStatements({ ...(await upkeepOf(config)), scope, reason, dryRun: dryRun === true }),
  );
  process.stdout.write(
    done.redaction === null
      ? `would erase the text of ${done.rows} statements, and of their ${done.requests} requests\n`
      : `${done.redaction}: erased the text of ${done.rows} statements, and of ${done.requests} requests\n${AFTERWARDS}`,
  );
}

async function add(options: Options & Filters): Promise<void> {
  const config = await loadConfig(options.config, process.env);
  const scope = filterScope(options);
  const hold = await refusable(async () =>
    addHold({ ...(await upkeepOf(config)), scope, reason: options.reason }),
  );
  process.stdout.write(`${hold} is in force over ${scopeText(scope)}\n`);
}

async function release(hold: string, { config: file, reason }: Options): Promise<void> {
  const config = await loadConfig(file, process.env);
  await refusable(async () => releaseHold({ ...(await upkeepOf(config)), hold, reason }));
  process.stdout.write(`${hold} is released\n`);
}

async function list(options: ListOptions): Promise<void> {
  const { url, schema } = await auditAddress(options);
  const client = new pg.Client({
    connectionString: url,
    application_name: 'countersign audit hold',
    options: ISO_DATES,
  });
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown> & HoldRow>(
      `SELECT hold, agent, person, "from", "to", reason, added_by, added_at, in_force, released_at, released_by, release_reason
         FROM ${quoteName(schema)}.legal_holds ORDER BY added_at, hold`,
    );
    for (const row of rows)
      process.stdout.write(`${options.json ? jsonLine(row) : oneLine(holdText(row))}\n`);
    if (!options.json) process.stdout.write(`${rows.length} holds\n`);
  } finally {
    await client.end();
  }
}

type HoldRow = {
  readonly hold: string;
  readonly agent: string | null;
  readonly person: string | null;
  readonly from: Date | null;
  readonly to: Date | null;
  readonly reason: string;
  readonly added_by: string;
  readonly added_at: Date;
  readonly released_at: Date | null;
};

function holdText(row: HoldRow): string {
  const { hold, agent, person, from, to } = row;
  const state = row.released_at === null ? 'in force' : `released ${row.released_at.toISOString()}`;
  const scope = scopeText({
    ...{ agent: agent ?? undefined, person: person ?? undefined },
    ...{ from: from ?? undefined, to: to ?? undefined },
  });
  return `${hold}  ${state}  ${scope}  since ${row.added_at.toISOString()} by ${row.added_by}: ${row.reason}`;
}

/** The role of `audit.adminUrl` acts as the owner; the installation's key endorses the entries' stream. */
async function upkeepOf(config: Config): Promise<Upkeep> {
  const { adminUrl, schema } = config.audit;
  if (adminUrl === null)
    throw new CliError(
      'no_admin_url',
      'audit.adminUrl is missing: the roles of the proxy and of auditors cannot take anything out of the log',
    );
  const { signer } = await trustedKeys(config);
  return { url: adminUrl, schema, signer, by: operator() };
}

async function refusable<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof UpkeepRefused) throw new CliError(error.code, error.message, 1);
    throw error;
  }
}

function daysOf(keep: string | undefined, configured: number | null): number {
  const ms = keep === undefined ? null : durationMs(keep);
  const days = keep === undefined ? configured : ms === null ? null : ms / DAY_MS;
  if (days === null || !Number.isInteger(days) || days < 1)
    throw new CliError(
      'bad_keep',
      keep === undefined
        ? 'how long are rows kept? Give --keep 400d, or audit.retention in the configuration'
        : '--keep: expected whole days, for example 400d',
    );
  return days;
}

function redactionScope(options: RedactOptions): RedactionScope {
  const scope = filterScope(options);
  const filtered = Object.values(scope).some((value) => value !== undefined);
  if (filtered === options.statement.length > 0)
    throw new CliError(
      'bad_scope',
      'which statements? Give --statement STREAM/SEQ, or filters (--agent, --person, --from, --to), and not both',
    );
  if (filtered) return scope;
  return { statements: options.statement.map(placeOf) };
}

function placeOf(text: string): { stream: string; seq: bigint } {
  const [, stream, seq] = /^([^/\s]+)\/(\d{1,18})$/.exec(text) ?? [];
  if (stream === undefined || seq === undefined)
    throw new CliError(
      'bad_statement',
      '--statement: expected the columns stream and seq of the view statements: STREAM/SEQ',
    );
  return { stream, seq: BigInt(seq) };
}

function filterScope({ agent, person, from, to }: Filters): HoldScope {
  return { agent, person, from: dateOf('--from', from), to: dateOf('--to', to) };
}

function dateOf(option: string, text: string | undefined): Date | undefined {
  return text === undefined ? undefined : new Date(timeOption(option, text) * 1000);
}

function scopeText({ agent, person, from, to }: HoldScope): string {
  const parts = [
    ...(agent === undefined ? [] : [`agent ${agent}`]),
    ...(person === undefined ? [] : [`person ${person}`]),
    ...(from === undefined ? [] : [`from ${from.toISOString()}`]),
    ...(to === undefined ? [] : [`before ${to.toISOString()}`]),
  ];
  return parts.length === 0 ? 'everything' : parts.join(', ');
}

const DAY_MS = 86_400_000;
const AFTERWARDS = `What else may hold it: backups and the database's WAL, until they are recycled; free space of its
tables, until VACUUM and new rows overwrite it; messages in chat; a journal of a process that has not shipped yet.
`;
