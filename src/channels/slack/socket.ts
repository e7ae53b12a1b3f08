import { setTimeout as sleep } from 'node:timers/promises';
import { type Logger, SocketModeReceiver } from '@slack/bolt';
import type { SlackConfig } from '../../config/config.ts';
import { clientOptions, failureOf } from './api.ts';
import type { Log } from './port.ts';

/** From asking for an address to Slack's hello, milliseconds; then the attempt is given up. */
const HELLO_MS = 20_000;
/** Between attempts, milliseconds: doubled each time. A planned disconnect is followed by the first wait. */
const FIRST_WAIT_MS = 250;
const LAST_WAIT_MS = 30_000;
/** For the closing handshake. */
const CLOSE_MS = 2_000;

/**
 * Socket Mode that connects, and connects again, for as long as it is not closed. The SDK's own reconnection waits
 * five seconds after each planned disconnect, and ends in an unhandled rejection when Slack is away at that moment.
 */
export class SocketLink {
  readonly receiver: SocketModeReceiver;
  readonly #log: Log;
  readonly #closed = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #trouble: string | null = 'not connected';

  constructor(config: SlackConfig, appToken: string, logger: Logger, log: Log) {
    this.#log = log;
    this.receiver = new SocketModeReceiver({
      appToken,
      logger,
      autoReconnectEnabled: false,
      installerOptions: { clientOptions: clientOptions(config, logger) },
    });
  }

  /** Begins to connect; does not wait for it. */
  open(): void {
    this.#running = this.#keepConnected();
  }

  /** Why it is not connected; null: it is. */
  get trouble(): string | null {
    return this.#trouble;
  }

  async close(): Promise<void> {
    this.#closed.abort();
    const goodbye = this.receiver.client.disconnect().catch(() => {});
    await Promise.race([Promise.all([goodbye, this.#running]), sleep(CLOSE_MS, undefined, { ref: false })]);
  }

  async #keepConnected(): Promise<void> {
    let wait = FIRST_WAIT_MS;
    while (!this.#closed.signal.aborted) {
      const why = await this.#oneConnection(() => {
        wait = FIRST_WAIT_MS;
      });
      if (this.#closed.signal.aborted) return;
      if (why !== this.#trouble) this.#log.warn({ channel: 'slack', error: why }, 'not connected to Slack');
      this.#trouble = why;
      await sleep(wait, undefined, { signal: this.#closed.signal, ref: false }).catch(() => {});
      wait = Math.min(wait * 2, LAST_WAIT_MS);
    }
  }

  /** Resolves with the reason when the connection is over, or did not come about. */
  async #oneConnection(connected: () => void): Promise<string> {
    const { client } = this.receiver;
    let over: () => void = () => {};
    const gone = new Promise<void>((resolve) => {
      over = resolve;
    });
    client.once('disconnected', over);
    const deadline = setTimeout(() => void client.disconnect().catch(() => {}), HELLO_MS);
    try {
      await client.start();
      clearTimeout(deadline);
      connected();
      this.#trouble = null;
      this.#log.info({ channel: 'slack' }, 'connected to Slack');
      await gone;
      return 'disconnected';
    } catch (error) {
      // The SDK rejects with nothing when the socket closes before Slack's hello.
      return error === undefined ? 'closed before hello' : whyNot(error);
    } finally {
      clearTimeout(deadline);
      client.off('disconnected', over);
    }
  }
}

function whyNot(error: unknown): string {
  const failure = failureOf(error);
  return failure.kind === 'limited' ? 'rate limited' : failure.why;
}
