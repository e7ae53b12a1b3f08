/** How sure the guard is of who answers: what a channel says, and what a passkey of the configuration has signed. */
import type { Passkey, Person } from '../config/config.ts';
import { assertionFault, assertionWords, recordedAssertion, withoutAssertion } from '../signing/assertion.ts';
import { libraryAccepts } from '../signing/ceremony.ts';
import { passkeyThumbprint } from '../signing/passkey.ts';
import { inTransaction, type StoreContext } from './context.ts';
import { resolvePerson } from './eligibility.ts';
import type { Answer, Identity, PasskeyAssertion, PasskeyDesk, ShownPasskey } from './guard.ts';

type AttestingContext = Pick<StoreContext, 'directory' | 'relyingParty'>;

export type Attested =
  | {
      readonly ok: true;
      readonly assurance: 1 | 2 | 3;
      readonly facts: Readonly<Record<string, string>>;
    }
  /** An assertion came with it, and is not taken. `why` is for the person. */
  | { readonly ok: false; readonly why: string };

/**
 * 3 for nothing but an assertion over this request's digest (hex) by a passkey that is this very person's in the
 * configuration now. A wrong one refuses the approval: whoever meant to use a passkey does not answer with less.
 */
export async function attest(
  context: AttestingContext,
  person: Person,
  digest: string,
  { verdict, attestation }: Answer,
): Promise<Attested> {
  const { passkey: assertion, assurance } = attestation;
  const facts = withoutAssertion(attestation.facts);
  if (assertion === undefined || verdict === 'deny')
    return { ok: true, assurance: assurance === 1 ? 1 : 2, facts };
  const { relyingParty: party } = context;
  if (party === null) return refused('passkeys cannot be used at the address of http.publicUrl');
  const passkey = passkeysIn(person).find(({ id }) => id === assertion.id);
  if (passkey === undefined) return refused('it is none of yours in the configuration');
  const fault = assertionFault(assertion, passkey.key, digest, party);
  if (fault !== null) return refused(assertionWords(fault));
  if (!(await libraryAccepts(assertion, passkey, digest, party))) return refused(assertionWords('malformed'));
  return { ok: true, assurance: 3, facts: { ...facts, ...recorded(passkey, assertion) } };
}

function refused(why: string): Attested {
  return { ok: false, why };
}

function recorded({ key }: Passkey, { authenticatorData, clientDataJSON, signature }: PasskeyAssertion) {
  return { passkey: passkeyThumbprint(key), authenticatorData, clientDataJSON, signature };
}

/** A verdict as it was recorded, or as a receipt has it. */
export type Recorded = {
  readonly person: string;
  readonly assurance: 1 | 2 | 3;
  readonly facts: Readonly<Record<string, string>>;
};

/**
 * It still stands: what was given with a passkey does as long as that passkey is that person's in the configuration, and
 * its assertion is over this digest. Judged anew from the assertion, whatever was found when it was given.
 */
export function stillProved(
  { directory, relyingParty }: AttestingContext,
  digest: string,
  { person: id, assurance, facts }: Recorded,
): boolean {
  if (assurance < 3) return true;
  const assertion = recordedAssertion(facts);
  const person = directory.people.find((known) => known.id === id);
  if (assertion === null || person === undefined || relyingParty === null) return false;
  const passkey = passkeysIn(person).find(({ key }) => passkeyThumbprint(key) === assertion.passkey);
  return passkey !== undefined && assertionFault(assertion, passkey.key, digest, relyingParty) === null;
}

/** `PasskeyDesk.passkeysOf`. */
export function passkeysOf(
  { directory, relyingParty }: AttestingContext,
  identities: readonly Identity[],
): ReturnType<PasskeyDesk['passkeysOf']> {
  const resolved = resolvePerson(directory, identities);
  if (resolved.kind !== 'person' || relyingParty === null) return [];
  return passkeysIn(resolved.person).map(({ id, key }) => ({ id, thumbprint: passkeyThumbprint(key) }));
}

/** `PasskeyDesk.passkeyMade`. Without the key itself: the log's own keys are another thing. */
export async function recordPasskey(
  context: StoreContext,
  identities: readonly Identity[],
  { id, thumbprint }: ShownPasskey,
): Promise<void> {
  const resolved = resolvePerson(context.directory, identities);
  if (resolved.kind !== 'person') return;
  const { id: by } = resolved.person;
  const people = [by];
  const detail = { purpose: 'passkey', event: 'made', kid: thumbprint, credential: id, by };
  await inTransaction(context, async ({ record }) =>
    record({ kind: 'key', session: null, requestId: null, people, detail }),
  );
}

/** Programs have none: nobody touches their device. */
function passkeysIn({ passkeys = [], automationOf }: Person): readonly Passkey[] {
  return automationOf === undefined ? passkeys : [];
}
