import type { RequestListener } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { App, type Logger, type Receiver } from '@slack/bolt';
import type { SlackConfig } from '../../config/config.ts';
import { slackClient } from './api.ts';
import { Board } from './board.ts';
import { type Click, readClick, readSubmission } from './clicks.ts';
import { openEndpoint } from './endpoint.ts';
import { Identity } from './identity.ts';
import { Interactions } from './interactions.ts';
import { boltLogger, errorText, redactor } from './log.ts';
import { slackMembers } from './members.ts';
import { mentionsFor } from './mentions.ts';
import type { Log, SlackSetup } from './port.ts';
import { SocketLink } from './socket.ts';
import { ACTION, DENY_FORM, REASON_BLOCK } from './values.ts';

export type SlackChannel = {
  /** Null while cards can be posted and clicks are heard; else what is wrong. */
  readonly trouble: () => string | null;
  readonly healthy: () => boolean;
  /** HTTP mode: what serves `SLACK_PATH` on our HTTP server. Null in Socket Mode. */
  readonly requestListener: RequestListener | null;
  readonly close: () => Promise<void>;
};

/** How many live requests get their card when the process starts; the store lists no more. */
const LIVE_REQUESTS = 200;
/** For what is under way when it closes, milliseconds. */
const CLOSE_MS = 3_000;
/** Slack wants an answer to a form within three seconds. */
const FORM_MS = 2_200;
const LATE = Symbol('late');
/** Between attempts to list open requests while the store is away, milliseconds. */
const LIST_AGAIN_MS = 5_000;

/** A configuration of Slack that cannot work; `key` names what to change. */
export class SlackConfigError extends Error {
  override readonly name = 'SlackConfigError';
  readonly key: string;
  constructor(key: string, message: string) {
    super(message);
    this.key = key;
  }
}

/**
 * Starts the Slack channel. Does not wait for Slack: when it is away, cards are posted once it is back. Rejects with
 * `SlackConfigError` when a token or secret that the mode needs is not configured.
 */
export async function startSlack(setup: SlackSetup): Promise<SlackChannel> {
  const { config, desk, log } = setup;
  const redact = redactor(config);
  const logger = boltLogger(log, redact);
  const client = slackClient(config, logger);
  const board = new Board({
    client,
    channel: config.channel,
    cards: desk.cards,
    get: (id) => desk.get(id),
    mentions: (request, key) =>
      mentionsFor(request, key, setup.people, setup.groups, config.teamId, Date.now()),
    log,
    redact,
  });
  const identity = new Identity(client, config.teamId, log);
  const interactions = new Interactions({
    client,
    desk,
    members: slackMembers(client, config.teamId, () => identity.enterpriseId, Date.now),
    teamId: config.teamId,
    enterpriseId: () => identity.enterpriseId,
    now: Date.now,
    isKnown: (user) => setup.people.some(({ slack }) => slack.includes(`${config.teamId}/${user}`)),
    changed: (request) => board.changed(request),
    seenAt: (request, at, ts) => board.alsoAt(request, at, ts),
    log,
    redact,
  });
  const transport = openTransport(config, logger, log);
  listen(transport.receiver, config, logger, interactions, log);
  transport.open();
  const stop = desk.onRequestChanged((request) => board.changed(request));
  const closed = new AbortController();
  const starting = [identity.confirm(closed.signal), postLive(setup, board, closed.signal)];
  const trouble = (): string | null => identity.trouble ?? transport.trouble() ?? board.trouble;
  return {
    trouble,
    healthy: () => trouble() === null,
    requestListener: transport.listener,
    close: async () => {
      stop();
      closed.abort();
      const ended = Promise.all([transport.close(), board.close(), ...starting]);
      // A call to a Slack that hangs must not hold up the shutdown.
      await Promise.race([ended, sleep(CLOSE_MS, undefined, { ref: false })]);
    },
  };
}

type Transport = {
  readonly receiver: Receiver;
  readonly listener: RequestListener | null;
  readonly open: () => void;
  readonly trouble: () => string | null;
  readonly close: () => Promise<void>;
};

