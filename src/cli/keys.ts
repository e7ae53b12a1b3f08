import { open } from 'node:fs/promises';
import type { Command } from 'commander';
import {
  heedRevocations,
  type KeyRow,
  listKeys,
  recordRevocation,
  recordRotation,
  registerKeys,
} from '../approval/signing-keys.ts';
import { createTransactionalAppender } from '../audit/log/transactional.ts';
import { loadConfig } from '../config/load.ts';
import type { Revocation } from '../signing/key-directory.ts';
import { newPrivateKeyText } from '../signing/key-text.ts';
import type { Keys } from '../signing/keys.ts';
import { CliError } from './exit.ts';
import { installationKeys, operator, withPool } from './installation-keys.ts';
import { commandLogger } from './logger.ts';
import { configOption } from './options.ts';
import { timeOption } from './time-option.ts';

type Options = { readonly config: string; readonly json?: true };
type RevokeOptions = Options & { readonly since?: string; readonly reason: string };

/** `countersign keys new|list|rotate|revoke`: the keys that sign receipts and endorse the log. */
export function keysCommand(program: Command): void {
  const keys = program.command('keys').description('the keys that sign receipts and endorse the audit log');
  keys
    .command('new')
    .description('make a private key for keys.signing; prints it, once')
    .option('--out <file>', 'write it to a new file that only its owner can read')
    .action(({ out }: { out?: string }) => newKey(out));
  keys
    .command('list')
    .description('which keys there are, which one signs, which are revoked')
    .addOption(configOption())
    .option('--json', 'one line of JSON')
    .action(list);
  keys
    .command('rotate')
    .description('a new key signs from now on; the one before verifies what it has signed; no restart')
    .addOption(configOption())
    .action(rotate);
  keys
    .command('revoke')
    .description('believe a key no more: nothing that it has signed is released')
    .argument('<kid>', 'the key, or the beginning of its name')
    .addOption(configOption())
    .option('--since <time>', 'when it may have come into other hands (ISO 8601; default: now)')
    .option('--reason <reason>', 'compromised or superseded', 'compromised')
    .action(revoke);
}

async function newKey(out: string | undefined): Promise<void> {
  const text = `${newPrivateKeyText(nowSeconds())}\n`;
  if (out === undefined) return void process.stdout.write(text);
  const file = await open(out, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    throw new CliError('key_file', `--out: ${out} cannot be made (${error.code ?? 'unknown'})`);
  });
  try {
    await file.writeFile(text);
  } finally {
    await file.close();
  }
}

async function list({ config: file, json }: Options): Promise<void> {
  const config = await loadConfig(file, process.env);
  const keys = await installationKeys(config);
  const rows = await withPool(config, async (pool) => {
    await registerKeys(pool, keys.all());
    await heedRevocations(pool, keys);
    return listKeys(pool);
  });
  const lines = rows.map((row) => ({ ...row, status: statusOf(row, keys) }));
  if (json) process.stdout.write(`${JSON.stringify({ keys: lines })}\n`);
  else for (const line of lines) process.stdout.write(`${lineText(line)}\n`);
}

async function rotate({ config: file }: Options): Promise<void> {
  const config = await loadConfig(file, process.env);
  const keys = await installationKeys(config);
  const { directory } = keys;
  if (directory === null)
    throw new CliError(
      'key_not_rotatable',
      'the key comes from keys.signing: make one with "countersign keys new", put its public part into keys.verifying and restart every process, then put it into keys.signing, with the old public part in keys.verifying',
    );
  const { signer: old } = keys;
  const before = await keys.find(old.kid);
  if (before === null) throw new CliError('key_unknown', `the signing key ${old.kid} is gone`);
  // The log hears of it in a stream that the old key endorses: whoever trusts that one can follow.
  const appender = createTransactionalAppender({ schema: config.audit.schema, signer: old });
  await withPool(config, async (pool) => {
    await registerKeys(pool, keys.all());
    const { kid } = await directory.rotate(nowSeconds());
    await recordRotation(
      { pool, appendAudit: appender.append, log: commandLogger(process.env, 'warn') },
      keys,
      { before, by: operator() },
    );
    await appender.end(config.audit.url);
    process.stdout.write(`${kid} signs from now on; ${before.kid} verifies what it has signed\n`);
  });
}

