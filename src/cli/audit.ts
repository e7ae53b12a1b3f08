import type { Command } from 'commander';
import pg from 'pg';
import { migrateApprovals } from '../approval/migrate.ts';
import { DEFAULT_AUDIT_ROLES, type MigrationResult, migrateAudit } from '../audit/migrate.ts';
import type { SchemaState } from '../audit/schema-state.ts';
import { auditStatus, type StreamStatus } from '../audit/status.ts';
import { loadConfig } from '../config/load.ts';
import { auditAddress, noSchema, onAuditDatabase } from './audit-database.ts';
import { upkeepCommands } from './audit-upkeep.ts';
import { configOption } from './options.ts';
import { oneLine } from './requests-text.ts';

type Options = { readonly config: string; readonly url?: string; readonly schema?: string };
type MigrateOptions = Options & { readonly writer: string };

/** `countersign audit migrate|status`, and what takes something out of the log. */
export function auditCommand(program: Command): void {
  const audit = program.command('audit').description('the audit schema');
  audit
    .command('migrate')
    .description('bring the audit schema and its roles up to date; may run while the proxy runs')
    .addOption(configOption())
    .option('--url <url>', 'audit database, as a role that may create schemas and roles')
    .option('--schema <name>', 'its schema (default: audit, or what the configuration says)')
    .option('--writer <role>', "the proxy's role", DEFAULT_AUDIT_ROLES.writer.name)
    .action(async (options: MigrateOptions) => {
      const { schema } = await auditAddress(options);
      process.stdout.write(migrationText(await onAuditDatabase(schema, MIGRATOR, () => migrate(options))));
    });
  audit
    .command('status')
    .description(
      'whether the schema fits this program; streams of the log, how far each is stored and signed',
    )
    .addOption(configOption())
    .option('--url <url>', 'audit database, as a role that reads its views (COUNTERSIGN_AUDIT_URL)')
    .option('--schema <name>', 'its schema (default: audit, or what the configuration says)')
    .action(async (options: Options) => {
      const { url, schema } = await auditAddress(options);
      const status = await onAuditDatabase(schema, "give --url with the auditors' role", () =>
        auditStatus(url, schema),
      );
      if (status.schema.kind === 'absent') throw noSchema(schema);
      const problems = schemaProblems(status.schema);
      process.stdout.write(`${[...problems, ...streamLines(status.streams)].join('\n')}\n`);
      if (problems.length > 0 || status.streams.some(({ complete }) => !complete)) process.exitCode = 1;
    });
  upkeepCommands(audit);
}

async function migrate(options: MigrateOptions): Promise<MigrationResult> {
  const { url, schema } = await auditAddress(options);
  const writer = options.url === undefined ? await writerOf(options.config) : options.writer;
  const client = new pg.Client({ connectionString: url, application_name: 'countersign migrate' });
  await client.connect();
  try {
    const roles = { ...DEFAULT_AUDIT_ROLES, writer: { name: writer, password: null } };
    const result = await migrateAudit({ admin: client, schema, roles });
    const requests = await migrateApprovals(client, {
      owner: 'countersign_requests_owner',
      writer,
      auditor: DEFAULT_AUDIT_ROLES.auditor.name,
    });
    return { ...result, applied: [...result.applied, ...requests.map((name) => `countersign/${name}`)] };
  } finally {
    await client.end();
  }
}

async function writerOf(config: string): Promise<string> {
  const { audit } = await loadConfig(config, process.env);
  return decodeURIComponent(new URL(audit.url).username);
}

function migrationText({ applied, present }: MigrationResult): string {
  const lines = applied.map((name) => `applied ${name}`);
  lines.push(`${applied.length} applied, ${present.length} were there`);
  return `${lines.join('\n')}\n`;
}

/** What is wrong with the schema's version, a line each, and what to do. */
function schemaProblems(state: SchemaState): string[] {
  if (state.kind === 'absent') return [];
  if (state.kind === 'old')
    return ['SCHEMA BEHIND: it is older than this program; run countersign audit migrate'];
  const { missing, unknown, other } = state;
  return [
    ...(missing.length === 0
      ? []
      : [
          `SCHEMA BEHIND: ${missing.length} changes are missing, from ${missing[0]} on; run countersign audit migrate`,
        ]),
    ...(unknown.length === 0
      ? []
      : [
          `SCHEMA AHEAD: a newer program has made ${unknown.length} changes that this one does not know, from ${oneLine(unknown[0] ?? '')} on`,
        ]),
    ...other.map((name) => `SCHEMA DIFFERS: ${oneLine(name)} was another text than this program's`),
  ];
}

function streamLines(streams: readonly StreamStatus[]): string[] {
  const lines = streams.map(({ stream, state, entries, signedUpTo, complete, host, pid }) => {
    const problem = complete ? '' : '  NOT COMPLETE: run countersign verify';
    const where = oneLine(`${host}/${pid}`);
    return `${oneLine(stream)}  ${state.padEnd(9)}  ${entries} entries, signed up to ${signedUpTo}  ${where}${problem}`;
  });
  return [...lines, streams.length === 1 ? '1 stream' : `${streams.length} streams`];
}

const MIGRATOR =
  'migrations need a role that may create roles and, in this database, schemas (audit.adminUrl, or --url)';
