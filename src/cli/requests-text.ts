import type { RequestJson } from '../channels/api/json.ts';
import { factText } from '../channels/fact-lines.ts';
import { visible } from '../channels/visible.ts';
import { type Paint, PLAIN } from './paint.ts';
import type { VerdictAnswer } from './requests-api.ts';
import { cutTo, pad, span, widthOf } from './terminal-text.ts';

/** Where the text goes: a terminal with columns and colours, or (null) a pipe or file, where it is plain and stable. */
export type Screen = { readonly columns: number | null; readonly paint: Paint; readonly now: number };

/** A table for a terminal; for a pipe one tab-separated line a request, without a head. */
export function listLines(requests: readonly RequestJson[], screen: Screen): readonly string[] {
  const { columns, paint, now } = screen;
  if (columns === null) return requests.map((request) => plainCells(request, now).join('\t'));
  if (requests.length === 0) return ['No requests.'];
  const short = shortIds(requests.map(({ id }) => id));
  const rows = requests.map((request, at) => [
    oneLine(short[at] ?? request.id),
    oneLine(request.state),
    cutTo(oneLine(request.agent), AGENT_COLUMNS),
    oneLine(request.class),
    span(now - Date.parse(request.createdAt)),
    request.endedAt === null ? span(Date.parse(request.expiresAt) - now) : '-',
    oneLine(request.sql),
  ]);
  const widths = HEAD.map((name, column) =>
    Math.max(widthOf(name), ...rows.map((row) => widthOf(row[column] ?? ''))),
  );
  const lay = (row: readonly string[], colour: (column: number, text: string) => string) => {
    const cells = row.slice(0, -1).map((cell, column) => pad(cell, widths[column] ?? 0));
    const used = cells.reduce((sum, cell) => sum + widthOf(cell) + 2, 0);
    const last = cutTo(row.at(-1) ?? '', Math.max(8, columns - used));
    return [...cells.map((cell, column) => colour(column, cell)), last].join('  ');
  };
  return [
    paint(
      'bold',
      cutTo(
        lay(HEAD, (_, text) => text),
        columns,
      ),
    ),
    ...rows.map((row, at) => {
      const line = lay(row, (_, text) => text);
      // Where not even the columns before the statement have room, what is left of them is plain.
      if (widthOf(line) > columns) return cutTo(line, columns);
      return lay(row, (column, text) =>
        column === 1 ? stateText(requests[at]?.state ?? '', text, paint) : text,
      );
    }),
  ];
}

const HEAD = ['ID', 'STATE', 'AGENT', 'CLASS', 'AGE', 'LEFT', 'STATEMENT'];
const AGENT_COLUMNS = 24;
const LABEL = 20;

/** Everything about one request; each line of the statement behind a bar, so that none can pass for one of ours. */
export function showLines(request: RequestJson, screen: Screen = plainScreen(Date.now())): readonly string[] {
  const { paint, columns } = screen;
  const facts: readonly (readonly [string, string])[] = [
    ['Request', request.id],
    ['State', request.state + (request.endReason === null ? '' : `: ${request.endReason}`)],
    ...request.facts.map((line): readonly [string, string] => [
      line.label,
      factText(line, line.items.length),
    ]),
    ['Needs', `${request.quorum} of ${request.approvers.join(', ') || 'everyone who may approve'}`],
    ['Opened', when(request.createdAt, screen)],
    ['Until', when(request.expiresAt, screen)],
    ['Digest', request.digest],
    ...request.verdicts.map(({ verdict, person, channel, reason }): readonly [string, string] => [
      'Verdict',
      `${verdict} by ${person} (${channel})${reason === null ? '' : `: ${reason}`}`,
    ]),
    ...outcomeFacts(request),
    ['Page', request.url],
  ];
  const bar = columns === null ? '| ' : paint('dim', '│ ');
  return [
    ...facts.map(([name, value]) => {
      const text = oneLine(value);
      return `${paint('dim', name.padEnd(LABEL))} ${name === 'State' ? stateText(request.state, text, paint) : text}`;
    }),
    `${paint('dim', 'Statement'.padEnd(LABEL))} ${oneLine(`${request.sqlLength} bytes, sha256 ${request.sqlSha256}`)}`,
    '',
    ...visible(request.sql)
      .split('\n')
      .map((line) => `${bar}${line}`),
    '',
    ...(request.parameters ?? []).map(
      ({ shown }, index) => `$${index + 1} = ${shown === null ? 'NULL' : oneLine(shown)}`,
    ),
  ];
}

