/** How deep programs went, by what the server answered to them. */
import { decodeErrorFields } from '../../../src/protocol/backend.ts';
import { refusedByPolicy } from './comparison.ts';
import type { Decoded } from './decoder.ts';
import type { Program } from './generator.ts';
import type { Played } from './lanes.ts';

export const DEPTHS = [
  'error and skip',
  'COPY',
  'suspended portal',
  'failed transaction',
  'refusal',
] as const;
export type Depth = (typeof DEPTHS)[number];

/** What the program itself has reached; what makes its connection ready for the next one does not count. */
export function depthsOf(program: Program, direct: Played, decoded: Decoded, proxied: Played): Set<Depth> {
  const own = program.messages.length;
  const reached = new Set<Depth>();
  if (decoded.fates.slice(0, own).includes('skipped')) reached.add('error and skip');
  for (const [i, frame] of direct.frames.entries()) {
    const owner = decoded.owners[i] ?? -1;
    if (owner === -1 || owner >= own) continue;
    const type = String.fromCharCode(frame[0] ?? 0);
    if (type === 'G' || type === 'H') reached.add('COPY');
    if (type === 's') reached.add('suspended portal');
    if (type === 'Z' && frame[5] === 0x45) reached.add('failed transaction');
  }
  if (proxied.frames.some((frame) => frame[0] === 0x45 && refusedByPolicy(decodeErrorFields(frame))))
    reached.add('refusal');
  return reached;
}
