/** The end of what the client sends, where it did not say Terminate. */

/** Takes a message type's place in the order of what was sent; no byte has this value. */
export const INPUT_END = -1;

export type InputEnd =
  /** It shut down its side, and may still read. */
  | { readonly kind: 'eof' }
  /**
   * It sent a type that is none, or a length that no message can have: what follows cannot be read. `code`: SQLSTATE
   * of what it is told; null: nothing, as Postgres says nothing.
   */
  | { readonly kind: 'broken'; readonly code: string | null; readonly message: string };
