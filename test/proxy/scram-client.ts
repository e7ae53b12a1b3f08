import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import { encodeFrame } from '../../src/protocol/backend.ts';
import { Bytes, startup } from './support.ts';

/** A log-in of any protocol version, message by message; `frames`: what came after the password was proved. */
export async function logInRaw(
  url: string,
  protocol: number,
  options: {
    readonly parameters?: readonly (readonly [string, string])[];
    /** Closes the connection so long after the password was proved, whatever has come. */
    readonly leaveAfterMs?: number;
  } = {},
): Promise<{
  readonly client: Bytes;
  readonly frames: readonly Buffer[];
  readonly negotiated: Buffer | null;
}> {
  const { username, password, pathname } = new URL(url);
  const client = await Bytes.connect(url);
  client.send(
    startup([['user', username], ['database', pathname.slice(1)], ...(options.parameters ?? [])], protocol),
  );
  let first = await client.frame();
  const negotiated = first[0] === 0x76 ? first : null;
  if (negotiated !== null) first = await client.frame();
  client.send(initialResponse('n,,n=,r=abcdef'));
  const challenge = await client.frame();
  client.send(encodeFrame(0x70, Buffer.from(proof(password, 'n=,r=abcdef', challenge.toString('utf8', 9)))));
  if (options.leaveAfterMs !== undefined) setTimeout(() => client.close(), options.leaveAfterMs);
  const frames: Buffer[] = [];
  while (frames.at(-1)?.[0] !== 0x5a) {
    const frame = await client.frame();
    if (frame.length === 0) throw new Error('the connection ended during log-in');
    frames.push(frame);
  }
  return { client, frames, negotiated };
}

export function mechanism(name: string, response: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(Buffer.byteLength(response), 0);
  return Buffer.concat([Buffer.from(`${name}\0`), length, Buffer.from(response)]);
}

export function initialResponse(clientFirst: string): Buffer {
  return encodeFrame(0x70, mechanism('SCRAM-SHA-256', clientFirst));
}

/** client-final-message, written from the RFC and not with the code under test. */
export function proof(password: string, bare: string, serverFirst: string): string {
  const [, nonce = '', salt = '', iterations = ''] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(serverFirst) ?? [];
  const hmac = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest();
  const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), Number(iterations), 32, 'sha256');
  const clientKey = hmac(salted, 'Client Key');
  const stored = createHash('sha256').update(clientKey).digest();
  const withoutProof = `c=biws,r=${nonce}`;
  const signature = hmac(stored, `${bare},${serverFirst},${withoutProof}`);
  const bytes = clientKey.map((byte, i) => byte ^ (signature[i] ?? 0));
  return `${withoutProof},p=${Buffer.from(bytes).toString('base64')}`;
}
