/** The checks that a verifier makes; SQL's `verify` uses the same names. */
export type Check =
  | 'row_hash'
  | 'content'
  | 'link'
  | 'gap'
  | 'head'
  | 'batch'
  | 'batch_signature'
  | 'endorsement'
  | 'receipt'
  | 'retention'
  | 'redaction'
  | 'passkey'
  | 'key'
  | 'request'
  | 'tree'
  | 'checkpoint';

/** What a check found at a row, or (without one) of the whole. `ok` is null where it could not be made. */
export type Finding = {
  readonly stream: string | null;
  readonly seq: bigint | null;
  readonly check: Check;
  readonly ok: boolean | null;
  readonly detail: string;
};
