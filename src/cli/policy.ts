import type { Command } from 'commander';
import { loadConfig } from '../config/load.ts';
import { configOption } from './options.ts';
import { policyTestCommand } from './policy-test.ts';

/** `countersign policy …`: the tools for whoever writes the rules. */
export function policyCommand(program: Command): void {
  const policy = program.command('policy').description('the rules that decide what waits for a person');
  policyTestCommand(policy);
  policy
    .command('check')
    .description('load the configuration and its rules; prints their digest')
    .addOption(configOption())
    .action(async (options: { readonly config: string }) => {
      const { policy: loaded, agents, people } = await loadConfig(options.config, process.env);
      process.stdout.write(
        `${options.config}: good (rules ${loaded.rules.length}, agents ${agents.length}, people ${people.length})\n` +
          `policy digest ${loaded.digest}\n`,
      );
    });
}
