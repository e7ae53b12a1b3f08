import type { Command } from 'commander';
import pg from 'pg';
import { migrateApprovals } from '../approval/migrate.ts';
import { DEFAULT_AUDIT_ROLES, type MigrationResult, migrateAudit } from '../audit/migrate.ts';
import { auditStatus, type StreamStatus } from '../audit/status.ts';
import { loadConfig } from '../config/load.ts';
import { upkeepCommands } from './audit-upkeep.ts';
import { oneLine } from './requests-text.ts';
import { auditAddress } from './verify.ts';

type Options = { readonly config: string; readonly url?: string; readonly schema?: string };
type MigrateOptions = Options & { readonly writer: string };

/** `countersign audit migrate|status`, and what takes something out of the log. */
export function auditCommand(program: Command): void {
  const audit = program.command('audit').description('the audit schema');
  audit
    .command('migrate')
    .description('bring the audit schema and its roles up to date; may run while the proxy runs')
    .option('-c, --config <file>', 'configuration file, for audit.adminUrl', 'countersign.yaml')
    .option('--url <url>', 'audit database, as a role that may create schemas and roles')
    .option('--schema <name>', 'its schema (default: audit, or what the configuration says)')
    .option('--writer <role>', "the proxy's role", DEFAULT_AUDIT_ROLES.writer.name)
    .action(async (options: MigrateOptions) => {
      process.stdout.write(migrationText(await migrate(options)));
    });
  audit
    .command('status')
    .description('streams of the log, how far each is stored and signed')
    .option('-c, --config <file>', 'configuration file, for the database address', 'countersign.yaml')
    .option('--url <url>', 'audit database, as a role that reads its views (COUNTERSIGN_AUDIT_URL)')
    .option('--schema <name>', 'its schema (default: audit, or what the configuration says)')
    .action(async (options: Options) => {
      const { url, schema } = await auditAddress(options);
      const streams = await auditStatus(url, schema);
      process.stdout.write(statusText(streams));
      if (streams.some(({ complete }) => !complete)) process.exitCode = 1;
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

function statusText(streams: readonly StreamStatus[]): string {
  const lines = streams.map(({ stream, state, entries, signedUpTo, complete, host, pid }) => {
    const problem = complete ? '' : '  NOT COMPLETE: run countersign verify';
    const where = oneLine(`${host}/${pid}`);
    return `${oneLine(stream)}  ${state.padEnd(9)}  ${entries} entries, signed up to ${signedUpTo}  ${where}${problem}`;
  });
  lines.push(`${streams.length} streams`);
  return `${lines.join('\n')}\n`;
}