async function revoke(start: string, options: RevokeOptions): Promise<void> {
  const config = await loadConfig(options.config, process.env);
  const revocation = { at: sinceOf(options), reason: reasonOf(options.reason) };
  const keys = await installationKeys(config);
  await withPool(config, async (pool) => {
    await registerKeys(pool, keys.all());
    const kid = oneOf(start, await listKeys(pool));
    const replaced = keys.signer.kid === kid;
    if (replaced && keys.directory === null)
      throw new CliError(
        'key_signs',
        'this key signs: put another one into keys.signing first and restart, then revoke this one',
      );
    if (replaced) await keys.directory?.rotate(nowSeconds());
    const appender = createTransactionalAppender({ schema: config.audit.schema, signer: keys.signer });
    // The database first: it is what every process asks before it releases anything.
    const done = await recordRevocation(
      { pool, appendAudit: appender.append, log: commandLogger(process.env, 'warn') },
      kid,
      revocation,
      operator(),
    );
    await appender.end(config.audit.url);
    await registerKeys(pool, keys.all());
    await keys.directory?.revoke(kid, revocation, nowSeconds());
    process.stdout.write(
      revokedText(kid, revocation, done?.requests ?? [], replaced ? keys.signer.kid : null),
    );
  });
}

function revokedText(
  kid: string,
  { at, reason }: Revocation,
  requests: readonly string[],
  next: string | null,
): string {
  const lines = [
    `${kid} is revoked since ${new Date(at * 1000).toISOString()} (${reason}): nothing that it has signed is released`,
    ...(next === null ? [] : [`${next} signs from now on`]),
    ...requests.map(
      (id) => `${id} was approved with it and had not run: expired, the agent has to ask again`,
    ),
    'Receipts with an earlier date are only as good as that date is certain: whoever had the key could write any date.',
    'The audit log holds each receipt in a row that other keys have signed: compare with it.',
    'Restart the processes that began with it when you can: it endorses their streams of the log, and others may not',
    'pass cancels on to them.',
  ];
  return `${lines.join('\n')}\n`;
}

function oneOf(start: string, rows: readonly KeyRow[]): string {
  const found = rows.filter(({ kid }) => kid === start || (start.length >= 4 && kid.startsWith(start)));
  const [row] = found;
  if (row !== undefined && found.length === 1) return row.kid;
  throw new CliError(
    'key_unknown',
    found.length > 1
      ? `${found.length} keys begin with ${start}`
      : `there is no key ${start}: see "countersign keys list"`,
  );
}

/**
 * Times of revocations are whole seconds. Now: from the end of this second on, for what was signed earlier in it was
 * signed by a key that was good; releases are refused at once, whatever the time says.
 */
function sinceOf({ since }: RevokeOptions): number {
  return since === undefined ? nowSeconds() + 1 : timeOption('--since', since);
}

function reasonOf(reason: string): Revocation['reason'] {
  if (reason === 'compromised' || reason === 'superseded') return reason;
  throw new CliError('bad_reason', '--reason: expected compromised or superseded');
}

function statusOf({ kid, revoked_at }: KeyRow, keys: Keys): string {
  if (revoked_at !== null) return 'revoked';
  const known = keys.all().find((key) => key.kid === kid);
  if (known === undefined) return 'not here';
  return keys.signer.kid === kid ? 'signs' : 'verifies';
}

function lineText(row: KeyRow & { readonly status: string }): string {
  const since = `since ${(row.not_before ?? row.seen_at).toISOString()}`;
  const until = row.retired_at === null ? '' : ` until ${row.retired_at.toISOString()}`;
  const revoked =
    row.revoked_at === null
      ? ''
      : `, revoked since ${row.revoked_at.toISOString()} (${row.revoked_reason}) by ${row.revoked_by}`;
  return `${row.kid}  ${row.status.padEnd(8)}  ${since}${until}${revoked}`;
}

function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}
