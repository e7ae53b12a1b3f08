import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { failureOf, type SlackClient } from './api.ts';
import type { Log } from './port.ts';

/** Between attempts, milliseconds: doubled each time while Slack is away; a wrong set-up is asked about seldom. */
const FIRST_WAIT_MS = 500;
const LAST_WAIT_MS = 30_000;
const SETUP_WAIT_MS = 60_000;

const testShape = z.object({ team_id: z.string(), enterprise_id: z.string().nullish() });

/** Whether our token works, and belongs to the workspace that is configured. Asked until Slack has said so once. */
export class Identity {
  #trouble: string | null = 'not yet checked with Slack';
  #enterpriseId: string | null = null;
  readonly #client: SlackClient;
  readonly #teamId: string;
  readonly #log: Log;

  constructor(client: SlackClient, teamId: string, log: Log) {
    this.#client = client;
    this.#teamId = teamId;
    this.#log = log;
  }

  /** What is wrong with the token; null: nothing. */
  get trouble(): string | null {
    return this.#trouble;
  }

  /** The organization that our workspace belongs to, once Slack has said so; null: none. */
  get enterpriseId(): string | null {
    return this.#enterpriseId;
  }

  /** Resolves when the token was found right, or on close. */
  async confirm(closed: AbortSignal): Promise<void> {
    let wait = FIRST_WAIT_MS;
    while (!closed.aborted) {
      const [trouble, lasting] = await this.#ask();
      if (trouble !== null && trouble !== this.#trouble) {
        this.#log.error({ channel: 'slack', error: trouble }, 'the Slack app is not usable');
      }
      this.#trouble = trouble;
      if (trouble === null) return;
      await sleep(lasting ? SETUP_WAIT_MS : wait, undefined, { signal: closed, ref: false }).catch(() => {});
      wait = Math.min(wait * 2, LAST_WAIT_MS);
    }
  }

  async #ask(): Promise<readonly [trouble: string | null, lasting: boolean]> {
    try {
      const { team_id: team, enterprise_id: enterprise } = testShape.parse(await this.#client.auth.test());
      if (team === this.#teamId) {
        this.#enterpriseId = enterprise ?? null;
        return [null, false];
      }
      return [`the bot token belongs to workspace ${team}, slack.teamId is ${this.#teamId}`, true];
    } catch (error) {
      const failure = failureOf(error);
      if (failure.kind === 'limited') return ['rate limited', false];
      return [failure.why, failure.kind === 'setup'];
    }
  }
}
