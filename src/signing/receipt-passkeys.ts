import { type AssertionFault, assertionFault, recordedAssertion, siteIn } from './assertion.ts';
import type { PasskeySet } from './passkey.ts';
import type { ReceiptClaims } from './receipt.ts';

/** What was found of the assertion of one approver of assurance 3. */
export type PasskeyFinding = {
  readonly person: string;
  /** Thumbprint of the passkey that the receipt names; null: it has no assertion. */
  readonly passkey: string | null;
  readonly result:
    | { readonly kind: 'good'; readonly site: string }
    | { readonly kind: 'missing' }
    /** Not among the given keys: one that was removed since, or never was there. */
    | { readonly kind: 'unknown_passkey' }
    | { readonly kind: 'other_person'; readonly of: string }
    /** By the receipt's own time it was given at that time (seconds since 1970 UTC) or later. */
    | { readonly kind: 'retired'; readonly at: number }
    | { readonly kind: 'fault'; readonly fault: AssertionFault };
};

/**
 * Checks offline that each approver of assurance 3 has signed the receipt's request with a passkey that `passkeys`, the
 * verifier's own, say is theirs. Whose signature the receipt itself has is another question (`readReceipt`).
 */
export function passkeyFindings(
  { approvers, digest }: Pick<ReceiptClaims, 'approvers' | 'digest'>,
  passkeys: PasskeySet,
): readonly PasskeyFinding[] {
  return approvers
    .filter(({ assurance }) => assurance === 3)
    .map(({ person, facts, at }): PasskeyFinding => {
      const assertion = recordedAssertion(facts);
      if (assertion === null) return { person, passkey: null, result: { kind: 'missing' } };
      const { passkey } = assertion;
      const known = passkeys.find(passkey);
      if (known === null) return { person, passkey, result: { kind: 'unknown_passkey' } };
      if (known.person !== person)
        return { person, passkey, result: { kind: 'other_person', of: known.person } };
      if (known.retiredAt !== null && at >= known.retiredAt)
        return { person, passkey, result: { kind: 'retired', at: known.retiredAt } };
      const fault = assertionFault(assertion, known.key, digest, null);
      if (fault !== null) return { person, passkey, result: { kind: 'fault', fault } };
      return { person, passkey, result: { kind: 'good', site: siteIn(assertion) } };
    });
}
