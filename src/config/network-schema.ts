import { isIP } from 'node:net';
import { z } from 'zod';

/** A network in CIDR form, or one address. */
export const network = z.string().superRefine((text, context) => {
  const message = networkProblem(text);
  if (message !== null) context.addIssue({ code: 'custom', message });
});

/** Why a network cannot be trusted; null: it can. */
function networkProblem(text: string): string | null {
  const [address = '', length, ...rest] = text.split('/');
  const version = isIP(address);
  const most = version === 6 ? 128 : 32;
  if (version === 0 || rest.length > 0 || (length !== undefined && !/^\d{1,3}$/.test(length)))
    return 'expected a network like 10.0.0.0/8 or fd00::/8, or one address';
  if (length !== undefined && Number(length) > most) return `expected at most /${most}`;
  // Then whoever connects could name any address.
  return Number(length ?? most) === 0 ? 'this is every address there is; name those of your proxies' : null;
}
