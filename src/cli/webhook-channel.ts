import { randomBytes } from 'node:crypto';
import type { ApprovalHandle } from '../approval/store.ts';
import { startWebhooks } from '../channels/webhooks/webhooks.ts';
import type { Config } from '../config/config.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';

/** Starts what sends webhooks; without any in the configuration, it only tells the database so. */
export async function openWebhooks(parts: {
  readonly config: Config;
  readonly approvals: ApprovalHandle;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly opened: (() => Promise<void>)[];
}): Promise<void> {
  const { config, approvals, metrics, log, opened } = parts;
  const webhooks = await startWebhooks({
    webhooks: config.webhooks,
    desk: approvals,
    pool: approvals.pool,
    processId: randomBytes(12).toString('hex'),
    limits: config.limits,
    observe: { attempt: metrics.webhookAttempt, waiting: metrics.webhookWaiting },
    log,
  });
  opened.push(() => webhooks.close());
}