/** What came of an answer; a line for each that was answered together. */
export function answerLines(result: VerdictAnswer): readonly string[] {
  const { answered = [], approvals, quorum } = result;
  const line = (id: string | null, state: string | null, code: string | null) => {
    if (id === null) return `another was not answered: ${oneLine(code ?? 'refused')}`;
    const so = state === 'open' ? ` (${approvals} of ${quorum})` : '';
    return `${oneLine(id)} ${oneLine(state ?? 'unknown')}${so}`;
  };
  if (answered.length < 2) return [line(result.id, result.state, null)];
  return answered.map(({ id, state, code }) => line(id, state, code));
}

/** Who is asked now, where that is not as it was in the beginning; empty: as it was. */
function askedNow({ state, escalated, escalation, onCallNow }: RequestJson, now: number): string {
  if (state !== 'open') return '';
  const also = escalation?.approvers.join(' or ') ?? '';
  const notes = [
    ...(escalated ? [`escalated${also === '' ? '' : ` to ${also}`}`] : []),
    ...(escalated || escalation === null ? [] : [`escalates in ${span(Date.parse(escalation.at) - now)}`]),
    ...onCallNow.map((names) => `on call: only ${names.join(' or ')}`),
  ];
  return oneLine(notes.join('; '));
}

/** One change, for `watch`; for a pipe with who is asked now in one field more. */
export function stateLine(request: RequestJson, screen: Screen): string {
  const cells = plainCells(request, screen.now);
  const asked = askedNow(request, screen.now);
  if (screen.columns === null) return [...cells, asked].join('\t');
  const [id = '', state = '', ...others] = cells;
  const rest = asked === '' ? others : [...others.slice(0, -1), `(${asked})`, ...others.slice(-1)];
  const clock = new Date(screen.now).toTimeString().slice(0, 8);
  const line = [clock, id, pad(state, 9), ...rest].join('  ');
  return cutTo(line, screen.columns).replace(pad(state, 9), stateText(state, pad(state, 9), screen.paint));
}

/** What an agent chose is made harmless: a terminal obeys escape sequences. */
function plainCells(
  { id, state, agent, class: kind, expiresAt, endedAt, sql }: RequestJson,
  now: number,
): readonly string[] {
  const minutes = Math.max(0, Math.ceil((Date.parse(expiresAt) - now) / 60_000));
  return [id, state, agent, kind, endedAt === null ? `${minutes} min` : '-', sql].map(oneLine);
}

function outcomeFacts({ outcome }: RequestJson): readonly (readonly [string, string])[] {
  if (outcome === null) return [];
  const { tag, rows, bytes, sqlstate } = outcome;
  return [
    [
      'Outcome',
      sqlstate === null ? `${tag ?? 'done'}, ${rows} rows, ${bytes} bytes` : `SQLSTATE ${sqlstate}`,
    ],
  ];
}

function stateText(state: string, text: string, paint: Paint): string {
  if (state === 'open') return paint('yellow', text);
  if (state === 'approved' || state === 'consumed' || state === 'executed') return paint('green', text);
  return state === 'expired' || state === 'withdrawn' ? paint('dim', text) : paint('red', text);
}

function when(iso: string, { columns, now }: Screen): string {
  if (columns === null) return iso;
  const away = Date.parse(iso) - now;
  return away >= 0 ? `in ${span(away)} (${iso})` : `${span(-away)} ago (${iso})`;
}

/** The beginnings by which these ids can be told from one another, with some room for those that are not listed. */
function shortIds(ids: readonly string[]): readonly string[] {
  for (let length = 10; length < 26; length++) {
    const short = ids.map((id) => id.slice(0, length));
    if (new Set(short).size === ids.length) return short;
  }
  return ids;
}

/** Text that somebody else chose, as one line that a terminal does not obey. */
export function oneLine(text: string): string {
  return visible(text).replace(/\s+/g, ' ').trim();
}

/** For pipes and files. */
export function plainScreen(now: number): Screen {
  return { columns: null, paint: PLAIN, now };
}
