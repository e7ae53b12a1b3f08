import { passkeyFault, passkeyThumbprint, relyingPartyOf } from '../signing/passkey.ts';
import type { Path } from './document.ts';
import type { ConfigErrorCode } from './errors.ts';
import type { ConfigShape } from './schema.ts';

type Add = (path: Path, problem: string, code?: ConfigErrorCode) => void;

/** Passkeys that are none, that mean two people, or that no browser could use here. */
export function checkPasskeys({ people, retiredPasskeys, http }: ConfigShape, add: Add): void {
  const seen = new Map<string, string>();
  people.forEach(({ id: person, passkeys }, index) => {
    passkeys.forEach(({ id, key }, at) => {
      const path: Path = ['people', index, 'passkeys', at];
      const fault = passkeyFault(key);
      if (fault !== null) add([...path, 'key'], `${fault}; expected what the approval page printed`, WRONG);
      for (const [name, value] of [
        ['id', id],
        ['key', passkeyThumbprint(key)],
      ] as const) {
        const before = seen.get(`${name} ${value}`);
        if (before === person) add([...path, name], 'the same passkey is used above', WRONG);
        else if (before !== undefined)
          add([...path, name], `this passkey is ${before}'s already; each must mean one person`);
        else seen.set(`${name} ${value}`, person);
      }
    });
    if (passkeys.length > 0 && !isUsable(http.publicUrl))
      add(
        ['people', index, 'passkeys'],
        'browsers have passkeys only where http.publicUrl is https:// and a name, or http://localhost',
        WRONG,
      );
  });
  checkRetired(retiredPasskeys, seen, add);
}

/** None may count and be retired, or be retired for two. */
function checkRetired(retired: ConfigShape['retiredPasskeys'], seen: Map<string, string>, add: Add): void {
  retired.forEach(({ key }, at) => {
    const path: Path = ['retiredPasskeys', at, 'key'];
    const fault = passkeyFault(key);
    if (fault !== null) add(path, `${fault}; expected what was in people[].passkeys`, WRONG);
    const name = `key ${passkeyThumbprint(key)}`;
    const before = seen.get(name);
    if (before !== undefined)
      add(path, `this passkey is used above (${before}); one that is retired counts for nobody`, WRONG);
    seen.set(name, 'retired');
  });
}

const WRONG: ConfigErrorCode = 'config_invalid_value';

/** Without one it is an address. */
function isUsable(publicUrl: string | undefined): boolean {
  return publicUrl !== undefined && URL.canParse(publicUrl) && relyingPartyOf(publicUrl) !== null;
}
