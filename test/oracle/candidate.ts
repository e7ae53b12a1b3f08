/** A string to be run; `data`: what a COPY FROM STDIN in it is given. */
export type Candidate = {
  readonly sql: string;
  readonly source: string;
  readonly data?: string;
  /** Schemas for bare names while it runs. */
  readonly searchPath: readonly string[];
};
