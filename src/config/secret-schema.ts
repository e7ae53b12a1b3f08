import { z } from 'zod';

/** The message that marks a secret written into the file; the loader gives it its own code. */
export const LITERAL_SECRET =
  'a secret must not be written here; expected {env: NAME}, {file: PATH} or {command: [PROGRAM, ARGUMENT…]}';

export const name = z.string().min(1);

/** Where a secret is kept: exactly one of three places. */
export const secret = z
  .strictObject(
    {
      env: name.optional().describe('Name of an environment variable.'),
      file: name.optional().describe('Path of a file; a line end at its end is not part of the secret.'),
      command: z.array(name).min(1).optional().describe('Program and arguments; its output is the secret.'),
    },
    { error: ({ code, input }) => (code === 'invalid_type' && isScalar(input) ? LITERAL_SECRET : undefined) },
  )
  .refine((value) => Object.keys(value).length === 1, 'expected exactly one of env, file, command')
  .meta({ id: 'Secret', description: 'Where a secret is kept; never the secret itself.' });

export type SecretShape = z.output<typeof secret>;

function isScalar(value: unknown): boolean {
  return value !== undefined && value !== null && typeof value !== 'object';
}
