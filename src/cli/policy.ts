import type { Command } from 'commander';
import { policyCheckCommand } from './policy-check.ts';
import { policyDiffCommand } from './policy-diff.ts';
import { policyTestCommand } from './policy-test.ts';

/** `countersign policy …`: the tools for whoever writes the rules. */
export function policyCommand(program: Command): void {
  const policy = program.command('policy').description('the rules that decide what waits for a person');
  policyCheckCommand(policy);
  policyTestCommand(policy);
  policyDiffCommand(policy);
}
