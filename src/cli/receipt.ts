import { readFile } from 'node:fs/promises';
import { text as textOf } from 'node:stream/consumers';
import type { Command } from 'commander';
import { KeyError } from '../signing/key-text.ts';
import { type KeySet, keySetFromJwks } from '../signing/keys.ts';
import { type PasskeySet, passkeySetFromJwks } from '../signing/passkey.ts';
import { ReceiptError, readReceipt } from '../signing/receipt.ts';
import { CliError } from './exit.ts';
import { paintFor } from './paint.ts';
import { type Judgement, judgeReceipt } from './receipt-judgement.ts';
import { receiptJson, receiptLines } from './receipt-text.ts';
import { ApiError, apiFromEnvironment } from './requests-api.ts';
import { timeOption } from './time-option.ts';

type VerifyOptions = {
  readonly jwks: string;
  readonly at?: string;
  readonly statement?: string;
  readonly json?: true;
};

/** Exit: 0 good, 1 not, 2 it could not be checked. */
const EXIT = { good: 0, not_good: 1, unsure: 2 } as const;

/** `countersign receipt verify|show`. */
export function receiptCommand(program: Command): void {
  const receipt = program.command('receipt').description('what was approved, signed');
  receipt
    .command('verify')
    .description('check a receipt offline: 0 good, 1 not, 2 could not be checked')
    .argument('[file]', 'the receipt (a compact JWS); - or nothing: standard input', '-')
    .requiredOption('--jwks <file>', 'public keys that you kept: a copy of /.well-known/jwks.json')
    .option('--at <time>', 'whether it was in force then (ISO 8601, or now)')
    .option('--statement <file>', 'whether it is about exactly the bytes of this file')
    .option('--json', 'one line of JSON')
    .action(verify);
  receipt
    .command('show')
    .description('print the receipt of a request (COUNTERSIGN_URL, COUNTERSIGN_TOKEN)')
    .argument('<request>')
    .action(show);
}

async function verify(file: string, options: VerifyOptions): Promise<void> {
  const at = options.at === undefined ? null : timeOption('--at', options.at);
  const { keys, passkeys } = await keySets(options.jwks);
  const statement = options.statement === undefined ? null : await bytesOf('--statement', options.statement);
  const token = file === '-' ? await textOf(process.stdin) : (await bytesOf('FILE', file)).toString('utf8');
  const paint = paintFor(process.env, process.stdout);
  try {
    const receipt = await readReceipt(token.trim(), keys);
    const now = Math.floor(Date.now() / 1000);
    const judgement = judgeReceipt(receipt, { at, statement, now, passkeys });
    const lines = options.json ? [receiptJson(receipt, judgement)] : receiptLines(receipt, judgement, paint);
    for (const line of lines) process.stdout.write(`${line}\n`);
    process.exitCode = EXIT[judgement.verdict];
  } catch (error) {
    if (!(error instanceof ReceiptError)) throw error;
    const judgement: Judgement = {
      verdict: 'not_good',
      findings: [{ code: error.code, text: error.message }],
    };
    process.stdout.write(
      options.json
        ? `${JSON.stringify(judgement)}\n`
        : `${paint('red', 'NOT GOOD')}: ${error.message} (${error.code})\n`,
    );
    process.exitCode = EXIT.not_good;
  }
}

async function show(id: string): Promise<void> {
  try {
    const api = apiFromEnvironment(process.env);
    const { receipt, state } = await api.get(await api.resolve(id));
    if (receipt === null)
      throw new ApiError(
        'no_receipt',
        `${id} is ${state}: it has no receipt, because it was not approved`,
        1,
      );
    process.stdout.write(`${receipt}\n`);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    throw new CliError(error.code, `${error.message} (${error.code})`, error.exitCode);
  }
}

/** The keys that sign receipts, and those of the people who approve: neither does for the other. */
async function keySets(file: string): Promise<{ readonly keys: KeySet; readonly passkeys: PasskeySet }> {
  const text = (await bytesOf('--jwks', file)).toString('utf8');
  try {
    const document: unknown = JSON.parse(text);
    return { keys: await keySetFromJwks(document), passkeys: passkeySetFromJwks(document) };
  } catch (error) {
    const why = error instanceof KeyError ? error.message : 'it is no JSON';
    throw new CliError('bad_jwks', `--jwks: ${file}: ${why}`);
  }
}

async function bytesOf(what: string, file: string): Promise<Buffer> {
  return readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new CliError('unreadable', `${what}: ${file} cannot be read (${error.code ?? 'unknown'})`);
  });
}
