import { type Command, Option } from 'commander';
import { stringify } from 'yaml';
import { checkSlack } from '../channels/slack/check.ts';
import type { Finding } from '../channels/slack/finding.ts';
import { slackManifest } from '../channels/slack/manifest.ts';
import { loadConfig } from '../config/load.ts';
import { CliError } from './exit.ts';
import { configOption } from './options.ts';

type ManifestOptions = { readonly mode: 'socket' | 'http'; readonly url?: string };

/** `countersign slack manifest` and `countersign slack check`. */
export function slackCommand(program: Command): void {
  const slack = program.command('slack').description('the Slack app that shows requests and takes answers');
  slack
    .command('manifest')
    .description('print the manifest to paste at https://api.slack.com/apps ("From a manifest")')
    .addOption(
      new Option('--mode <mode>', 'how Slack reaches us').choices(['socket', 'http']).default('socket'),
    )
    .option('--url <url>', 'HTTP mode: what http.publicUrl says, https://…')
    .action((options: ManifestOptions) => {
      process.stdout.write(manifestText(options));
    });
  slack
    .command('check')
    .description('try tokens, scopes, channels, people and user groups; exit code 1 when something is wrong')
    .addOption(configOption())
    .action(async (options: { readonly config: string }) => {
      const config = await loadConfig(options.config, process.env);
      if (config.slack === null)
        throw new CliError('no_slack', `${options.config}: slack: is not configured`);
      const findings = await checkSlack(config.slack, config.people, config.groups, config.policy.rules);
      process.stdout.write(findings.map(findingLine).join(''));
      if (findings.some(({ result }) => result === 'wrong')) process.exitCode = 1;
    });
}

/** The manifest as YAML. Throws `CliError` in HTTP mode without an https address. */
export function manifestText({ mode, url }: ManifestOptions): string {
  if (mode === 'http' && (url === undefined || !/^https:\/\/[^/?#\s]+(?:\/[^?#\s]*)?$/.test(url))) {
    throw new CliError(
      'bad_url',
      '--url: HTTP mode needs the address where Slack reaches us, beginning with https://',
    );
  }
  return stringify(slackManifest(mode, (url ?? '').replace(/\/+$/, '')), { lineWidth: 0 });
}

/** One line of `slack check`. */
export function findingLine({ what, result, detail }: Finding): string {
  const mark = { good: 'good   ', warning: 'warning', wrong: 'WRONG  ' }[result];
  return `${mark} ${what}${detail === '' ? '' : `: ${detail}`}\n`;
}
