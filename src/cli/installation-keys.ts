import { userInfo } from 'node:os';
import pg from 'pg';
import { heedRevocations } from '../approval/signing-keys.ts';
import { ISO_DATES } from '../audit/iso-dates.ts';
import type { Config } from '../config/config.ts';
import { type Keys, keysFrom, openKeys } from '../signing/keys.ts';
import { publishedPasskeys, publishedRetired } from '../signing/passkey.ts';

/** The keys that sign and verify, from where the configuration says. Throws `KeyError`. */
export function installationKeys({ keys }: Pick<Config, 'keys'>): Promise<Keys> {
  return keys.signing === null ? openKeys(keys.directory) : keysFrom(keys.signing, keys.verifying);
}

/**
 * The same without those that were revoked, on this machine or another. Throws `KeyError` when none is left to sign
 * with; rejects when the audit database cannot be asked.
 */
export async function trustedKeys(config: Pick<Config, 'keys' | 'audit'>): Promise<Keys> {
  const keys = await installationKeys(config);
  await withPool(config, (pool) => heedRevocations(pool, keys));
  // Read now, so that what cannot sign does not start.
  void keys.signer.kid;
  return keys;
}

/** A short use of the audit database as the writer. */
export async function withPool<T>(
  { audit }: Pick<Config, 'audit'>,
  work: (pool: pg.Pool) => Promise<T>,
): Promise<T> {
  const pool = new pg.Pool({
    connectionString: audit.url,
    application_name: 'countersign command',
    options: ISO_DATES,
    max: 1,
  });
  pool.on('error', () => {});
  try {
    return await work(pool);
  } finally {
    await pool.end();
  }
}

/** Who runs this command, as this machine knows them: a note for the log, not a proof. */
export function operator(): string {
  try {
    return `${userInfo().username} (on the machine)`;
  } catch {
    return 'somebody on the machine';
  }
}

/** What verifies receipts, for `/.well-known/jwks.json`: the keys that sign them, and those of the people who approve. */
export function publishedKeys(
  keys: Pick<Keys, 'jwks'>,
  { people, retiredPasskeys = [] }: Pick<Config, 'people' | 'retiredPasskeys'>,
) {
  const { keys: own, revoked = [] } = keys.jwks();
  const ended = [...revoked, ...publishedRetired(retiredPasskeys)];
  return {
    keys: [...own, ...publishedPasskeys(people)],
    ...(ended.length === 0 ? {} : { revoked: ended }),
  };
}

/** For the log: whose passkeys count from now on, by thumbprint. */
export function passkeysText({ people }: Pick<Config, 'people'>): string {
  return publishedPasskeys(people)
    .map(({ countersign_person: person, kid }) => `${person} ${kid}`)
    .join(', ');
}
