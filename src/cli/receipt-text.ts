import { limitWords } from '../channels/visible.ts';
import type { ReceiptClaims, SignedReceipt } from '../signing/receipt.ts';
import type { Paint } from './paint.ts';
import { iso, type Judgement } from './receipt-judgement.ts';
import { oneLine } from './requests-text.ts';
import { jsonLine } from './terminal-text.ts';

const LABEL = 12;

const WORDS = {
  good: ['green', 'GOOD'],
  not_good: ['red', 'NOT GOOD'],
  unsure: ['yellow', 'NOT SURE'],
} as const;

/** For people (reasons and names are somebody's own words): the verdict, then who approved what, when, by which channel, with which limits. */
export function receiptLines(
  { claims, key }: SignedReceipt,
  judgement: Judgement,
  paint: Paint,
): readonly string[] {
  const [colour, word] = WORDS[judgement.verdict];
  return [
    `${paint(colour, word)}: ${judgement.findings.map(({ text }) => oneLine(text)).join('; ')}`,
    ...facts(claims, key.kid).map(([name, value]) => `${paint('dim', name.padEnd(LABEL))} ${oneLine(value)}`),
  ];
}

function facts(claims: ReceiptClaims, kid: string): readonly (readonly [string, string])[] {
  return [
    ['Request', claims.request],
    ['Agent', claims.agent],
    ...claims.approvers.map(({ person, channel, at, assurance, ids, reason }): readonly [string, string] => [
      'Approved by',
      `${person} at ${iso(at)} by ${channel} (assurance ${assurance}${ids.length === 0 ? '' : `; ${ids.join(' ')}`})${reason === null ? '' : `: ${reason}`}`,
    ]),
    ['Statement', `sha256 ${claims.sqlSha256}`],
    ['Parameters', `sha256 ${claims.parametersSha256}`],
    ['Result', limitWords(claims.limits) ?? 'without a limit'],
    ['Signed', `${iso(claims.iat)} by key ${kid}`],
    ['Expires', iso(claims.exp)],
    ['Policy', claims.policyDigest],
    ['Digest', claims.digest],
  ];
}

/** For programs, one line. */
export function receiptJson({ claims, key }: SignedReceipt, judgement: Judgement): string {
  const { notBefore, retiredAt, revocation } = key;
  return jsonLine({ ...judgement, claims, key: { kid: key.kid, notBefore, retiredAt, revocation } });
}
