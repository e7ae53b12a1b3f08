import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import { listMessages, type Message, retryMessages } from '../channels/webhooks/messages.ts';
import { loadConfig } from '../config/load.ts';
import { CliError } from './exit.ts';
import { withPool } from './installation-keys.ts';
import { configOption } from './options.ts';
import { oneLine } from './requests-text.ts';
import { jsonLine, span } from './terminal-text.ts';

type ListOptions = {
  readonly config: string;
  readonly state: string;
  readonly webhook?: string;
  readonly json?: true;
};
type RetryOptions = { readonly config: string; readonly webhook?: string; readonly dead?: true };

/** `countersign webhooks list|retry|secret`. */
export function webhooksCommand(program: Command): void {
  const webhooks = program.command('webhooks').description('messages to webhooks');
  webhooks
    .command('list')
    .description('messages that were given up, that wait, or that were delivered')
    .addOption(configOption())
    .option('--state <state>', 'dead, pending, delivered, or all', 'dead')
    .option('--webhook <name>', 'of this webhook alone')
    .option('--json', 'a line of JSON each')
    .action(list);
  webhooks
    .command('retry')
    .description('send again what was given up, with the same id')
    .argument('[message...]', 'ids, msg_…')
    .addOption(configOption())
    .option('--dead', 'all that were given up')
    .option('--webhook <name>', 'of this webhook alone')
    .action(retry);
  webhooks
    .command('secret')
    .description('make a secret for a webhook; prints it, once')
    .action(() => {
      process.stdout.write(`whsec_${randomBytes(32).toString('base64')}\n`);
    });
}

async function list({ config: file, state, webhook, json }: ListOptions): Promise<void> {
  if (!['dead', 'pending', 'delivered', 'all'].includes(state))
    throw new CliError('bad_state', '--state: expected dead, pending, delivered, or all');
  const config = await loadConfig(file, process.env);
  const found = await withPool(config, (pool) => listMessages(pool, state, webhook ?? null));
  for (const message of found)
    process.stdout.write(`${json ? jsonLine(message) : oneLine(lineOf(message))}\n`);
  if (json !== true && found.length === 0) process.stdout.write('No messages.\n');
}

async function retry(ids: readonly string[], options: RetryOptions): Promise<void> {
  if ((ids.length === 0) === (options.dead !== true))
    throw new CliError('which_messages', 'expected ids of messages, or --dead');
  const config = await loadConfig(options.config, process.env);
  const count = await withPool(config, (pool) =>
    retryMessages(pool, options.dead === true ? null : ids, options.webhook ?? null),
  );
  process.stdout.write(`${count} to be sent again\n`);
  if (count < Math.max(1, ids.length)) process.exitCode = 1;
}

function lineOf(message: Message): string {
  const { message_id, webhook, event, request_id, state, attempts, created_at, next_at, why } = message;
  const then = state !== 'pending' ? '' : `, again in ${span(Math.max(0, next_at.getTime() - Date.now()))}`;
  const last = why === null ? '' : `: ${why}`;
  return `${message_id}  ${webhook}  ${event}  ${request_id}  ${state}  ${created_at.toISOString()}  ${attempts} attempts${last}${then}`;
}
