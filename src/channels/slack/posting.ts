import { createHash } from 'node:crypto';
import type { types } from '@slack/bolt';
import { z } from 'zod';
import type { RequestView } from '../../approval/guard.ts';
import { failureOf, type SlackClient } from './api.ts';
import { type Card, wholeText } from './card.ts';
import { errorText } from './log.ts';
import type { Log } from './port.ts';
import { ACTION } from './values.ts';

/** What the card store keeps; `shown` is a digest of what the message shows, so that no process sends it again. */
export type Posted = { readonly channel: string; readonly ts: string; readonly shown: string };

const postedShape = z.object({ channel: z.string(), ts: z.string(), shown: z.string() });
const messageShape = z.object({ channel: z.string(), ts: z.string() });

/** Null for what `writePosted` did not make. */
export function readPosted(reference: string): Posted | null {
  try {
    return postedShape.parse(JSON.parse(reference));
  } catch {
    return null;
  }
}

export function writePosted({ channel, ts, shown }: Posted): string {
  return JSON.stringify({ channel, ts, shown });
}

export function digestOf(card: Card): string {
  return createHash('sha256').update(JSON.stringify(card)).digest('base64url');
}

/** Posts a card; if Slack refuses these blocks for good, a bare link in its place. Rejects when Slack is away. */
export async function postCard(
  client: SlackClient,
  channel: string,
  request: RequestView,
  card: Card,
  log: Log,
): Promise<Posted> {
  const message = { channel, unfurl_links: false, unfurl_media: false };
  const shown = digestOf(card);
  try {
    return { ...messageShape.parse(await client.chat.postMessage({ ...message, ...card })), shown };
  } catch (error) {
    const failure = failureOf(error);
    if (failure.kind !== 'refused') throw error;
    log.error(
      { channel: 'slack', request: request.id, error: failure.why },
      'card refused, a bare link is posted',
    );
    return {
      ...messageShape.parse(await client.chat.postMessage({ ...message, ...bareCard(request, card) })),
      shown,
    };
  }
}

/** A reply below a card. It has no buttons, and is never changed. Rejects when Slack is away. */
export async function postReply(client: SlackClient, card: Posted, reply: Card): Promise<Posted> {
  const message = { channel: card.channel, thread_ts: card.ts, unfurl_links: false, unfurl_media: false };
  const sent = messageShape.parse(await client.chat.postMessage({ ...message, ...reply }));
  return { ...sent, shown: digestOf(reply) };
}

/** The whole statement as a file below its card. Best effort: its page has it too. */
export async function attachWhole(
  client: SlackClient,
  posted: Posted,
  request: RequestView,
  log: Log,
  redact: (text: string) => string,
): Promise<void> {
  try {
    await client.files.uploadV2({
      channel_id: posted.channel,
      thread_ts: posted.ts,
      filename: `${request.id}.sql`,
      content: wholeText(request),
      initial_comment: `The whole statement of ${request.id}. Approve on its page, not here.`,
    });
  } catch (error) {
    const why = redact(errorText(error));
    log.warn({ channel: 'slack', request: request.id, error: why }, 'whole statement not attached');
  }
}

/** What is left when Slack refuses the blocks: no statement, so no button that decides. */
function bareCard(request: RequestView, card: Card): Card {
  const note = `${request.id} cannot be shown in Slack. Read and answer it on its page.`;
  const page: types.Button = {
    type: 'button',
    action_id: ACTION.page,
    text: { type: 'plain_text', text: 'Open its page' },
    url: request.url,
  };
  return {
    text: card.text,
    blocks: [
      { type: 'section', text: { type: 'plain_text', text: note } },
      { type: 'actions', elements: [page] },
    ],
  };
}
