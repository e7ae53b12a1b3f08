/** What node-sql-parser is known to read otherwise than Postgres: general rules, each reviewed, each with an example. */

export type Misreading = {
  readonly name: string;
  readonly reason: string;
  /** A text that it reads otherwise, and that only this rule excuses. */
  readonly example: string;
  /** True where its reading of the text says nothing. */
  readonly applies: (sql: Buffer) => boolean;
};

export const MISREADINGS: readonly Misreading[] = [
  {
    name: 'backslash',
    reason: 'it takes a backslash in a plain string for an escape; Postgres does not',
    example: "SELECT 'a\\'; DELETE FROM payments; --'",
    applies: (sql) => sql.includes(0x5c),
  },
];

export function isMisread(sql: Buffer): boolean {
  return MISREADINGS.some(({ applies }) => applies(sql));
}
