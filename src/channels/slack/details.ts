import type { types } from '@slack/bolt';
import type { RequestView } from '../../approval/guard.ts';
import { factLines, factText } from '../fact-lines.ts';
import { visible } from '../visible.ts';
import { bytesOf, head, oneLine, plural, tail } from './text.ts';
import { ACTION, DETAILS_VIEW } from './values.ts';

/**
 * Slack's limits for a modal: 100 blocks, 250 KB (`view_too_large`). https://docs.slack.dev/reference/views/modal-views
 * A block holds as much text as a section may, 3,000 characters; what is longer goes on in the next one.
 */
const BLOCK_CHARACTERS = 2_900;
/** Of the 100 blocks; the rest are headings, verdicts and the link. */
const STATEMENT_BLOCKS = 46;
const PARAMETER_BLOCKS = 10;
const FACT_BLOCKS = 30;
/** JSON of all blocks, bytes. */
export const VIEW_BYTES = 200_000;

/**
 * A modal with all that the page shows of a request, as it stands now; it decides nothing. Where a part is longer than
 * Slack takes, it has its beginning and its end, and says so; the link leads to the whole. Texts are literal in it.
 */
export function detailsView(request: RequestView): types.ModalView {
  const whole = blocksOf(request, STATEMENT_BLOCKS, PARAMETER_BLOCKS, FACT_BLOCKS);
  const fits = bytesOf(JSON.stringify(whole)) <= VIEW_BYTES;
  return {
    type: 'modal',
    callback_id: DETAILS_VIEW,
    title: { type: 'plain_text', text: 'Request' },
    close: { type: 'plain_text', text: 'Close' },
    // Characters of many bytes: a few blocks of each are below the limit, whatever is in them.
    blocks: fits ? whole : blocksOf(request, 4, 2, 6),
  };
}

function blocksOf(
  request: RequestView,
  statementBlocks: number,
  parameterBlocks: number,
  factBlocks: number,
): types.KnownBlock[] {
  const sql = visible(request.sql);
  const parameters = parameterLines(request);
  const size = `${plural(request.sqlLength, 'byte')}, ${plural(sql.split('\n').length, 'line')}`;
  return [
    heading(`${request.command} by ${request.session.agent}: ${request.state}`),
    {
      type: 'actions',
      elements: [
        {
          type: 'button',
          action_id: ACTION.page,
          text: { type: 'plain_text', text: 'Open its page', emoji: false },
          url: request.url,
        },
      ],
    },
    ...texts(`Statement (${size}; comments are the agent's own words)`, sql, statementBlocks),
    ...(parameters === '' ? [] : texts('Parameters', parameters, parameterBlocks)),
    ...texts('What is known about it', facts(request), factBlocks),
    ...(request.verdicts.length === 0 ? [] : texts('Verdicts', verdicts(request), 2)),
  ];
}

/** A heading, and the text in as many boxes as it takes; of a longer one its beginning and its end. */
function texts(label: string, text: string, most: number): types.KnownBlock[] {
  const all = pieces(text);
  if (all.length <= most) return [heading(label), ...all.map(box)];
  const room = Math.floor(most / 2) * BLOCK_CHARACTERS;
  const left = text.length - 2 * room;
  return [
    heading(`${label}: NOT SHOWN WHOLE, read it on its page. Its beginning:`),
    ...pieces(head(text, room)).map(box),
    heading(`${plural(left, 'character')} left out here. Its end:`),
    ...pieces(tail(text, room)).map(box),
  ];
}

function pieces(text: string): string[] {
  const out: string[] = [];
  for (let rest = text; rest !== ''; ) {
    const piece = cut(rest);
    out.push(piece);
    rest = rest.slice(piece.length);
  }
  return out.length === 0 ? [' '] : out;
}

/** At the end of a line, where there is one in the second half: then no line is split that need not be. */
function cut(text: string): string {
  if (text.length <= BLOCK_CHARACTERS) return text;
  const piece = head(text, BLOCK_CHARACTERS);
  const end = piece.lastIndexOf('\n');
  return end < BLOCK_CHARACTERS / 2 ? piece : piece.slice(0, end + 1);
}

/** A line each; a line break within a value is made visible, or it could pass for the next parameter. */
function parameterLines({ parameters }: RequestView): string {
  return (parameters ?? [])
    .map(({ shown, typeOid, format, length }, index) => {
      const value = shown === null ? 'NULL' : oneLine(shown, Number.POSITIVE_INFINITY);
      return `$${index + 1} = ${value} (type ${typeOid}, ${format === 1 ? 'binary' : 'text'}, ${plural(length, 'byte')})`;
    })
    .join('\n');
}

function facts(request: RequestView): string {
  const { demand, outcome } = request;
  const people = demand.approvers.join(', ') || 'everyone who may approve';
  const lines: (readonly [string, string])[] = [
    ['Request', request.id],
    ...factLines(request).map((line) => [line.label, factText(line, line.items.length)] as const),
    ['Needs', `${demand.quorum} of ${people}`],
    ['Asked', request.createdAt.toISOString()],
    ['Until', request.expiresAt.toISOString()],
    ...(request.endedAt === null
      ? []
      : [['Ended', `${request.endedAt.toISOString()} ${request.endReason ?? ''}`] as const]),
    ...(outcome === null
      ? []
      : [
          [
            'Outcome',
            `${outcome.sqlstate ?? outcome.tag ?? 'done'}, ${plural(outcome.rows, 'row')}`,
          ] as const,
        ]),
    ['Policy', request.policyDigest],
    ['SHA-256 of the statement', request.sqlSha256],
    ['Digest that an approval binds', request.digest],
  ];
  return lines.map(([label, text]) => `${label}: ${oneLine(text, Number.POSITIVE_INFINITY)}`).join('\n');
}

function verdicts(request: RequestView): string {
  return request.verdicts
    .map(({ person, verdict, reason, channel, at }) =>
      oneLine(
        `${verdict} by ${person} through ${channel}, ${at.toISOString()}${reason === null ? '' : `: ${reason}`}`,
        1_000,
      ),
    )
    .join('\n');
}

function heading(text: string): types.KnownBlock {
  return {
    type: 'section',
    text: { type: 'plain_text', text: oneLine(text, 300), emoji: false },
  };
}

function box(text: string): types.KnownBlock {
  return {
    type: 'rich_text',
    elements: [{ type: 'rich_text_preformatted', elements: [{ type: 'text', text }] }],
  };
}
