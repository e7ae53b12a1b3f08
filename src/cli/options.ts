import { type Command, Option } from 'commander';

/** The overrides that commands which listen have in common; `readOverrides` adds the environment's. */
export function addOverrides(command: Command): Command {
  return command
    .addOption(new Option('--listen <host:port>', 'where agents connect (COUNTERSIGN_LISTEN)'))
    .addOption(new Option('--http-listen <host:port>', 'the API and approval page (COUNTERSIGN_HTTP_LISTEN)'))
    .addOption(new Option('--data-dir <directory>', 'journal and keys (COUNTERSIGN_DATA_DIR)'));
}

/** The file that holds the configuration. */
export function configOption(): Option {
  return new Option('-c, --config <file>', 'configuration file (COUNTERSIGN_CONFIG)')
    .env('COUNTERSIGN_CONFIG')
    .default('countersign.yaml');
}
