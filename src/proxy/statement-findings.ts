/** What people are told, when a request is opened, about what the statement would touch. */
import { performance } from 'node:perf_hooks';
import type { Analyser } from '../analyser/analyser.ts';
import type { ContextFinding } from '../approval/port.ts';
import { type Aimed, blastRadius } from '../catalog/blast/blast-radius.ts';
import { notKnown } from '../catalog/blast/finding.ts';
import { planFindings } from '../catalog/blast/plan-summary.ts';
import { explained } from '../catalog/plan-estimate.ts';
import type { CatalogLog } from '../catalog/provider.ts';
import { formatSearchPath, type SideConnection } from '../catalog/side.ts';
import type { Limits } from '../config/limits.ts';
import type { Subject } from '../session/subject.ts';
import type { NameScope } from '../statement/analysis.ts';
import type { Catalog } from '../statement/catalog.ts';
import { isHigher } from '../statement/facts.ts';
import { MOST_TARGETS, targetsOf } from '../statement/targets.ts';

export type FindingPorts = {
  readonly analyser: Analyser;
  readonly side: SideConnection;
  readonly catalog: () => Catalog;
  readonly limits: Pick<Limits, 'contextMs'>;
  readonly log: CatalogLog;
};

/** Never rejects: what could not be found out is itself a finding. Takes `contextMs` at most, and the parser's time. */
export async function statementFindings(
  ports: FindingPorts,
  subject: Subject,
  scope: NameScope,
  catalogCertain: boolean,
): Promise<readonly ContextFinding[]> {
  const until = performance.now() + ports.limits.contextMs;
  const left = () => until - performance.now();
  try {
    const aimed = await aimedAt(ports.analyser, subject, scope);
    const plans = await plansOf(ports, subject, scope, catalogCertain, left);
    if (aimed.every(({ targets }) => targets.length === 0)) return [...plans, ...unreadable(subject)];
    const { within, whole } = firstOf(aimed, MOST_TARGETS);
    const more = whole
      ? []
      : [notKnown(`only the first ${MOST_TARGETS} parts of this string were looked into`)];
    return [
      ...plans,
      ...(await radiusOf(ports, within, left)),
      ...more,
      ...reservations(subject, scope, catalogCertain),
    ];
  } catch (error) {
    ports.log.warn({ err: error }, 'what a statement would touch was not found out');
    return [notKnown('what it would touch could not be found out in time; the database may be busy')];
  }
}

async function aimedAt(
  analyser: Analyser,
  { sql, named, analysis }: Subject,
  { searchPath }: NameScope,
): Promise<readonly Aimed[]> {
  const aimed: Aimed[] = [];
  for (const text of [sql, ...named.map((one) => one.sql)]) {
    const parse = analyser.needsWorker(text) ? await analyser.parseLater(text) : analyser.parse(text);
    if (parse.kind !== 'tree') continue;
    let path = searchPath;
    for (const [place, { node }] of parse.statements.entries()) {
      aimed.push({ targets: targetsOf(node), path });
      if (text === sql && analysis.statements[place]?.changesSearchPath !== false) path = null;
    }
  }
  return aimed;
}

function firstOf(aimed: readonly Aimed[], most: number): { within: readonly Aimed[]; whole: boolean } {
  let left = most;
  const within = aimed.map(({ targets, path }) => {
    const some = targets.slice(0, left);
    left -= some.length;
    return { targets: some, path };
  });
  const count = (all: readonly Aimed[]) => all.reduce((sum, { targets }) => sum + targets.length, 0);
  return { within, whole: count(within) === count(aimed) };
}

/** Why what was found may not be what the statement will find when it runs. */
function reservations(
  { analysis }: Subject,
  { tempPossible }: NameScope,
  catalogCertain: boolean,
): readonly ContextFinding[] {
  const out: ContextFinding[] = [];
  if (tempPossible || analysis.statements.some(({ makesTemp }) => makesTemp))
    out.push(
      notKnown('names may mean temporary objects of the session, which cannot be looked into from outside'),
    );
  if (!catalogCertain)
    out.push(
      notKnown(
        'the transaction has changed the schema and not committed: what is said here is as it was before',
      ),
    );
  if (analysis.statements.slice(0, -1).some(({ changesCatalog }) => changesCatalog))
    out.push(
      notKnown(
        'statements before it in this string change the schema: what is said here is as it was before them',
      ),
    );
  return out;
}

/** Statements of one string that the planner is asked about. */
const MOST_PLANS = 4;

/**
 * What the planner expects of reads and writes. Planning may run functions: so only where all of them are known to be
 * harmless, which is what a class below `ddl` says, and where names mean the same on the side connection.
 */
async function plansOf(
  { side, log }: FindingPorts,
  { sql, analysis, parameters, named }: Subject,
  { searchPath, tempPossible }: NameScope,
  catalogCertain: boolean,
  left: () => number,
): Promise<readonly ContextFinding[]> {
  const planned = analysis.statements.filter(({ command }) => PLANNED.has(command));
  const harmless = isHigher('ddl', analysis.class);
  if (planned.length === 0 || !harmless) return [];
  if (searchPath === null || tempPossible || !catalogCertain || named.length > 0)
    return [
      notKnown(
        'the planner was not asked how many rows it touches: only this session knows what its names mean',
      ),
    ];
  const path = formatSearchPath(searchPath);
  const out: ContextFinding[] = [];
  for (const { start, end } of planned.slice(0, MOST_PLANS)) {
    const text = sql.subarray(start, end);
    const found = await side

      .look(left(), (client) => explained(client, text, parameters, path))
      .catch((error: unknown) =>
        log.warn({ err: error }, 'the planner was not asked about a held statement'),
      );
    out.push(...planFindings(found ?? null));
  }
  return out;
}

const PLANNED = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'MERGE', 'VALUES', 'TABLE']);

function unreadable({ analysis }: Subject): readonly ContextFinding[] {
  if (analysis.class === 'unparsed')
    return [notKnown('nobody could read this statement, so what it would touch is not known')];
  if (analysis.class === 'opaque')
    return [notKnown('it runs code that nobody has judged: what that does is known only when it runs')];
  return [];
}

function radiusOf(
  { side, catalog, limits }: FindingPorts,
  aimed: readonly Aimed[],
  left: () => number,
): Promise<readonly ContextFinding[]> {
  const relation = (schema: string, name: string) => catalog().relation(schema, name);
  return side.look(left(), (client) =>
    blastRadius(
      client,
      aimed,
      {
        tags: (schema, name) => relation(schema, name)?.tags ?? [],
        cascades: (schema, name, access) => relation(schema, name)?.cascades[access] ?? null,
      },
      limits.contextMs,
    ),
  );
}
