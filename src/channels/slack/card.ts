import type { types } from '@slack/bolt';
import type { RequestView } from '../../approval/guard.ts';
import { factLines, shortFact } from '../fact-lines.ts';
import { visible } from '../visible.ts';
import type { MessageKey } from './places.ts';
import { bytesOf, escapeMrkdwn, head, oneLine, plural, tail } from './text.ts';
import { ACTION, ALIKE_ANSWERED, type Subject, subjectValue } from './values.ts';

/** A whole message for chat.postMessage or chat.update. `text` is the notification, and mrkdwn; blocks are not. */
export type Card = { readonly text: string; readonly blocks: types.KnownBlock[] };

/** Who is called to a card: Slack user ids and user-group ids, from configuration. */
export type Mentions = { readonly users: readonly string[]; readonly groups: readonly string[] };

/**
 * Slack refuses messages of more than about 13,200 characters (`msg_blocks_too_long`, measured); with room for the
 * rest of the card. A statement above one of these is not shown whole, and has no approve button. Lines are limited
 * because Slack folds tall messages: what is under the fold has not been seen.
 */
export const WHOLE_SQL_CHARACTERS = 4_000;
/** Lines as they appear, wrapped at `WRAP_COLUMNS`. */
export const WHOLE_SQL_LINES = 60;
export const CARD_CHARACTERS = 12_000;
const WRAP_COLUMNS = 80;
/** White space that pushes what follows out of sight. */
const HIDING = /[ \t]{100}|(?:[ \t]*\n){8}/;
/** What a hidden literal is shown as; an agent can write it too, which only adds the note. */
const HIDDEN_SECRET = /‹secret, \d+ bytes?›/;
const EXCERPT_CHARACTERS = 1_200;
const EXCERPT_LINES = 20;
/** Of one line of facts; a card that leaves more out has no approve button. */
const ITEMS_SHOWN = 20;
const LINE_CHARACTERS = [1_500, 600, 250, 120];
/** All lines of facts, as JSON. */
const FACTS_CHARACTERS = 7_500;

/**
 * True when a person can answer this request from its Slack card: all of it is on the card, and a click is good
 * enough for its rule. The click handler asks this again; a button that is not there can still be sent.
 */
export function approvableHere(request: RequestView): boolean {
  return answerable(request, fitsWhole(request));
}

/** The card of a request in its present state. Only what is still open has buttons that decide. */
export function renderCard(request: RequestView, mentions: Mentions, key: MessageKey = 'slack'): Card {
  return compose(request, mentions, fitsWhole(request), key);
}

/** What came of it, for the thread below its card. */
export function renderOutcome(request: RequestView): Card {
  return {
    text: escapeMrkdwn(notification(request)),
    blocks: [{ type: 'rich_text', elements: [section(outcomeWords(request))] }],
  };
}

/** True when statement and parameters can be shown whole within Slack's limits. */
export function fitsWhole(request: RequestView): boolean {
  if (!small(visible(request.sql)) || !small(parameterText(request))) return false;
  if (factsWithin(request).cut) return false;
  const size = JSON.stringify(compose(request, NOBODY, true, 'slack-escalation').blocks).length;
  return size <= CARD_CHARACTERS;
}

/** Statement and parameters as a file for what a card cannot hold. */
export function wholeText(request: RequestView): string {
  const parameters = parameterText(request);
  return parameters === ''
    ? visible(request.sql)
    : `${visible(request.sql)}\n\n-- parameters\n${parameters.replace(/^/gm, '-- ')}\n`;
}

const NOBODY: Mentions = { users: [], groups: [] };

function compose(request: RequestView, mentions: Mentions, whole: boolean, key: MessageKey): Card {
  const blocks: types.KnownBlock[] = [
    { type: 'header', text: plain(headline(request, key), 150) },
    { type: 'rich_text', elements: [section(facts(request, mentions))] },
    { type: 'rich_text', elements: statement(request, whole) },
  ];
  const news = progress(request);
  if (news.length > 0) blocks.push({ type: 'rich_text', elements: [section(news)] });
  if (request.state === 'open' && !answerable(request, whole)) {
    blocks.push({ type: 'rich_text', elements: [section([bold(whyNoButton(request, whole))])] });
  }
  blocks.push(buttons(request, whole));
  return { text: escapeMrkdwn(notification(request)), blocks };
}

function answerable(request: RequestView, whole: boolean): boolean {
  return request.demand.assurance === 1 && whole;
}

function headline(request: RequestView, key: MessageKey = 'slack'): string {
  const waiting = request.alike.length > 1 ? ` (${request.alike.length} waiting)` : '';
  const what = `${oneLine(request.session.agent, 60)}: ${oneLine(request.class, 30)}${waiting}`;
  const states: Record<RequestView['state'], string> = {
    open: key === 'slack-escalation' ? 'Escalated, approval needed' : 'Approval needed',
    approved: 'Approved, waiting for release',
    consumed: 'Approved, running',
    executed: 'Approved and executed',
    failed: 'Approved, failed',
    unknown: 'Approved, outcome unknown',
    denied: 'Denied',
    expired: 'Expired',
    withdrawn: 'Withdrawn',
  };
  return `${states[request.state]}: ${what}`;
}