function openTransport(config: SlackConfig, logger: Logger, log: Log): Transport {
  if (config.mode === 'socket') {
    if (config.appToken === null)
      throw new SlackConfigError('slack.appToken', 'Socket Mode needs slack.appToken');
    const link = new SocketLink(config, config.appToken, logger, log);
    return {
      receiver: link.receiver,
      listener: null,
      open: () => link.open(),
      trouble: () => link.trouble,
      close: () => link.close(),
    };
  }
  if (config.signingSecret === null) {
    throw new SlackConfigError('slack.signingSecret', 'HTTP mode needs slack.signingSecret');
  }
  const { receiver, listener } = openEndpoint(config.signingSecret, logger, Date.now);
  return { receiver, listener, open: () => {}, trouble: () => null, close: async () => {} };
}

/** What the app hears. Every handler answers Slack first: it waits three seconds. */
function listen(
  receiver: Receiver,
  config: SlackConfig,
  logger: Logger,
  interactions: Interactions,
  log: Log,
): void {
  const app = new App({
    receiver,
    logger,
    // Bolt's own check would ask Slack at start, once, and remember a failure for ever.
    authorize: async () => ({ botToken: config.botToken }),
    ignoreSelf: false,
    convoStore: false,
  });
  app.error(async (error) => logger.error(error));
  app.action(ACTION.page, async ({ ack }) => ack());
  const clicked =
    (answer: (click: Click) => Promise<void>) =>
    async (sent: { ack: () => Promise<void>; body: unknown }) => {
      // The click was heard, even if the socket broke before Slack could be told so.
      await sent.ack().catch((error: unknown) => logger.warn(`not acknowledged: ${errorText(error)}`));
      const click = readClick(sent.body);
      if (click === null) log.warn({ channel: 'slack' }, 'a click that no card of ours can have sent');
      else await answer(click);
    };
  app.action(
    ACTION.approve,
    clicked((click) => interactions.approve(click)),
  );
  app.action(
    ACTION.approveAll,
    clicked((click) => interactions.approve(click)),
  );
  app.action(
    ACTION.deny,
    clicked((click) => interactions.askReason(click)),
  );
  app.action(
    ACTION.details,
    clicked((click) => interactions.showDetails(click)),
  );
  app.view(DENY_FORM, async ({ ack, body }) => {
    const form = readSubmission(body);
    if (form === null) {
      log.warn({ channel: 'slack' }, 'a form that no card of ours can have opened');
      await ack();
      return;
    }
    if (form.reason === '') {
      await ack({ response_action: 'errors', errors: { [REASON_BLOCK]: 'Say why; the agent is told.' } });
      return;
    }
    const answer = interactions.deny(form);
    const refused = await Promise.race([answer, lateAfter(FORM_MS)]);
    if (refused === LATE) {
      await ack();
      const message = await answer;
      if (message !== null) await interactions.tell(form.origin.channel, form.userId, message);
    } else if (refused === null) await ack();
    else await ack({ response_action: 'errors', errors: { [REASON_BLOCK]: refused.slice(0, 500) } });
  });
}

/** Cards for what was asked while no process ran; tried until the store answers. */
async function postLive(setup: SlackSetup, board: Board, closed: AbortSignal): Promise<void> {
  while (!closed.aborted) {
    try {
      const live = await setup.desk.list({ state: 'live', limit: LIVE_REQUESTS });
      // The list comes newest first, cards are read oldest first.
      for (const request of [...live].reverse()) board.changed(request);
      return;
    } catch (error) {
      setup.log.warn({ channel: 'slack', error: errorText(error) }, 'open requests not listed; trying again');
      await sleep(LIST_AGAIN_MS, undefined, { signal: closed, ref: false }).catch(() => {});
    }
  }
}

function lateAfter(ms: number): Promise<typeof LATE> {
  return new Promise((resolve) => setTimeout(() => resolve(LATE), ms).unref());
}
