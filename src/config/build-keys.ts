import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { requirePrivateMode } from '../signing/key-directory.ts';
import { KeyError } from '../signing/key-text.ts';
import { checkKey, keysOf } from './build-auth.ts';
import type { KeysConfig } from './config.ts';
import type { Reader } from './reader.ts';
import type { ConfigShape } from './schema.ts';

/** Where the signing keys are; a private key in a file is for its owner alone, as in the directory. */
export async function buildKeys(
  reader: Reader,
  shape: ConfigShape['keys'],
  directory: string,
  dataDirectory: string,
): Promise<KeysConfig> {
  const { signing, verifying } = shape;
  if (signing?.file !== undefined) await checkMode(reader, resolve(directory, signing.file));
  return {
    directory:
      shape.directory === undefined ? resolve(dataDirectory, 'keys') : resolve(directory, shape.directory),
    signing: await reader.optionalSecret(['keys', 'signing'], signing),
    verifying: verifying === undefined ? [] : await publicKeys(reader, verifying),
  };
}

async function checkMode(reader: Reader, path: string): Promise<void> {
  try {
    requirePrivateMode(path, (await stat(path)).mode);
  } catch (error) {
    // That it is not there is told when it is read.
    if (error instanceof KeyError)
      reader.fail('config_invalid_value', ['keys', 'signing', 'file'], error.message);
  }
}

async function publicKeys(reader: Reader, file: string): Promise<KeysConfig['verifying']> {
  const text = await reader.file(['keys', 'verifying'], file);
  const keys = keysOf(text);
  if (keys === null && text !== '')
    reader.fail(
      'config_invalid_value',
      ['keys', 'verifying'],
      'expected a file with {"keys": […]}, one public key or more',
    );
  keys?.forEach((key, index) => {
    checkKey(reader, ['keys', 'verifying'], `key ${index}`, key);
  });
  return [...(keys ?? []), ...revokedOf(text)];
}

/** What the set calls revoked stays revoked. */
function revokedOf(text: string): KeysConfig['verifying'] {
  try {
    const { revoked } = JSON.parse(text) as { revoked?: unknown };
    return Array.isArray(revoked)
      ? revoked
          .filter((key) => typeof key === 'object' && key !== null)
          .map((key) => ({ revoked: {}, ...key }))
      : [];
  } catch {
    return [];
  }
}