function notification(request: RequestView): string {
  return `${headline(request)} on ${oneLine(request.session.database, 60)} (${request.id})`;
}

function facts(request: RequestView, mentions: Mentions): types.RichTextElement[] {
  const out: types.RichTextElement[] = [
    ...factsWithin(request).elements,
    ...fact('Waiting', waiting(request)),
    ...fact('People needed', request.demand.quorum > 1 ? String(request.demand.quorum) : null),
    ...fact('Request', request.id),
    ...fact('Digest', oneLine(request.digest, 128)),
    bold('Open until: '),
    time(request.expiresAt),
  ];
  const called = [
    ...mentions.users.map((id): types.RichTextElement => ({ type: 'user', user_id: id })),
    ...mentions.groups.map((id): types.RichTextElement => ({ type: 'usergroup', usergroup_id: id })),
  ];
  if (called.length > 0 && request.state === 'open') {
    out.push(text('\n'), bold('For: '), ...called.flatMap((mention) => [mention, text(' ')]));
  }
  return out;
}

/** The lines that every channel shows, with as much of each as a card has room for. */
function factsWithin(request: RequestView): {
  readonly elements: readonly types.RichTextElement[];
  readonly cut: boolean;
} {
  const lines = factLines(request);
  let shown: readonly (readonly types.RichTextElement[])[] = [];
  for (const characters of LINE_CHARACTERS) {
    const short = lines.map((line) => shortFact(line, ITEMS_SHOWN, characters));
    shown = lines.map(({ label }, place) => fact(oneLine(label, 40), short[place]?.text ?? ''));
    if (JSON.stringify(shown).length <= FACTS_CHARACTERS)
      return { elements: shown.flat(), cut: short.some(({ cut }) => cut) };
  }
  let room = FACTS_CHARACTERS;
  const first = shown.filter((elements) => {
    room -= JSON.stringify(elements).length;
    return room >= 0;
  });
  const left = fact('And', `${plural(shown.length - first.length, 'more line')} of facts (see Details)`);
  return { elements: [...first.flat(), ...left], cut: true };
}

function waiting(request: RequestView): string | null {
  if (request.state !== 'open') return null;
  return request.waiting
    ? 'the agent, on its connection'
    : 'nobody just now; it runs when the agent sends it again';
}

function statement(
  request: RequestView,
  whole: boolean,
): (types.RichTextSection | types.RichTextPreformatted)[] {
  const sql = visible(request.sql);
  const parameters = parameterText(request);
  const size = `${plural(request.sqlLength, 'byte')}, ${plural(lines(sql), 'line')}`;
  const out: (types.RichTextSection | types.RichTextPreformatted)[] = [];
  if (whole) {
    out.push(section([bold('Statement'), text(` (${size}; comments are the agent's own words)`)]));
    out.push(preformatted(sql));
    if (parameters !== '') out.push(section([bold('Parameters')]), preformatted(parameters));
    if (HIDDEN_SECRET.test(sql + parameters)) {
      out.push(section([text('Secrets are hidden here; the digest binds the real text.')]));
    }
    return out;
  }
  out.push(section([bold('Statement, NOT SHOWN WHOLE'), text(` (${size}). Its beginning:`)]));
  out.push(preformatted(excerptHead(sql)));
  out.push(section([text('Its end:')]), preformatted(excerptTail(sql)));
  if (parameters !== '') {
    out.push(
      section([bold('Parameters'), text(` (${plural(bytesOf(parameters), 'byte')}). The beginning:`)]),
    );
    out.push(preformatted(excerptHead(parameters)));
  }
  return out;
}

function progress(request: RequestView): types.RichTextElement[] {
  const out = request.verdicts.flatMap(({ person, verdict, reason, at }): types.RichTextElement[] => [
    bold(verdict === 'approve' ? 'Approved by ' : 'Denied by '),
    text(`${oneLine(person, 100)}${reason === null ? '' : `: ${oneLine(reason, 500)}`} (`),
    time(at),
    text(')\n'),
  ]);
  const approvals = request.verdicts.filter(({ verdict }) => verdict === 'approve').length;
  if (request.state === 'open' && approvals > 0) {
    out.push(text(`${approvals} of ${request.demand.quorum} approvals\n`));
  }
  if (request.outcome !== null) out.push(...outcomeWords(request), text('\n'));
  const why = request.endReason === null ? '' : ` ${oneLine(request.endReason, 500)}`;
  if (request.state === 'expired') out.push(text(`Its time is over; nothing ran.${why}\n`));
  if (request.state === 'withdrawn') out.push(text(`Taken back; nothing ran.${why}\n`));
  if (request.state === 'unknown') out.push(text(`${UNKNOWN}\n`));
  if (request.endedAt !== null) out.push(bold('Ended: '), time(request.endedAt));
  return out;
}

