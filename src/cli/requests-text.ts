import type { RequestJson } from '../channels/api/json.ts';
import { factText } from '../channels/fact-lines.ts';
import { visible } from '../channels/visible.ts';

/** A table for a terminal of that many columns; for a pipe (null) one tab-separated line a request, without a head. */
export function listLines(requests: readonly RequestJson[], columns: number | null): readonly string[] {
  if (columns === null) {
    return requests.map((request) => cells(request).join('\t'));
  }
  if (requests.length === 0) return ['No requests.'];
  const rows = [['ID', 'STATE', 'AGENT', 'CLASS', 'LEFT', 'STATEMENT'], ...requests.map(cells)];
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) => {
    const head = widths.map((width, column) => (row[column] ?? '').padEnd(width)).join('  ');
    return cut(`${head}  ${row[5] ?? ''}`, columns);
  });
}

const LABEL = 20;

/** Everything about one request; the statement whole, between two lines of its own. */
export function showLines(request: RequestJson): readonly string[] {
  const facts: readonly (readonly [string, string])[] = [
    ['Request', request.id],
    ['State', request.state + (request.endReason === null ? '' : `: ${request.endReason}`)],
    ...request.facts.map((line): readonly [string, string] => [
      line.label,
      factText(line, line.items.length),
    ]),
    ['Needs', `${request.quorum} of ${request.approvers.join(', ') || 'everyone who may approve'}`],
    ['Until', request.expiresAt],
    ['Digest', request.digest],
    ...request.verdicts.map(({ verdict, person, channel, reason }): readonly [string, string] => [
      'Verdict',
      `${verdict} by ${person} (${channel})${reason === null ? '' : `: ${reason}`}`,
    ]),
    ['Page', request.url],
  ];
  return [
    ...facts.map(([name, value]) => `${name.padEnd(LABEL)} ${oneLine(value)}`),
    `${'Statement'.padEnd(LABEL)} ${request.sqlLength} bytes`,
    '',
    ...visible(request.sql).split('\n'),
    '',
    ...(request.parameters ?? []).map(
      ({ shown }, index) => `$${index + 1} = ${shown === null ? 'NULL' : oneLine(shown)}`,
    ),
  ];
}

/** One change, for `watch`. */
export function stateLine(request: RequestJson): string {
  const [id, state, agent, kind, left, statement] = cells(request);
  return [id, state, agent, kind, left, statement].join('\t');
}

/** What an agent chose is made harmless: a terminal obeys escape sequences. */
function cells({ id, state, agent, class: kind, expiresAt, endedAt, sql }: RequestJson): readonly string[] {
  const minutes = Math.max(0, Math.ceil((Date.parse(expiresAt) - Date.now()) / 60_000));
  return [id, state, oneLine(agent), kind, endedAt === null ? `${minutes} min` : '-', oneLine(sql)];
}

function oneLine(text: string): string {
  return visible(text).replace(/\s+/g, ' ').trim();
}

function cut(line: string, columns: number): string {
  const characters = [...line];
  return characters.length <= columns ? line : `${characters.slice(0, columns - 1).join('')}…`;
}
