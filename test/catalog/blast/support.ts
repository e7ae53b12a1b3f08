import pg from 'pg';
import { type Analyser, loadAnalyser } from '../../../src/analyser/analyser.ts';
import { blastRadius, type RadiusKnowledge } from '../../../src/catalog/blast/blast-radius.ts';
import type { Finding } from '../../../src/catalog/blast/finding.ts';
import { DEFAULT_LIMITS } from '../../../src/config/limits.ts';
import type { Target } from '../../../src/statement/target.ts';
import { targetsOf } from '../../../src/statement/targets.ts';

let analyser: Analyser | null = null;

/** The targets of every statement in a text. */
export async function targetsIn(sql: string): Promise<readonly Target[]> {
  analyser ??= await loadAnalyser(DEFAULT_LIMITS);
  const parse = analyser.parse(Buffer.from(sql));
  if (parse.kind === 'error') throw new Error(`${sql}: ${parse.message}`);
  return parse.statements.flatMap(({ node }) => targetsOf(node));
}

export const NOTHING_KNOWN: RadiusKnowledge = { tags: () => [], cascades: () => null };

export async function findingsOn(
  client: pg.Client,
  sql: string,
  path: readonly string[] | null = ['public'],
  knowledge: RadiusKnowledge = NOTHING_KNOWN,
): Promise<readonly Finding[]> {
  return blastRadius(client, [{ targets: await targetsIn(sql), path }], knowledge, 20_000);
}

export function labelled(findings: readonly Finding[], label: string): readonly string[] {
  return findings.filter((one) => one.label === label).flatMap(({ items }) => items);
}

export type Told = {
  /** SQLSTATE and message; null: it ran. */
  readonly error: pg.DatabaseError | null;
  /** Objects of `drop cascades to …` and `… depends on …`, and tables of `truncate cascades to …`. */
  readonly cascade: readonly string[];
  readonly depends: readonly string[];
  /** Tables that are there afterwards and that it took an ACCESS EXCLUSIVE lock on. */
  readonly locked: readonly string[];
};

/** Runs it for real, in a transaction that is rolled back, with every name written whole; what the server says of it. */
export async function really(client: pg.Client, sql: string): Promise<Told> {
  const notices: string[] = [];
  const listen = ({
    message = '',
    detail = '',
  }: {
    message?: string | undefined;
    detail?: string | undefined;
  }) => {
    notices.push(...(/ other objects$/.test(message) ? detail.split('\n') : [message]));
  };
  client.on('notice', listen);
  await client.query('BEGIN; SET LOCAL search_path = pg_catalog');
  try {
    await client.query(sql);
    const { rows } = await client.query<{ words: string }>(LOCKED);
    return { error: null, depends: [], cascade: objects(notices), locked: rows.map(({ words }) => words) };
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) throw error;
    const depends = (error.detail ?? '')
      .split('\n')
      .flatMap((line) => /^(.*) depends on /.exec(line)?.[1] ?? []);
    return { error, depends, cascade: [], locked: [] };
  } finally {
    await client.query('ROLLBACK');
    client.off('notice', listen);
  }
}

const LOCKED = `SELECT DISTINCT pg_describe_object(1259, c.oid, 0) AS words
  FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
  WHERE l.pid = pg_backend_pid() AND l.mode = 'AccessExclusiveLock' AND c.relkind IN ('r', 'p', 'm') AND c.oid >= 16384`;

function objects(notices: readonly string[]): readonly string[] {
  return notices.flatMap((line) => {
    const dropped = /^drop cascades to (.*)$/.exec(line)?.[1];
    const emptied = /^truncate cascades to table "(.*)"$/.exec(line)?.[1];
    return dropped ?? emptied ?? [];
  });
}