const UNKNOWN = 'The connection broke after release: it may or may not have run. It is not repeated.';

/** Rows, bytes, time, and the error's code; never its text, which can hold data. */
function outcomeWords({ outcome, elapsedMs, state }: RequestView): types.RichTextElement[] {
  if (outcome === null) return [bold('Outcome: '), text(state === 'unknown' ? UNKNOWN : 'not known')];
  const tag = outcome.tag === null ? 'no command tag' : oneLine(outcome.tag, 60);
  const took = elapsedMs === null ? '' : `, ${(elapsedMs / 1000).toLocaleString('en-US')} s`;
  const error = outcome.sqlstate === null ? '' : `, failed with SQLSTATE ${oneLine(outcome.sqlstate, 5)}`;
  return [
    bold('Outcome: '),
    text(`${tag}, ${plural(outcome.rows, 'row')}, ${plural(outcome.bytes, 'byte')}${took}${error}`),
  ];
}

function whyNoButton(request: RequestView, whole: boolean): string {
  return whole
    ? `The rule asks for ${request.demand.assurance === 3 ? 'a passkey' : 'a fresh log-in'}: approve on its page.`
    : 'Slack cannot show all of it: read the whole, and approve, on its page.';
}

function buttons(request: RequestView, whole: boolean): types.ActionsBlock {
  const { id: requestId, digest, alike } = request;
  const subject: Subject = { requestId, digest, alike: [] };
  const all: Subject = { ...subject, alike: alike.length > 1 ? alike.slice(0, ALIKE_ANSWERED) : [] };
  const count = all.alike.length;
  const elements: types.ActionsBlockElement[] = [];
  if (request.state === 'open') {
    if (answerable(request, whole)) {
      elements.push({
        ...button(ACTION.approve, count === 0 ? 'Approve' : 'Approve one', subject),
        style: 'primary',
      });
      if (count > 0) elements.push(button(ACTION.approveAll, `Approve all ${count}`, all));
    }
    elements.push({
      ...button(ACTION.deny, count === 0 ? 'Deny' : `Deny all ${count}`, all),
      style: 'danger',
    });
  }
  elements.push(button(ACTION.details, 'Details', subject));
  if (request.state === 'open' && !answerable(request, whole)) {
    elements.push({
      type: 'button',
      action_id: ACTION.page,
      text: plain('Open its page', 75),
      url: request.url,
    });
  }
  return { type: 'actions', elements };
}

function button(action: string, label: string, subject: Subject): types.Button {
  return { type: 'button', action_id: action, text: plain(label, 75), value: subjectValue(subject) };
}

/** A line each; a line break within a value is made visible, or it could pass for the next parameter. */
function parameterText(request: RequestView): string {
  const all = (request.parameters ?? []).map(({ shown }, index) =>
    shown === null ? `$${index + 1} = NULL` : `$${index + 1} = ${oneLine(shown, Number.POSITIVE_INFINITY)}`,
  );
  return all.join('\n');
}

function small(sql: string): boolean {
  if (sql.length > WHOLE_SQL_CHARACTERS || HIDING.test(sql)) return false;
  const height = sql
    .split('\n')
    .reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / WRAP_COLUMNS)), 0);
  return height <= WHOLE_SQL_LINES;
}

function lines(sql: string): number {
  return sql.split('\n').length;
}

function excerptHead(sql: string): string {
  return head(sql.split('\n').slice(0, EXCERPT_LINES).join('\n'), EXCERPT_CHARACTERS);
}

function excerptTail(sql: string): string {
  return tail(sql.split('\n').slice(-EXCERPT_LINES).join('\n'), EXCERPT_CHARACTERS);
}

function fact(name: string, value: string | null): types.RichTextElement[] {
  return value === null ? [] : [bold(`${name}: `), text(`${value}\n`)];
}

function time(at: Date): types.RichTextElement {
  return {
    type: 'date',
    timestamp: Math.floor(at.getTime() / 1000),
    format: '{date_short_pretty}, {time_secs}',
    fallback: at.toISOString(),
  };
}

function text(value: string): types.RichTextElement {
  return { type: 'text', text: value };
}

function bold(value: string): types.RichTextElement {
  return { type: 'text', text: value, style: { bold: true } };
}

function section(elements: types.RichTextElement[]): types.RichTextSection {
  return { type: 'rich_text_section', elements };
}

function preformatted(value: string): types.RichTextPreformatted {
  // Slack refuses an empty text element.
  return { type: 'rich_text_preformatted', elements: [{ type: 'text', text: value === '' ? ' ' : value }] };
}

function plain(value: string, limit: number): types.PlainTextElement {
  return { type: 'plain_text', text: oneLine(value, limit), emoji: false };
}
