import type { html } from 'hono/html';
import type { ShownPasskey } from '../../approval/guard.ts';

/** `hono/html` escapes every value put into a template; what an agent chose goes through `visible` besides. */
export type Markup = ReturnType<typeof html>;

export type Visitor = {
  readonly person: string;
  readonly formToken: string;
  /** Until when they have put off which requests, by id. */
  readonly snoozed: ReadonlyMap<string, Date>;
  /** Theirs in the configuration; none where they cannot be used. */
  readonly passkeys: readonly ShownPasskey[];
  /** The host that passkeys are bound to; null: there are none at this address. */
  readonly rpId: string | null;
};

/** How this visitor can answer a request. Only says which buttons there are: the guard decides. */
export type Ways = {
  /** With the session alone. */
  readonly approve: boolean;
  readonly approveWithPasskey: boolean;
  readonly deny: boolean;
  /** Why they cannot approve, in words; null where nothing speaks against it. */
  readonly hindrance: string | null;
  /** A passkey is what they lack. */
  readonly lacksPasskey: boolean;
};
