import { visible } from '../channels/visible.ts';
import type { Escalation } from '../policy/decision.ts';
import type { ChangedGroup, PolicyDiff, UntoldGroup } from '../policy/diff.ts';
import type { Ruling } from '../policy/replay.ts';
import type { OnCall, Policy } from '../policy/rule.ts';

/** What was compared, and over which time. */
export type DiffRun = {
  readonly diff: PolicyDiff;
  readonly old: Policy;
  readonly new: Policy;
  readonly since: Date;
  readonly until: Date;
  /** Statements that the server rejects anyhow; no policy decides them. */
  readonly mistakes: number;
};

/** Characters of a statement's text that are shown. */
const EXAMPLE = 120;

/**
 * For people: what is decided otherwise, by what becomes of it, most frequent first. `looked`: texts were looked at again.
 */
export function diffText(run: DiffRun, looked: boolean): string {
  const { diff, mistakes } = run;
  const lines = [
    `${run.old.digest.slice(0, 12)} -> ${run.new.digest.slice(0, 12)}, statements from ${run.since.toISOString()} to ${run.until.toISOString()}`,
    ...sections(diff.changes),
    ...untoldSection(diff.unknowns),
    '',
    `${diff.statements} statements: ${diff.changed} decided otherwise, ${diff.same} the same${
      diff.byAnotherRule === 0 ? '' : ` (${diff.byAnotherRule} by another rule)`
    }, ${diff.untold} cannot be said`,
  ];
  if (diff.byText > 0) lines.push(`${diff.byText} of them by their text, as the database understands it now`);
  if (diff.untold > 0 && !looked)
    lines.push('--upstream URL looks at their texts again, with the database as it is now');
  if (diff.unlisted > 0) lines.push(`${diff.unlisted} of them in groups beyond those listed`);
  if (mistakes > 0)
    lines.push(
      `${mistakes} more ${mistakes === 1 ? 'was a mistake' : 'were mistakes'} that the server rejects under any policy`,
    );
  return lines.map((line) => `${line}\n`).join('');
}

function sections(changes: readonly ChangedGroup[]): readonly string[] {
  const titles = [...new Set(changes.map(titleOf))];
  return titles.flatMap((title) => {
    const groups = changes.filter((one) => titleOf(one) === title);
    const count = groups.reduce((sum, { statements }) => sum + statements, 0);
    return ['', `${title}: ${count}`, ...groups.flatMap((one) => groupLines(one, rulesOf(one)))];
  });
}

function titleOf({ what, from, to }: ChangedGroup): string {
  if (what === 'approval') return 'hold -> hold, asked otherwise';
  if (what === 'limits') return `${from.decision} -> ${to.decision}, other limits`;
  return `${from.decision} -> ${to.decision}`;
}

function rulesOf({ what, from, to }: ChangedGroup): string {
  const rules = from.rule === to.rule ? from.rule : `${from.rule} -> ${to.rule}`;
  if (what === 'approval') return `${rules} (${demandText(from)} -> ${demandText(to)})`;
  return what === 'limits' ? `${rules} (${limitsText(from)} -> ${limitsText(to)})` : rules;
}

function demandText({ approval }: Ruling): string {
  if (approval === null) return 'nobody';
  const { approvers, quorum, assurance, expiryMs, channel, onCall, maxPerMinute, escalation } = approval;
  return [
    `${quorum} of ${approvers.length === 0 ? 'everybody' : approvers.join(', ')}`,
    ...(assurance === 1 ? [] : [`assurance ${assurance}`]),
    ...(expiryMs === undefined ? [] : [`open ${expiryMs / 1000} s`]),
    ...(channel === undefined ? [] : [`channel ${channel}`]),
    ...(onCall ?? []).map(onCallWords),
    ...(maxPerMinute === undefined ? [] : [`at most ${maxPerMinute} a minute`]),
    ...(escalation === undefined ? [] : [escalationWords(escalation)]),
  ].join(', ');
}

function onCallWords({ approvers, days, hours, zone }: OnCall): string {
  const when = [days?.join(' '), hours, zone].filter((part) => part !== undefined).join(' ');
  return `${when} only ${approvers.join(', ')}`;
}

function limitsText({ limits }: Ruling): string {
  const said = [
    ...(limits?.rows == null ? [] : [`${limits.rows} rows`]),
    ...(limits?.bytes == null ? [] : [`${limits.bytes} bytes`]),
  ];
  return said.length === 0 ? 'no limits' : said.join(', ');
}

function untoldSection(unknowns: readonly UntoldGroup[]): readonly string[] {
  if (unknowns.length === 0) return [];
  const count = unknowns.reduce((sum, { statements }) => sum + statements, 0);
  return [
    '',
    `cannot be said, because the log does not tell what a rule asks for: ${count}`,
    '  (recorded by an older version, too much to be recorded, or erased)',
    ...unknowns.flatMap((one) => groupLines(one, `${one.rules.join(', ')} (${one.conditions.join(', ')})`)),
  ];
}

function groupLines(group: ChangedGroup | UntoldGroup, rules: string): readonly string[] {
  const { statements, agent, relations, example } = group;
  const names = relations.length === 0 ? '-' : relations.join(', ');
  return [
    `  ${String(statements).padStart(6)}  ${rules}; agent ${oneLine(agent)}; class ${group.class}; ${shortened(oneLine(names))}`,
    `          ${example === null ? '(erased)' : shortened(oneLine(example))}`,
  ];
}

/** For programs. */
export function diffJson({ diff, mistakes, ...run }: DiffRun): string {
  const shown = <T extends { readonly example: string | null; readonly relations: readonly string[] }>(
    one: T,
  ): T => ({
    ...one,
    relations: one.relations.map(visible),
    example: one.example === null ? null : shortened(oneLine(one.example)),
  });
  const ruling = ({ decision, rule, approval, limits }: Ruling) => ({
    decision,
    rule,
    approval,
    limits: limits ?? null,
  });
  const result = {
    old: run.old.digest,
    new: run.new.digest,
    since: run.since.toISOString(),
    until: run.until.toISOString(),
    mistakes,
    ...diff,
    changes: diff.changes.map((one) => ({ ...shown(one), from: ruling(one.from), to: ruling(one.to) })),
    unknowns: diff.unknowns.map(shown),
  };
  return `${JSON.stringify(result)}\n`;
}

/** Nothing in it may hide, and it stays on its line. */
function oneLine(text: string): string {
  return visible(text).replace(/\s+/g, ' ').trim();
}

function shortened(text: string): string {
  const characters = [...text];
  return characters.length <= EXAMPLE ? text : `${characters.slice(0, EXAMPLE - 1).join('')}…`;
}

function escalationWords({ afterMs, approvers, channel }: Escalation): string {
  const whom = approvers.length === 0 ? '' : ` also ${approvers.join(', ')}`;
  const where = channel === undefined ? '' : ` in channel ${channel}`;
  return `after ${afterMs / 1000} s${whom}${where}`;
}
