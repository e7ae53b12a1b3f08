import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { lastNote } from '../audit/checkpoints/anchors.ts';
import { parseCheckpoint, type SignedCheckpoint } from '../audit/checkpoints/checkpoint.ts';
import type { Finding } from '../audit/verify/finding.ts';
import { type Jwks, jwksProblem } from '../audit/verify/trusted-keys.ts';
import { type VerifyResult, verifyLog } from '../audit/verify/verify-database.ts';
import { auditAddress } from './audit-database.ts';
import { CliError } from './exit.ts';
import { configOption } from './options.ts';
import { oneLine } from './requests-text.ts';
import { jsonLine } from './terminal-text.ts';
import { evidenceJson, evidenceText, verifiedEvidence } from './verify-evidence.ts';

type Options = {
  readonly config: string;
  readonly url?: string;
  readonly schema?: string;
  readonly keys?: string;
  readonly checkpoint?: string;
  readonly evidence?: string;
  readonly json?: true;
};

/** `countersign verify`: 0 the log is whole, 1 something was altered, 2 it could not be checked. */
export function verifyCommand(program: Command): void {
  program
    .command('verify')
    .description('check every hash and signature of the audit log, with public keys only')
    .addOption(configOption())
    .option('--url <url>', 'audit database, as a role that reads its views (COUNTERSIGN_AUDIT_URL)')
    .option('--schema <name>', 'its schema (default: audit, or what the configuration says)')
    .option('--keys <file or URL>', 'public keys of the installation, a JWK set (its /.well-known/jwks.json)')
    .option('--checkpoint <file>', 'a checkpoint that was kept elsewhere: all that it covers must be there')
    .option('--evidence <dir>', 'instead of a database: a folder that countersign evidence made')
    .option('--json', 'findings as JSON, one a line')
    .action(async (options: Options) => {
      const keys = options.keys === undefined ? undefined : await readJwks(options.keys);
      const checkpoint =
        options.checkpoint === undefined ? undefined : (await readCheckpoint(options.checkpoint)).signed;
      if (options.evidence !== undefined) {
        const found = await verifiedEvidence({ directory: options.evidence, keys, checkpoint });
        process.stdout.write(options.json ? evidenceJson(found) : evidenceText(found));
        process.exitCode = exitCodeOf(found);
        return;
      }
      const { url, schema } = await auditAddress(options);
      const result = await verified({ url, schema, keys, checkpoint });
      process.stdout.write(options.json ? asJson(result) : asText(result));
      process.exitCode = exitCodeOf(result);
    });
}

/** The exit code for what was found. */
export function exitCodeOf(result: Pick<VerifyResult, 'whole' | 'altered'>): 0 | 1 | 2 {
  if (result.altered) return 1;
  return result.whole ? 0 : 2;
}

async function verified(options: Parameters<typeof verifyLog>[0]): Promise<VerifyResult> {
  try {
    return await verifyLog(options);
  } catch (error) {
    const why = error instanceof Error ? error.message || error.name : String(error);
    throw new CliError('could_not_check', `the audit log could not be read: ${oneLine(why)}`);
  }
}

/** A JWK set from a file or URL. Throws `CliError`. */
export async function readJwks(source: string): Promise<Jwks> {
  const jwks = jwksIn(/^https?:/.test(source) ? await fetchText(source) : await readText(source));
  const problem =
    jwks === null ? 'is not a JWK set: expected {"keys":[…]} with at least one key' : jwksProblem(jwks);
  if (jwks === null || problem !== null) throw new CliError('bad_jwks', `--keys: ${source} ${problem}`);
  return jwks;
}

function jwksIn(text: string): Jwks | null {
  try {
    const parsed: unknown = JSON.parse(text);
    const keys: unknown = Reflect.get(Object(parsed), 'keys');
    const revoked: unknown = Reflect.get(Object(parsed), 'revoked') ?? [];
    return isJwks(keys) && keys.length > 0 && isJwks(revoked) ? { keys, revoked } : null;
  } catch {
    return null;
  }
}

/** A signed note, or a line of a file anchor (the last one). Throws `CliError`. */
export async function readCheckpoint(path: string): Promise<KeptCheckpoint> {
  const text = await readText(path, 'bad_checkpoint', '--checkpoint');
  for (const note of [text, lastNote(text) ?? '']) {
    const signed = parseCheckpoint(note);
    if (signed !== null) return { note, signed };
  }
  throw new CliError('bad_checkpoint', `--checkpoint: ${path} is no signed checkpoint of a log`);
}
type KeptCheckpoint = { readonly note: string; readonly signed: SignedCheckpoint };

function isJwks(value: unknown): value is Jwks['keys'] {
  return Array.isArray(value) && value.every((key) => typeof key === 'object' && key !== null);
}

async function readText(path: string, code = 'bad_jwks', option = '--keys'): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new CliError(code, `${option}: ${path} cannot be read: ${String(error)}`);
  }
}

async function fetchText(url: string): Promise<string> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(10_000) });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return await response.text();
  } catch (error) {
    throw new CliError('bad_jwks', `--keys: ${url} cannot be fetched: ${String(error)}`);
  }
}

function asJson({ findings, ...summary }: VerifyResult): string {
  const lines = findings.map((finding) => ({
    ...finding,
    seq: finding.seq === null ? null : String(finding.seq),
  }));
  return [...lines, summary].map((line) => `${jsonLine(line)}\n`).join('');
}

function asText(result: VerifyResult): string {
  const lines = result.findings.map(findingText);
  if (result.keysFromLog) {
    lines.push(
      'warning: the public keys came from the log itself, so whoever could change it could change them too;',
      '         --keys takes them from a file that you kept, or from the proxy (/.well-known/jwks.json)',
    );
  }
  const verdict = result.altered ? 'ALTERED' : result.whole ? 'whole' : 'NOT CHECKED COMPLETELY';
  lines.push(
    `${verdict}: ${result.rows} rows in ${result.streams} streams, ${result.findings.length} findings`,
  );
  return `${lines.join('\n')}\n`;
}

function findingText({ stream, seq, check, ok, detail }: Finding): string {
  const where = stream === null ? 'log' : seq === null ? `stream ${stream}` : `stream ${stream} row ${seq}`;
  // Streams, keys and what a check says of them come from the log: whoever tampered with it may have written them.
  return oneLine(`${ok === null ? 'not checked' : 'ALTERED'}: ${where}: ${check}: ${detail}`);
}
