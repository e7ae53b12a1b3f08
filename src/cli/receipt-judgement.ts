import { createHash } from 'node:crypto';
import { assertionWords } from '../signing/assertion.ts';
import type { PasskeySet } from '../signing/passkey.ts';
import { CLOCKS_SECONDS, type SignedReceipt } from '../signing/receipt.ts';
import { type PasskeyFinding, passkeyFindings } from '../signing/receipt-passkeys.ts';

/** What was found of a receipt whose signature is right. Times are seconds since 1970 UTC. */
export type Judgement = {
  /** `unsure`: the signature alone does not decide it. */
  readonly verdict: 'good' | 'not_good' | 'unsure';
  /** Stable codes, with words for people; most important first. */
  readonly findings: readonly { readonly code: string; readonly text: string }[];
};

export type JudgeOptions = {
  /** The time for which it is asked whether the receipt allowed a release; null: it is looked at as a record. */
  readonly at: number | null;
  /** The bytes of a statement that it should be about; null: not compared. */
  readonly statement: Buffer | null;
  readonly now: number;
  /** Whose passkey is whose, by the verifier's own key set. */
  readonly passkeys: PasskeySet;
};

type Found = { readonly verdict: Judgement['verdict']; readonly code: string; readonly text: string };

/** Judges by what the receipt says, what is known of its key, and what was asked. */
export function judgeReceipt(receipt: SignedReceipt, options: JudgeOptions): Judgement {
  const found = [
    ...keyFindings(receipt),
    ...(options.statement === null ? [] : statementFindings(receipt, options.statement)),
    ...passkeyFindings(receipt.claims, options.passkeys).map(passkeyFinding),
    ...timeFindings(receipt, options),
  ];
  const verdict = (['not_good', 'unsure', 'good'] as const).find((one) =>
    found.some((finding) => finding.verdict === one),
  );
  return {
    verdict: verdict ?? 'good',
    findings: found.map(({ code, text }) => ({ code, text })),
  };
}

function keyFindings({ claims, key }: SignedReceipt): readonly Found[] {
  const { revocation, retiredAt, notBefore } = key;
  if (revocation !== null) {
    const since = `its key was revoked, ${revocation.reason} since ${iso(revocation.at)}`;
    if (claims.iat >= revocation.at)
      return [found('not_good', 'key_revoked', `${since}; the receipt says that it was signed after that`)];
    return revocation.reason === 'superseded'
      ? [
          found(
            'good',
            'key_revoked_later',
            `${since}; the receipt says that it was signed before, by its own word`,
          ),
        ]
      : [
          found(
            'unsure',
            'key_revoked_later',
            `${since}; the receipt says that it was signed before, but whoever had the key could write any time. What tells is the audit log: the row request_approved of ${claims.request} holds this receipt, and other keys have signed when it came there`,
          ),
        ];
  }
  if (retiredAt !== null && claims.iat > retiredAt + CLOCKS_SECONDS)
    return [
      found('not_good', 'key_retired', `its key was replaced at ${iso(retiredAt)}, before it was signed`),
    ];
  if (notBefore !== null && claims.iat < notBefore - CLOCKS_SECONDS)
    return [
      found('not_good', 'key_younger', `its key was made at ${iso(notBefore)}, after it says it was signed`),
    ];
  return [];
}

function statementFindings({ claims }: SignedReceipt, statement: Buffer): readonly Found[] {
  const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
  if (sha256(statement) === claims.sqlSha256)
    return [found('good', 'statement_same', `about exactly these ${statement.length} bytes`)];
  const length = statement.at(-1) !== 10 ? 0 : statement.at(-2) === 13 ? 2 : 1;
  if (length > 0 && sha256(statement.subarray(0, -length)) === claims.sqlSha256)
    return [found('good', 'statement_same', 'about exactly this statement, without the line end at its end')];
  return [found('not_good', 'statement_other', 'about another statement: the sha256 of its bytes differs')];
}

/** The receipt's word for assurance 3 is not enough: what the person's device has signed is in it. */
function passkeyFinding({ person, passkey, result }: PasskeyFinding): Found {
  switch (result.kind) {
    case 'good':
      return found(
        'good',
        'passkey_good',
        `${person} has signed it with passkey ${passkey}, at ${result.site}`,
      );
    case 'missing':
      return found(
        'not_good',
        'passkey_missing',
        `${person} is said to have used a passkey, but signed nothing`,
      );
    case 'other_person':
      return found('not_good', 'passkey_other_person', `passkey ${passkey} of ${person} is ${result.of}'s`);
    case 'retired':
      return found(
        'not_good',
        'passkey_retired',
        `passkey ${passkey} of ${person} counted until ${iso(result.at)}, before it was used`,
      );
    case 'fault':
      return found(
        'not_good',
        'passkey_refused',
        `what ${person} has signed with passkey ${passkey} does not count: ${assertionWords(result.fault)}`,
      );
    case 'unknown_passkey':
      return found(
        'unsure',
        'passkey_unknown',
        `passkey ${passkey} of ${person} is not in the key set: use a copy that was kept while the configuration had it`,
      );
  }
}

function timeFindings({ claims }: SignedReceipt, { at, now }: JudgeOptions): readonly Found[] {
  const { iat, exp } = claims;
  if (at === null) {
    const over = exp <= now ? `; that is over, and it stays the record of what was approved` : '';
    return [found('good', 'release_until', `allowed a release, once, until ${iso(exp)}${over}`)];
  }
  if (at < iat) return [found('not_good', 'not_yet', `not yet signed at ${iso(at)}: it is of ${iso(iat)}`)];
  if (at >= exp) return [found('not_good', 'expired', `expired at ${iso(exp)}, before ${iso(at)}`)];
  return [found('good', 'in_time', `in force at ${iso(at)}, from ${iso(iat)} until ${iso(exp)}`)];
}

function found(verdict: Judgement['verdict'], code: string, text: string): Found {
  return { verdict, code, text };
}

/** A time as people and programs read it. */
export function iso(seconds: number): string {
  const ms = seconds * 1000;
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : `${seconds} s`;
}
