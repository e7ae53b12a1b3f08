import { randomInt } from 'node:crypto';
import type pg from 'pg';
import type { ApprovalDesk } from '../../approval/guard.ts';
import type { WebhookConfig } from '../../config/config.ts';
import type { Limits } from '../../config/limits.ts';
import type { Logger } from '../../telemetry/log.ts';
import { backlog, claim, type Delivery, type Ending, forget, registerWebhooks, settle } from './outbox.ts';
import { payloadOf } from './payload.ts';
import { type PostResult, post } from './post.ts';
import { secretBytes, signedHeaders } from './signature.ts';

export type WebhookLimits = Pick<
  Limits,
  | 'webhookTimeoutMs'
  | 'webhookAttempts'
  | 'webhookFirstRetryMs'
  | 'webhookLastRetryMs'
  | 'webhookParallel'
  | 'webhookBytes'
  | 'webhookKeepMs'
  | 'webhookDeadKeepMs'
  | 'pollMs'
>;

export type WebhookSetup = {
  readonly webhooks: readonly WebhookConfig[];
  readonly desk: Pick<ApprovalDesk, 'get' | 'onRequestChanged'>;
  readonly pool: pg.Pool;
  /** New at each start of a process. */
  readonly processId: string;
  readonly limits: WebhookLimits;
  readonly observe: {
    readonly attempt: (webhook: string, result: 'delivered' | 'failed' | 'dead') => void;
    readonly waiting: (webhook: string, pending: number, dead: number) => void;
  };
  readonly log: Pick<Logger, 'warn' | 'error'>;
};

export type Webhooks = { readonly close: () => Promise<void> };

/** Beside the time for the answer: to read the request and to store how it ended. */
const LEASE_MARGIN_MS = 30_000;
/** How often old messages are forgotten. */
const FORGET_MS = 10 * 60_000;

/**
 * Sends what happens to requests, in the form of Standard Webhooks, each webhook at its own pace. At least once: a
 * process that dies between the answer and its note sends again, with the same id. Rejects when the store is away.
 */
export async function startWebhooks(setup: WebhookSetup): Promise<Webhooks> {
  const { webhooks, desk, pool, limits, log } = setup;
  await registerWebhooks(pool, webhooks);
  const senders = webhooks.map((webhook) => startSender(setup, webhook));
  const stop = desk.onRequestChanged(() => {
    for (const sender of senders) sender.kick();
  });
  const keep = { deliveredMs: limits.webhookKeepMs, deadMs: limits.webhookDeadKeepMs };
  const sweeper = setInterval(() => {
    forget(pool, keep).catch((error: unknown) => log.warn({ err: error }, 'old webhook messages stay'));
  }, FORGET_MS);
  sweeper.unref();
  return {
    close: async () => {
      stop();
      clearInterval(sweeper);
      await Promise.all(senders.map((sender) => sender.close()));
    },
  };
}

function startSender(setup: WebhookSetup, webhook: WebhookConfig) {
  const { pool, processId, limits, observe, log } = setup;
  let [closed, again] = [false, false];
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | null = null;

  const round = async () => {
    const most = { most: limits.webhookParallel, leaseMs: limits.webhookTimeoutMs + LEASE_MARGIN_MS };
    for (let full = true; full && !closed; ) {
      const due = await claim(pool, webhook.name, processId, most);
      await Promise.all(due.map((delivery) => attempt(setup, webhook, delivery)));
      // The next message of a request waits for the one before it.
      full = due.length > 0;
    }
    const { pending, dead } = await backlog(pool, webhook.name);
    observe.waiting(webhook.name, pending, dead);
  };
  const run = () => {
    clearTimeout(timer);
    again = false;
    running = round()
      .catch((error: unknown) =>
        log.warn({ err: error, webhook: webhook.name }, 'webhook messages could not be read or stored'),
      )
      .finally(() => {
        running = null;
        if (closed) return;
        timer = setTimeout(run, again ? 0 : limits.pollMs);
        timer.unref();
      });
  };
  run();
  return {
    kick: () => {
      again = true;
      if (running === null && !closed) run();
    },
    close: async () => {
      closed = true;
      clearTimeout(timer);
      await running;
    },
  };
}

async function attempt(setup: WebhookSetup, webhook: WebhookConfig, delivery: Delivery): Promise<void> {
  const { desk, pool, processId, limits, observe, log } = setup;
  const view = await desk.get(delivery.request_id);
  if (view === null) return;
  const body = payloadOf(delivery.event, delivery.facts, view, webhook.include, limits.webhookBytes);
  const keys = webhook.secrets.map(secretBytes).filter((key) => key !== null);
  const headers = signedHeaders(delivery.message_id, Math.floor(Date.now() / 1000), body, keys);
  const result = await post(new URL(webhook.url), body, headers, limits.webhookTimeoutMs);
  const ending = endingOf(result, delivery.attempts, limits, randomInt(0, 1001) / 1000);
  await settle(pool, delivery, processId, ending);
  observe.attempt(webhook.name, ending.state === 'pending' ? 'failed' : ending.state);
  if (ending.state !== 'dead') return;
  const { message_id: message, event, request_id: request } = delivery;
  // Not the address: its path can be a secret.
  log.error(
    { webhook: webhook.name, message, event, request, why: ending.error },
    'a webhook message was given up; countersign webhooks retry sends it again',
  );
}

/** `chance`: 0 to 1, spreads attempts so that what failed together does not come back together. */
export function endingOf(
  result: PostResult,
  attempts: number,
  limits: Pick<WebhookLimits, 'webhookAttempts' | 'webhookFirstRetryMs' | 'webhookLastRetryMs'>,
  chance: number,
): Ending {
  if (result.kind === 'answered' && result.status >= 200 && result.status < 300)
    return { state: 'delivered', status: result.status };
  const status = result.kind === 'answered' ? result.status : null;
  const error = result.kind === 'failed' ? result.why : wordsFor(result.status);
  const gone = status === 410;
  if (gone || attempts >= limits.webhookAttempts) return { state: 'dead', status, error, retryMs: 0 };
  const backoff = Math.min(
    limits.webhookLastRetryMs,
    limits.webhookFirstRetryMs * 4 ** Math.min(attempts - 1, 20),
  );
  const asked =
    result.kind === 'answered' ? Math.min(result.retryAfterMs ?? 0, limits.webhookLastRetryMs) : 0;
  return {
    state: 'pending',
    status,
    error,
    retryMs: Math.max(asked, Math.round(backoff * (0.8 + 0.4 * chance))),
  };
}

function wordsFor(status: number): string {
  return status >= 300 && status < 400 ? `${status}: a redirect, which is not followed` : `${status}`;
}
