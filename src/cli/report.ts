import type { Command } from 'commander';
import pg from 'pg';
import { auditAddress } from './audit-database.ts';
import { CliError } from './exit.ts';
import { configOption } from './options.ts';
import { type BudgetUse, budgetLines, readBudgets } from './report-budgets.ts';
import { oneLine } from './requests-text.ts';

type Options = {
  readonly config: string;
  readonly url?: string;
  readonly schema?: string;
  readonly since: string;
};

/** One line of the report. Numbers are of the time that was asked about. */
export type Observed = {
  readonly rule: string;
  readonly decision: string;
  readonly class: string;
  readonly agent: string;
  /** Null: the statements name no relation. */
  readonly relation: string | null;
  readonly statements: string;
  readonly sessions: string;
  readonly latest: string;
};

/**
 * `countersign report`: what mode observe let run that the policy would have held or denied, and what agents took of
 * their budgets.
 */
export function reportCommand(program: Command): void {
  program
    .command('report')
    .description(
      'what ran in mode observe and would have been held or denied, by rule, agent and relation; what was taken of budgets',
    )
    .addOption(configOption())
    .option('--url <url>', 'audit database, as a role that reads its views (COUNTERSIGN_AUDIT_URL)')
    .option('--schema <name>', 'its schema (default: audit, or what the configuration says)')
    .option('--since <time>', 'how far back: a number and m, h, d or w, or a date', '7d')
    .action(async (options: Options) => {
      const since = sinceOf(options.since, Date.now());
      const { url, schema } = await auditAddress(options);
      const { observed, budgets } = await readReport(url, schema, since);
      const columns = columnsOf(process.stdout);
      const lines = [...reportLines(observed, columns), ...budgetLines(budgets, columns)];
      process.stdout.write(lines.map((line) => `${line}\n`).join(''));
    });
}

const UNIT_MS: Readonly<Record<string, number>> = {
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** `7d`, `12h` or a date as `Date` reads it. Throws `CliError`, which names the option, for anything else. */
export function sinceOf(text: string, now: number, option = '--since'): Date {
  const [, count = '', unit = ''] = /^(\d{1,6})([mhdw])$/.exec(text) ?? [];
  const ms = count === '' ? Date.parse(text) : now - Number(count) * (UNIT_MS[unit] ?? 0);
  if (Number.isNaN(ms))
    throw new CliError(
      'cli_usage',
      `${option}: expected a number and m, h, d or w, or a date; found ${text}`,
    );
  return new Date(ms);
}

async function readReport(
  url: string,
  schema: string,
  since: Date,
): Promise<{ readonly observed: readonly Observed[]; readonly budgets: readonly BudgetUse[] | null }> {
  const client = new pg.Client({ connectionString: url, application_name: 'countersign report' });
  await client.connect();
  try {
    const { rows: observed } = await client.query<Observed>(
      `SELECT o.rule, o.decision, o.class, o.agent, r.relation, count(*)::text AS statements,
              count(DISTINCT o.session_id)::text AS sessions,
              (array_agg(o.sql ORDER BY o.at DESC, o.seq DESC))[1] AS latest
         FROM ${client.escapeIdentifier(schema)}.observed o
         LEFT JOIN LATERAL unnest(o.relations) AS r (relation) ON true
        WHERE o.at >= $1
        GROUP BY o.rule, o.decision, o.class, o.agent, r.relation
        ORDER BY count(*) DESC, o.rule, o.agent, r.relation`,
      [since],
    );
    return { observed, budgets: await readBudgets(client, since) };
  } finally {
    await client.end();
  }
}

function columnsOf({ isTTY, columns }: NodeJS.WriteStream): number | null {
  return isTTY ? columns : null;
}

/** A table for a terminal of that many columns; for a pipe (null) one tab-separated line each, without a head. */
export function reportLines(observed: readonly Observed[], columns: number | null): readonly string[] {
  const cells = observed.map((one) =>
    [
      one.decision,
      one.rule,
      one.agent,
      one.relation ?? '-',
      one.statements,
      one.sessions,
      one.latest ?? '',
      // Agents choose the names of what they make, not only texts.
    ].map((cell) => oneLine(String(cell))),
  );
  if (columns === null) return cells.map((row) => row.join('\t'));
  if (cells.length === 0) return ['Nothing that ran in mode observe would have been held or denied.'];
  const rows = [['WOULD', 'RULE', 'AGENT', 'RELATION', 'STATEMENTS', 'SESSIONS', 'LATEST'], ...cells];
  const widths = [0, 1, 2, 3, 4, 5].map((at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)));
  return rows.map((row) => {
    const head = widths.map((width, at) => (row[at] ?? '').padEnd(width)).join('  ');
    return [...`${head}  ${row[6] ?? ''}`].slice(0, columns).join('');
  });
}
