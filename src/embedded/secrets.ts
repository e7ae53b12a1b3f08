import { randomBytes } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

const word = z.string().regex(/^[0-9a-f]{40}$/);
const schema = z.strictObject({
  superuser: word,
  admin: word,
  writer: word,
  auditor: word,
  /** The database role's password, which only the proxy has. */
  shopAgent: word,
  /** What the agent logs in to the proxy with. */
  agent: word,
  approverToken: word,
});

/** Random passwords of one demo installation; 160 bits each, printable without quoting. */
export type DemoSecrets = Readonly<z.output<typeof schema>>;

/** Reads them from `secrets.json` in the directory, or makes them; the file is readable by its owner alone. */
export function demoSecrets(directory: string): DemoSecrets {
  const file = join(directory, 'secrets.json');
  const kept = read(file);
  if (kept !== null) return kept;
  const made = Object.fromEntries(
    Object.keys(schema.shape).map((name) => [name, randomBytes(20).toString('hex')]),
  );
  // Written whole under another name first: a crash in between must not leave half a file.
  writeFileSync(`${file}.new`, `${JSON.stringify(made, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
  return schema.parse(made);
}

function read(file: string): DemoSecrets | null {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  const parsed = schema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  // The cluster has these passwords: new ones would lock everybody out of it.
  throw new Error(`${file} is damaged; remove its directory to begin with an empty one`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
