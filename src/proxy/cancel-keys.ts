import { randomBytes, randomInt, timingSafeEqual } from 'node:crypto';
import { PROTOCOL_3_2 } from '../protocol/startup.ts';

export type CancelKey = { readonly processId: number; readonly key: Buffer };

/** The keys that the proxy gives out instead of the server's: a cancel finds its session, and nothing else. */
export class CancelKeys {
  readonly #sessions = new Map<number, { readonly key: Buffer; readonly cancel: () => void }>();

  /** A new key; 3.2 has long ones (manual, "BackendKeyData"). */
  issue(protocol: number, cancel: () => void): CancelKey {
    let processId = 0;
    do processId = randomInt(1, 0x7fff_ffff);
    while (this.#sessions.has(processId));
    const key = randomBytes(protocol >= PROTOCOL_3_2 ? 32 : 4);
    this.#sessions.set(processId, { key, cancel });
    return { processId, key };
  }

  revoke(processId: number): void {
    this.#sessions.delete(processId);
  }

  /** Cancels what the key belongs to; false for a wrong key, about which the client is told nothing. */
  cancel(processId: number, key: Buffer): boolean {
    const session = this.#sessions.get(processId);
    if (session === undefined || session.key.length !== key.length || !timingSafeEqual(session.key, key))
      return false;
    session.cancel();
    return true;
  }
}
