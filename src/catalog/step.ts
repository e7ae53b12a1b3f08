/** The steps of the closure (`closure.ts`): one access to one object, or an effect. */
export type Access = 'read' | 'scan' | 'analyze' | 'insert' | 'update' | 'delete' | 'casts';
export type TypeAccess = 'compare' | 'input' | 'assign' | 'cast' | 'casts-from';

export type Step =
  | { readonly kind: 'relation'; readonly oid: number; readonly access: Access }
  | { readonly kind: 'type'; readonly oid: number; readonly access: TypeAccess; readonly via: string }
  | { readonly kind: 'operator' | 'class'; readonly oid: number; readonly via: string }
  /** `deed` false: what the function itself is known to do is said elsewhere. */
  | { readonly kind: 'function'; readonly oid: number; readonly via: string; readonly deed?: false }
  /** A function that may run at the end of the transaction, under the search_path of then. */
  | { readonly kind: 'later'; readonly oid: number; readonly via: string }
  /** The user objects that `owner` (a row of `catalog`) uses by pg_depend, and the built-ins its tree calls. */
  | {
      readonly kind: 'expression';
      readonly catalog: string;
      readonly oid: number;
      readonly tree: string;
      readonly via: string;
    }
  /** Nothing further: this is an effect. `folds`: nothing but that many rows come out in one value. */
  | { readonly kind: 'effect'; readonly text: string; readonly folds?: true };
