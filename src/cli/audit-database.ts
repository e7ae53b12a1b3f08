import { existsSync } from 'node:fs';
import { loadConfig } from '../config/load.ts';
import { CliError } from './exit.ts';

/** Where the audit schema is, with a role that may read it: `--url`, the environment, or the configuration. */
export async function auditAddress(options: {
  readonly config: string;
  readonly url?: string;
  readonly schema?: string;
}): Promise<{ url: string; schema: string }> {
  const url = options.url ?? process.env['COUNTERSIGN_AUDIT_URL'];
  if (url !== undefined) {
    // What else it says may hold a password.
    if (!/^postgres(ql)?:\/\//.test(url))
      throw new CliError('bad_url', 'the audit database: expected a URL that begins with postgres://');
    return { url, schema: options.schema ?? 'audit' };
  }
  if (!existsSync(options.config))
    throw new CliError(
      'no_audit_url',
      `which audit database? Give --url (or COUNTERSIGN_AUDIT_URL), or a configuration: ${options.config} is not there`,
    );
  const { audit } = await loadConfig(options.config, process.env);
  if (audit.adminUrl === null) {
    throw new CliError(
      'no_audit_url',
      `${options.config} has no audit.adminUrl, and the writer's role cannot read the log: give --url with the auditor's`,
    );
  }
  return { url: audit.adminUrl, schema: options.schema ?? audit.schema };
}

/** Does something with the audit database; says what to change where Postgres only says that it does not go. */
export async function onAuditDatabase<T>(schema: string, right: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code: unknown = Reflect.get(Object(error), 'code');
    const why = error instanceof Error ? error.message : String(error);
    if (code === '42501') throw new CliError('audit_right', `${why}: ${right}`);
    if (code === '42P01' || code === '3F000') throw noSchema(schema);
    if (typeof code === 'string' && /^(E[A-Z_]+|08...|28...|3D...|57P0[123])$/.test(code) && why !== '')
      throw new CliError('audit_unreachable', `the audit database: ${why}`);
    throw error;
  }
}

export function noSchema(schema: string): CliError {
  return new CliError(
    'no_audit_schema',
    `this database has no audit schema ${schema}: give --schema, or another database, or make it: countersign audit migrate`,
  );
}
