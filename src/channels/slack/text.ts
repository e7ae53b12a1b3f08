import { Buffer } from 'node:buffer';
import { visible } from '../visible.ts';

/**
 * Text for people who decide by it. Everything here is attacker-controlled: an agent chooses its SQL, its
 * application_name, its run. In rich_text and plain_text Slack shows text literally, so only what cannot be seen
 * (control, bidirectional, zero-width, unusual white space) needs work; mrkdwn is used for the notification alone.
 */

/** A value for one line of a card: visible, without line breaks, at most `limit` UTF-16 units. */
export function oneLine(text: string, limit: number): string {
  const flat = visible(text).replace(/\n/g, '‹U+000A›').replace(/\t/g, '‹U+0009›');
  return flat.length <= limit ? flat : `${head(flat, limit - 1)}…`;
}

/** The first units of a text, without half a surrogate pair at the cut. */
export function head(text: string, length: number): string {
  const cut = text.slice(0, Math.max(0, length));
  return /[\uD800-\uDBFF]$/.test(cut) ? cut.slice(0, -1) : cut;
}

/** The last units of a text, without half a surrogate pair at the cut. */
export function tail(text: string, length: number): string {
  const cut = length <= 0 ? '' : text.slice(-length);
  return /^[\uDC00-\uDFFF]/.test(cut) ? cut.slice(1) : cut;
}

/** For the one mrkdwn field of a message, the notification. https://docs.slack.dev/messaging/formatting-message-text */
export function escapeMrkdwn(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

export function bytesOf(text: string): number {
  return Buffer.byteLength(text, 'utf8');
}

export function plural(count: number | bigint, noun: string): string {
  return `${count.toLocaleString('en-US')} ${noun}${BigInt(count) === 1n ? '' : 's'}`;
}
