import { createHmac, randomBytes, randomInt, timingSafeEqual } from 'node:crypto';
import { PROTOCOL_3_2 } from '../protocol/startup.ts';

export type CancelKey = { readonly processId: number; readonly key: Buffer };

/** Null where nothing was under way; else resolves when the cancel can hit nothing any more. */
export type CancelSession = () => Promise<void> | null;

/**
 * A process id is a positive int32 whose upper 12 bits say which process of the installation gave it out, 1 to 4,095;
 * the lower 19 are the session's.
 */
const SESSION_BITS = 19;
export const MAX_INSTANCE = 4095;

/** The process of the installation that gave this out. `processId`: as a stranger sent it. */
export function instanceOf(processId: number): number {
  return processId >> SESSION_BITS;
}

/** The keys that the proxy gives out instead of the server's: a cancel finds its session, and nothing else. */
export class CancelKeys {
  readonly #sessions = new Map<number, { readonly digest: Buffer; readonly cancel: CancelSession }>();
  readonly #secret = randomBytes(32);
  readonly #decoy = randomBytes(32);
  readonly #instance: () => number;

  constructor(instance: () => number) {
    this.#instance = instance;
  }

  /** A new key; 3.2 has long ones (manual, "BackendKeyData"). */
  issue(protocol: number, cancel: CancelSession): CancelKey {
    const first = this.#instance() << SESSION_BITS;
    let processId = 0;
    do processId = first | randomInt(0, 1 << SESSION_BITS);
    while (this.#sessions.has(processId));
    const key = randomBytes(protocol >= PROTOCOL_3_2 ? 32 : 4);
    this.#sessions.set(processId, { digest: this.#digest(key), cancel });
    return { processId, key };
  }

  revoke(processId: number): void {
    this.#sessions.delete(processId);
  }

  /** Whether this process gave out that id, whatever the key. */
  has(processId: number): boolean {
    return this.#sessions.has(processId);
  }

  /** What the key opens, or null. It takes as long for any key, of any length, and for an id that nobody has. */
  find(processId: number, key: Buffer): CancelSession | null {
    const session = this.#sessions.get(processId);
    const right = timingSafeEqual(this.#digest(key), session?.digest ?? this.#decoy);
    return right && session !== undefined ? session.cancel : null;
  }

  #digest(key: Buffer): Buffer {
    return createHmac('sha256', this.#secret).update(key).digest();
  }
}
