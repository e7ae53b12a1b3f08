import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { Log } from '../../../src/channels/slack/port.ts';
import { type SlackChannel, startSlack } from '../../../src/channels/slack/slack.ts';
import type { SlackConfig } from '../../../src/config/config.ts';
import { type Message, SlackStandIn } from '../../support/slack-stand-in.ts';
import { FakeDesk, PEOPLE } from './fake-desk.ts';

export type Mode = SlackConfig['mode'];

export type Harness = {
  readonly slack: SlackStandIn;
  readonly desk: FakeDesk;
  readonly channel: SlackChannel;
  readonly logged: string[];
  /** The card of a request, once it is there and says this. */
  readonly card: (id: string, saying?: string) => Promise<Message>;
  readonly close: () => Promise<void>;
};

export function configFor(slack: SlackStandIn, mode: Mode): SlackConfig {
  return {
    mode,
    botToken: slack.botToken,
    appToken: mode === 'socket' ? slack.appToken : null,
    signingSecret: mode === 'http' ? slack.signingSecret : null,
    teamId: slack.teamId,
    channel: slack.channel,
    apiUrl: slack.apiUrl,
  };
}

export function memoryLog(lines: string[]): Log {
  const write = (fields: object, message: string): void => {
    lines.push(`${JSON.stringify(fields)} ${message}`);
  };
  return { debug: write, info: write, warn: write, error: write };
}

/** A running channel against a stand-in, in either mode, with a desk in memory. Connected when it resolves. */
export async function startHarness(
  mode: Mode,
  desk = new FakeDesk(),
  prepare: (slack: SlackStandIn) => void = () => {},
): Promise<Harness> {
  const slack = new SlackStandIn();
  await slack.start();
  for (const id of ['U0REVIEWER', 'U0OWNER', 'U0NOBODY']) slack.users.set(id, { id, team_id: slack.teamId });
  prepare(slack);
  const logged: string[] = [];
  const config = configFor(slack, mode);
  const people = Object.entries(PEOPLE).map(([account, id]) => ({
    id,
    email: `${id}@example.com`,
    slack: [account],
    oidc: [],
    groups: [],
  }));
  const channel = await startSlack({ config, desk, people, groups: [], log: memoryLog(logged) });
  const server = channel.requestListener === null ? null : createServer(channel.requestListener);
  if (server !== null) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    slack.requestUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/slack/events`;
  }
  await until(() => channel.healthy());
  return {
    slack,
    desk,
    channel,
    logged,
    card: async (id, saying = '') => {
      const find = () => slack.messages.find((message) => JSON.stringify(message.blocks).includes(id));
      await until(() => JSON.stringify(find()?.blocks ?? '').includes(saying) && find() !== undefined);
      const found = find();
      if (found === undefined) throw new Error('the card is gone');
      return found;
    },
    close: async () => {
      await channel.close();
      server?.closeAllConnections();
      server?.close();
      await slack.close();
      // Promise 12, asked after every test.
      for (const secret of [slack.botToken, slack.appToken, slack.signingSecret]) {
        expect(logged.join('\n')).not.toContain(secret);
      }
    },
  };
}

/** Waits for something that another part does, at most 8 s. */
export async function until(true_: () => boolean, ms = 8_000): Promise<void> {
  const end = Date.now() + ms;
  while (!true_()) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${true_}`);
    await sleep(5);
  }
}

/** All text of a card as a person reads it, blocks in order. */
export function textOf(message: { readonly blocks: readonly object[] }): string {
  const walk = (node: unknown): string => {
    if (Array.isArray(node)) return node.map(walk).join('');
    if (typeof node !== 'object' || node === null) return '';
    const { text, elements, fallback } = node as { text?: unknown; elements?: unknown; fallback?: unknown };
    return `${typeof text === 'string' ? text : walk(text)}${walk(elements)}${typeof fallback === 'string' ? fallback : ''}`;
  };
  return message.blocks.map(walk).join('\n');
}

/** The cards of a channel, without replies below them. */
export function cardsOf(slack: SlackStandIn): Message[] {
  return slack.messages.filter(({ threadTs }) => threadTs === null);
}
