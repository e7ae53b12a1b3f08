import { NoEvidence } from '../audit/evidence/folder.ts';
import {
  type EvidenceFinding,
  type EvidenceResult,
  verifyEvidence,
} from '../audit/evidence/verify-folder.ts';
import { CliError } from './exit.ts';
import { oneLine } from './requests-text.ts';
import { jsonLine } from './terminal-text.ts';

/** Checks an evidence folder. Throws `CliError` where it is none. */
export async function verifiedEvidence(
  source: Parameters<typeof verifyEvidence>[0],
): Promise<EvidenceResult> {
  try {
    return await verifyEvidence(source);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    if (error instanceof NoEvidence) throw new CliError(error.code, `--evidence: ${oneLine(why)}`);
    throw new CliError('could_not_check', `the evidence could not be read: ${oneLine(why)}`);
  }
}

/** For people. */
export function evidenceText(result: EvidenceResult): string {
  const { period, rows, streams, findings, gone } = result;
  const lines = findings.map(findingText);
  if (gone.dropped + gone.redacted > 0)
    lines.push(
      `accounted for by entries of the log: ${gone.dropped} rows that retention dropped, ${gone.redacted} texts that were erased`,
    );
  if (result.keysFromLog) {
    lines.push(
      'warning: the public keys came from the evidence itself, so whoever could change it could change them too;',
      '         --keys takes them from a file that you kept, or from the proxy (/.well-known/jwks.json)',
    );
  }
  const verdict = result.altered ? 'ALTERED' : result.whole ? 'whole' : 'NOT CHECKED COMPLETELY';
  lines.push(
    `${verdict}: evidence from ${period.from.toISOString()} to ${period.to.toISOString()}: ${rows} rows in ${streams} streams, ${findings.length} findings`,
  );
  return `${lines.join('\n')}\n`;
}

/** One finding a line, then the summary. */
export function evidenceJson({ findings, ...summary }: EvidenceResult): string {
  const lines = findings.map((one) => ({ ...one, seq: one.seq === null ? null : String(one.seq) }));
  return [...lines, summary].map((line) => `${jsonLine(line)}\n`).join('');
}

function findingText({ file, line, stream, seq, check, ok, detail }: EvidenceFinding): string {
  const place = line === null ? file : `${file} line ${line}`;
  const row = stream === null ? '' : seq === null ? `: stream ${stream}` : `: stream ${stream} row ${seq}`;
  return oneLine(`${ok === null ? 'not checked' : 'ALTERED'}: ${place}${row}: ${check}: ${detail}`);
}
