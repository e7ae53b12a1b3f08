/** The columns of the table, in its order. */
export const FEATURES = [
  'read',
  'write',
  'prepared',
  'transaction',
  'cursor',
  'introspect',
  'copy-in',
  'copy-out',
  'cancel',
  'approved',
  'denied',
  'timed-out',
] as const;
export type Feature = (typeof FEATURES)[number];

export type Command = readonly [program: string, ...parameters: string[]];

/** Features that a driver does not have, each with the reason. */
export type Cannot = Partial<Readonly<Record<Feature, string>>>;

/** A real client: a program in its own language and where that language's driver comes from. */
export type Client = {
  /** The row's name, as the driver calls itself. */
  readonly name: string;
  /** Where the program is; it runs there. */
  readonly folder: URL;
  readonly command: Command;
  /** Succeeds where the client is installed. Runs in the same folder, with the same `env`. */
  readonly present: Command | (() => boolean);
  /** What would install it, for the one who reads that it was skipped. */
  readonly install: string;
  readonly env?: Readonly<Record<string, string>>;
  /** The program does not report these. */
  readonly cannot?: Cannot;
  /** Longest time for the whole program; default 150 s. */
  readonly timeoutMs?: number;
};

export type Cell = 'yes' | 'NO' | 'can not' | 'skipped';
export type Row = {
  readonly name: string;
  readonly cells: Readonly<Record<Feature, Cell>>;
  /** What went wrong, or what would install it. */
  readonly notes: readonly string[];
};
