import type { html } from 'hono/html';

/** `hono/html` escapes every value put into a template; what an agent chose goes through `visible` besides. */
export type Markup = ReturnType<typeof html>;

export type Visitor = {
  readonly person: string;
  readonly formToken: string;
  /** Until when they have put off which requests, by id. */
  readonly snoozed: ReadonlyMap<string, Date>;
};
/** Why this visitor cannot approve, in words; null where nothing speaks against it. */
export type Hindrance = string | null;
