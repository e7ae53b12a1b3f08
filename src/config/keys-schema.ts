import { z } from 'zod';
import { secret } from './secret-schema.ts';

const name = z.string().min(1);

/** `keys:`, the installation's signing keys. */
export const keysSection = z
  .strictObject({
    directory: name.optional().describe('Where the keys are made and rotated; default: in dataDirectory.'),
    signing: secret
      .optional()
      .describe('The private Ed25519 key (JWK or PEM) that signs, in place of the directory.'),
    verifying: name
      .optional()
      .describe('Path of a JSON Web Key Set: public keys that verify beside keys.signing.'),
  })
  .refine(({ directory, signing }) => directory === undefined || signing === undefined, {
    error: 'expected only one of directory, signing',
  })
  .refine(({ verifying, signing }) => verifying === undefined || signing !== undefined, {
    error: 'expected signing, because verifying is given',
  });
