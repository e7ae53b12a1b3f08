import type { RequestView } from '../approval/guard.ts';
import type { ContextRelation, RequestContext } from '../approval/port.ts';
import { limitWords, visible } from './visible.ts';

/**
 * The facts about a request beside its statement, the same in each channel and in the same order; a channel only lays
 * them out. All text is visible and without line breaks.
 */
export type FactLine = {
  readonly label: string;
  readonly text: string;
  /** What the text speaks of; the first of `of`, most important first. */
  readonly items: readonly string[];
  readonly of: number;
};

export function factLines(view: RequestView): readonly FactLine[] {
  const { session, context } = view;
  return [
    line(
      'Agent',
      `${session.agent}${session.owner === null ? '' : ` (owner ${session.owner}, who cannot approve)`}`,
    ),
    ...optional('On behalf of', session.onBehalfOf, (person) => `${person}, who cannot approve`),
    // Where nobody names one, the session is the run.
    ...optional(
      'Run',
      session.run === session.sessionId ? null : session.run,
      (run) => `${run}${session.runVerified ? '' : CLAIMED}`,
    ),
    ...optional('Program', session.applicationName || null, (name) => `${name}${CLAIMED}`),
    ...claims(context),
    line('Database', `${session.database} as ${session.role}`),
    ...optional(
      'From',
      session.clientAddress,
      (address) => `${address}${session.tls ? ', TLS' : ', no TLS'}`,
    ),
    line('Class', `${view.class}, rule ${view.rule}`),
    ...listing('Why held', '', view.reasons),
    ...statements(context),
    ...listing('Crosses to', '', context?.boundary.map((one) => one.replaceAll('_', ' ')) ?? []),
    ...listing('Data', '', dataItems(view)),
    ...escalation(view),
    line('Search path', view.searchPath),
    line('Result', limitWords(view.limits) ?? 'without a limit'),
    ...alikeLine(view),
    ...listing('On call', 'who may approve, and when', (view.demand.onCall ?? []).map(onCallWords)),
    ...refusalsLine(view),
    ...(view.inTransaction ? [line('Transaction', 'open: it keeps its locks while it waits')] : []),
    ...optional('Waits until', view.waitsUntil?.toISOString() ?? null, waitsUntil),
    ...(context?.sent == null
      ? []
      : [line('Already sent', `${context.sent.rows} rows, ${context.sent.bytes} bytes of this result`)]),
    ...(context?.findings ?? []).map(({ label, text, items, of }) => ({
      label: flat(label),
      text: flat(text),
      items: items.map(flat),
      of,
    })),
  ];
}

/** As one text; at most `most` items, and then how many there are. */
export function factText({ text, items, of }: FactLine, most: number): string {
  const shown = items.slice(0, most);
  const rest = of - shown.length;
  const listed = `${shown.join(', ')}${rest > 0 ? `${shown.length === 0 ? '' : ' '}and ${rest.toLocaleString('en-US')} more` : ''}`;
  return text === '' ? listed : listed === '' ? text : `${text}: ${listed}`;
}

/** Characters of one item where room is short. */
const ITEM_CHARACTERS = 300;

/** The same where room is short; `cut`: something was left out. */
export function shortFact(
  line: FactLine,
  most: number,
  characters: number,
): { readonly text: string; readonly cut: boolean } {
  const items = line.items.map((item) => head(item, ITEM_CHARACTERS));
  const long = items.some((item, place) => item !== line.items[place]);
  for (let count = Math.min(most, items.length); count > 0; count--) {
    const text = factText({ ...line, items: items.slice(0, count) }, count);
    if (text.length <= characters) return { text, cut: long || count < line.of };
  }
  const text = factText(line, 0);
  return { text: head(text, characters), cut: line.of > 0 || text.length > characters };
}

function head(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}

/** The agent is told to send it again later; what was approved meanwhile runs then. */
function waitsUntil(time: string): string {
  return `${time.slice(0, 19).replace('T', ' ')} UTC, on the agent's connection; an answer after that counts when it sends the statement again`;
}

/** One card for all of them: what an approval of it is good for. */
function alikeLine({ alike }: RequestView): readonly FactLine[] {
  if (alike.length < 2) return [];
  return [
    line(
      'Waiting alike',
      `${alike.length} requests for the very same; an approval is for one, the oldest first`,
    ),
  ];
}

