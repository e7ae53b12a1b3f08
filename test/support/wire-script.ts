import { logInRaw } from '../proxy/scram-client.ts';

/** Frames that are sent at once, and how many ReadyForQuery answer them; 0: not waited for. */
export type Step = readonly [ready: number, ...frames: Buffer[]];

/** Plays steps on a new connection, with just these start-up parameters; every frame that came, in hexadecimal. */
export async function playSteps(
  url: string,
  steps: readonly Step[],
  parameters: readonly (readonly [string, string])[] = [],
): Promise<string[]> {
  const { client, frames } = await logInRaw(url, 0x30000, { parameters });
  // The authentication's end and the cancel key are each side's own.
  const seen = frames.filter((frame) => frame[0] !== 0x52 && frame[0] !== 0x4b).map(readable);
  for (const [ready, ...sent] of steps) {
    client.send(...sent);
    for (let left = ready; left > 0; ) {
      const frame = await client.frame(60_000);
      if (frame.length === 0) return [...seen, 'the connection ended'];
      seen.push(readable(frame));
      if (frame[0] === 0x5a) left -= 1;
    }
  }
  client.close();
  return seen;
}

/** One character a byte, so that nothing is lost in any encoding. */
export function readable(frame: Buffer): string {
  return `${String.fromCharCode(frame[0] ?? 0)} ${frame.toString('latin1', 5)}`;
}
