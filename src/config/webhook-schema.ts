import { z } from 'zod';
import type { WebhookEvent } from './config.ts';
import { secret } from './secret-schema.ts';

const WEBHOOK_EVENTS = [
  'request.opened',
  'request.verdict',
  'request.approved',
  'request.denied',
  'request.expired',
  'request.withdrawn',
  'request.released',
  'request.ended',
] as const satisfies readonly WebhookEvent[];

/** One of `webhooks:`. */
export const webhook = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$/, 'expected 1 to 63 of A-Z a-z 0-9 _ . -')
    .describe('What logs, metrics and commands call it.'),
  url: z
    .union([z.url('expected a URL'), secret])
    .describe('https, or http on this machine; a secret where it holds one.'),
  secret: z
    .union([secret, z.array(secret).min(1).max(4)])
    .describe(
      'whsec_… (countersign webhooks secret makes one); several while it is changed, the newest first.',
    ),
  events: z
    .array(z.enum(WEBHOOK_EVENTS))
    .min(1)
    .default([...WEBHOOK_EVENTS])
    .describe('What is told.'),
  include: z
    .enum(['summary', 'full'])
    .default('summary')
    .describe('full: also the statement, its parameters, and what people wrote.'),
});
