import { dirname, resolve } from 'node:path';
import { upstream } from './build.ts';
import type { UpstreamAddress } from './config.ts';
import type { Path } from './document.ts';
import { throwIfAny } from './errors.ts';
import type { InspectedConfig } from './load.ts';
import { Reader } from './reader.ts';

export type UpstreamLogin = {
  readonly address: UpstreamAddress;
  readonly user: string;
  readonly password: string | null;
};

/**
 * How to look at the configured database: as an agent is seen by it or, without a name, as the catalog is read. Of all
 * secrets only those are read that this takes. Throws `ConfigError`.
 */
export async function upstreamLogin(
  { path, parsed }: InspectedConfig,
  agent: string | null,
  env: NodeJS.ProcessEnv,
): Promise<UpstreamLogin> {
  const reader = new Reader(parsed, dirname(resolve(path)), env);
  const { agents } = parsed.value;
  const address = await upstream(reader, parsed.value.upstream);
  if (agent === null && address.user !== null) {
    throwIfAny(reader.problems);
    return { address, user: address.user, password: address.password };
  }
  const index = Math.max(
    0,
    agents.findIndex(({ name }) => name === agent),
  );
  const { user, password } = agents[index]?.upstream ?? { user: '' };
  const key: Path = ['agents', index, 'upstream', 'password'];
  const secret = await reader.optionalSecret(key, password);
  throwIfAny(reader.problems);
  return { address, user, password: secret };
}
