import { type Command, Option } from 'commander';
import type { ClientConfig } from 'pg';
import type { TagRule } from '../config/config.ts';
import type { InspectedConfig } from '../config/load.ts';
import { upstreamLogin } from '../config/upstream-login.ts';
import { sslOptions } from '../proxy/side-tls.ts';

/** Which database knows what names mean: a URL, false for none, undefined for the configuration's. */
export type UpstreamOption = { readonly upstream?: string | false };

export function addUpstreamOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--upstream <url>',
        'database that knows what the names mean (default: the configuration’s)',
      ),
    )
    .addOption(new Option('--no-upstream', 'ask no database'));
}

/** The connection to the configured database, as that agent or (null) as the catalog is read. Throws `ConfigError`. */
export async function configuredUpstream(
  config: InspectedConfig,
  agent: string | null,
  database: string | null,
): Promise<ClientConfig> {
  const { address, user, password } = await upstreamLogin(config, agent, process.env);
  return {
    host: address.host,
    port: address.port,
    user,
    ...(password === null ? {} : { password }),
    database: address.database ?? database ?? agent ?? user,
    ssl: sslOptions(address),
    connectionTimeoutMillis: CONNECT_MS,
  };
}

const CONNECT_MS = 10_000;

/** Tags that the configuration gives. */
export function tagRulesOf(config: InspectedConfig): readonly TagRule[] {
  return config.parsed.value.tags.map(({ relation, column, tags }) => ({
    relation,
    ...(column === undefined ? {} : { column }),
    tags,
  }));
}
