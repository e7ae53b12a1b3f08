/** Log-ins that were refused, for the audit log: the first of an address each, then many as one row with their count. */
import type { AuditLog } from '../audit/entry.ts';
import type { Limits } from '../config/limits.ts';
import { originOf } from './admission.ts';
import type { LoginFailure } from './client-login.ts';
import { nowMicros } from './clock.ts';

export type RefusedLoginsPorts = {
  readonly limits: Limits;
  readonly audit: Pick<AuditLog, 'append'>;
  readonly log: {
    readonly warn: (facts: object, message: string) => void;
    readonly error: (facts: object, message: string) => void;
  };
  readonly observe: { readonly loginRefused: () => void };
};

/** What one address has done in the present window. */
type Window = {
  rows: number;
  /** Refused since the last row, and not yet in one. */
  waiting: number;
  last: LoginFailure;
  address: string | null;
  readonly users: Set<string>;
  readonly codes: Set<string>;
  timer: NodeJS.Timeout;
};

/** Different names that a merged row tells. */
const NAMED = 10;
/** What addresses beyond the limit share. */
const OTHERS = 'others';

/**
 * Within `refusedLoginWindowMs` an address gets `refusedLoginRows` rows of its own, each at once; what comes after
 * becomes one row when the window ends, with its `count`. So nothing is lost, and nobody can fill the log.
 */
export class RefusedLogins {
  readonly #ports: RefusedLoginsPorts;
  readonly #windows = new Map<string, Window>();

  constructor(ports: RefusedLoginsPorts) {
    this.#ports = ports;
  }

  /** All of `failure` is attacker-controlled but its code and message. */
  add(failure: LoginFailure, address: string | null): void {
    this.#ports.observe.loginRefused();
    const origin = originOf(address);
    const { limits } = this.#ports;
    const key =
      this.#windows.has(origin) || this.#windows.size < limits.refusedLoginAddresses ? origin : OTHERS;
    const window = this.#windows.get(key) ?? this.#open(key, failure, address);
    if (window.rows < limits.refusedLoginRows) {
      window.rows += 1;
      return this.#record(failure, address, {});
    }
    window.waiting += 1;
    window.last = failure;
    window.address = address;
    window.codes.add(failure.code);
    if (window.users.size < NAMED) window.users.add(failure.user ?? '');
  }

  /** Records what still waits: the process stops. */
  close(): void {
    for (const [key, window] of [...this.#windows]) {
      clearTimeout(window.timer);
      this.#end(key, window);
    }
  }

  #open(key: string, failure: LoginFailure, address: string | null): Window {
    const timer = setTimeout(() => this.#end(key, window), this.#ports.limits.refusedLoginWindowMs);
    timer.unref();
    const window: Window = {
      rows: 0,
      waiting: 0,
      last: failure,
      address,
      users: new Set(),
      codes: new Set(),
      timer,
    };
    this.#windows.set(key, window);
    return window;
  }

  #end(key: string, window: Window): void {
    this.#windows.delete(key);
    if (window.waiting === 0) return;
    this.#record(window.last, key === OTHERS ? null : window.address, {
      count: String(window.waiting),
      users: [...window.users].join(', '),
      codes: [...window.codes].join(', '),
    });
  }

  #record(failure: LoginFailure, address: string | null, merged: Readonly<Record<string, string>>): void {
    const detail = {
      user: failure.user ?? '',
      code: failure.code,
      message: failure.message,
      address: address ?? '',
      tls: String(failure.tls),
      ...merged,
    };
    this.#ports.log.warn(detail, 'log-in refused');
    try {
      this.#ports.audit.append({
        kind: 'login_refused',
        at: BigInt(nowMicros()),
        session: null,
        requestId: null,
        people: [],
        receipt: null,
        detail,
      });
    } catch (error) {
      this.#ports.log.error({ err: error as Error }, 'a refused log-in could not be recorded');
    }
  }
}
