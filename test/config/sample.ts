import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from '../../src/config/errors.ts';
import { loadConfig } from '../../src/config/load.ts';

export const VERIFIER =
  'SCRAM-SHA-256$4096:AAECAwQFBgcICQoLDA0ODw==$Iuh9EsHyzKBVWpDYPeCkVmV/QI5ZTKIQ7qqMGvWTdGg=:hH7CT7TmPfYbqF1yoEmZ5Lv0zMZHR1K1yhVxdCCiIJo=';

/** The smallest configuration that loads; tests replace or append to parts of it. */
export const MINIMAL = `version: 1
upstream:
  url: postgres://127.0.0.1:5432/shop
audit:
  url: postgres://writer@127.0.0.1:5432/audit
agents:
  - name: bot
    auth: { scram: '${VERIFIER}' }
    owner: owner
    upstream: { user: bot_role }
people:
  - { id: owner, email: owner@example.com }
  - { id: approver, email: approver@example.com }
`;

/** Writes files into a new directory and returns it. */
export function directoryWith(files: Readonly<Record<string, string>>): string {
  const directory = mkdtempSync(join(tmpdir(), 'cs-config-'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  return directory;
}

export function load(
  yaml: string,
  env: NodeJS.ProcessEnv = {},
  files: Readonly<Record<string, string>> = {},
) {
  return loadConfig(join(directoryWith({ ...files, 'c.yaml': yaml }), 'c.yaml'), env);
}

/** The error that a configuration is refused with. */
export async function refusal(
  yaml: string,
  env: NodeJS.ProcessEnv = {},
  files: Readonly<Record<string, string>> = {},
): Promise<ConfigError> {
  const outcome = await load(yaml, env, files).catch((error: unknown) => error);
  if (outcome instanceof ConfigError) return outcome;
  throw new Error(`expected a ConfigError, got ${String(outcome)}`);
}
