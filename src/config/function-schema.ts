import { z } from 'zod';

const name = z.string().min(1);

const listedFunction = z
  .strictObject({
    function: name.describe('schema.name(types), as "countersign functions" prints it.'),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/, 'expected 64 lower-case hexadecimal digits')
      .describe('Of everything that says what it does; when that changes, the entry no longer counts.'),
    does: z
      .enum(['reads', 'writes', 'unknown'])
      .describe('What somebody vouches for; unknown: nothing yet, so calls of it are held.'),
    by: z.string().default('').describe('Who vouches.'),
    note: z.string().default(''),
  })
  .refine(({ does, by }) => does === 'unknown' || by !== '', {
    error: 'expected by: who says what it does',
  });

export const listedFunctions = z
  .array(listedFunction)
  .describe('Functions of users that somebody has read, and vouches for.');

export const functionsFileSchema = z.strictObject({ functions: listedFunctions });
