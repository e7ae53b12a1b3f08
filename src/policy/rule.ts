/** Policy as data: what the `policy` part of the configuration becomes. */
export type Policy = { readonly digest: string; readonly rules: readonly PolicyRule[] };

/**
 * The first rule whose every condition holds decides; after the last, the default table of classes. Each statement of
 * a string is decided by itself, and the string gets the severest decision.
 */
export type PolicyRule = {
  readonly name: string;
  readonly match: {
    readonly agent?: readonly string[];
    readonly owner?: readonly string[];
    readonly database?: readonly string[];
    readonly role?: readonly string[];
    readonly class?: readonly string[];
    /**
     * Globs over `schema.name` (`*`, `?`). To hold or deny, one relation of the statement that matches is enough; to
     * allow, all must match.
     */
    readonly relation?: readonly string[];
  };
  readonly decision: 'allow' | 'hold' | 'deny';
  readonly approvers?: readonly string[];
  readonly quorum?: number;
  readonly assurance?: 1 | 2 | 3;
};