function refusalsLine({ refusals }: RequestView): readonly FactLine[] {
  if (refusals === 0) return [];
  const count = refusals.toLocaleString('en-US');
  return [
    line(
      'Refused',
      `${count} more statements of this agent in ten minutes: it asks more than its limits let it`,
    ),
  ];
}

type OnCall = NonNullable<RequestView['demand']['onCall']>[number];

function onCallWords({ days, hours, zone, approvers, later = [] }: OnCall): string {
  const when = [days?.join(' '), hours, zone ?? 'UTC'].filter((part) => part !== undefined).join(' ');
  const escalated = later.length === 0 ? '' : `; once escalated also ${later.join(' or ')}`;
  return `${when}: only ${approvers.join(' or ')}${escalated}`;
}

const CLAIMED = ' (claimed by the agent)';

function line(label: string, text: string): FactLine {
  return { label, text: flat(text), items: [], of: 0 };
}

function optional(
  label: string,
  value: string | null,
  words: (value: string) => string,
): readonly FactLine[] {
  return value === null ? [] : [line(label, words(value))];
}

function listing(label: string, text: string, items: readonly string[]): readonly FactLine[] {
  return items.length === 0 ? [] : [{ label, text, items: items.map(flat), of: items.length }];
}

/** Why it says that it does this, and what else it says. */
function claims(context: RequestContext | null): readonly FactLine[] {
  const all = context?.claims ?? [];
  const reason = all.find(({ key }) => key === 'reason');
  const where = reason?.from === 'application_name' ? 'in application_name' : 'in a comment';
  return [
    ...optional('Reason', reason?.value ?? null, (value) => `${value} (claimed by the agent, ${where})`),
    ...listing(
      'Agent says',
      'in a comment, in its own words',
      all.filter((one) => one !== reason).map(({ key, value }) => `${key} = ${value}`),
    ),
  ];
}

/** A string of several is approved, and runs, as one. */
function statements(context: RequestContext | null): readonly FactLine[] {
  const told = context?.statements;
  if (told === undefined) return [];
  const { first, of, held } = told;
  const need = held === 0 ? 'none needs' : held === 1 ? '1 needs' : `${held} need`;
  const items = first.map(
    ({ number, command, class: rank, why }) =>
      `${number}. ${command} (${rank}): ${why === null ? 'needs no approval' : `needs approval, ${why}`}`,
  );
  const text = `${of} that run as one, of which ${need} approval`;
  return [{ label: 'Statements', text, items: items.map(flat), of }];
}

/** Who is asked as well when nobody answers: known from the beginning. */
function escalation({ demand, escalatesAt }: RequestView): readonly FactLine[] {
  if (demand.escalation === undefined || escalatesAt === null) return [];
  const brought = demand.approvers.length === 0 ? [] : demand.escalation.approvers;
  const onCall = (demand.onCall ?? []).flatMap(({ later = [] }) => later);
  const approvers = [...new Set([...brought, ...onCall])];
  const from = `from ${escalatesAt.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
  return approvers.length === 0
    ? [line('Escalation', `${from} it is asked again, elsewhere`)]
    : listing('Escalation', `${from} also`, approvers);
}

/** The names come from what the digest binds; columns and tags from the context. */
function dataItems({ relations, context }: RequestView): readonly string[] {
  return relations.map(({ name, mode }) => {
    const known = context?.relations.find((one) => one.name === name && one.mode === mode);
    return `${name} (${[mode, ...(known === undefined ? [] : details(known))].join('; ')})`;
  });
}

function details({ read, written, tags }: ContextRelation): readonly string[] {
  const columns = (verb: string, names: readonly string[] | null) =>
    names === null || names.length === 0 ? [] : [`${verb} ${names.join(' ')}`];
  return [
    ...columns('reads', read),
    ...columns('writes', written),
    ...(tags.length === 0 ? [] : [`tags ${tags.join(' ')}`]),
  ];
}

function flat(text: string): string {
  return visible(text).replace(/\n/g, '‹U+000A›').replace(/\t/g, '‹U+0009›');
}
