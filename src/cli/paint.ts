/** Colours for people, on terminals alone. */

export type Paint = (how: 'bold' | 'dim' | 'red' | 'green' | 'yellow', text: string) => string;

const CODES = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39] } as const;

export const PLAIN: Paint = (_, text) => text;
const COLOURED: Paint = (how, text) => {
  const [on, off] = CODES[how];
  return `\u001b[${on}m${text}\u001b[${off}m`;
};

/**
 * FORCE_COLOR decides where it is set (`0` and `false`: none), then NO_COLOR where it is not empty (no-color.org);
 * otherwise a terminal that is not `dumb` gets colours, and a pipe or file none.
 */
export function paintFor(
  env: Readonly<Record<string, string | undefined>>,
  stream: { readonly isTTY?: boolean },
): Paint {
  const forced = env['FORCE_COLOR'];
  if (forced !== undefined) return forced === '0' || forced === 'false' ? PLAIN : COLOURED;
  if ((env['NO_COLOR'] ?? '') !== '') return PLAIN;
  return stream.isTTY === true && env['TERM'] !== 'dumb' ? COLOURED : PLAIN;
}
