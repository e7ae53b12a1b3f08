/** Where the refused statement stands: what is sent before and behind it, and when the client waits. */
import { B, c, d, E, H, P, Q, run, S } from './messages.ts';

/** Frames sent at once, and what the client waits for: so many ReadyForQuery, any end of a statement, or nothing. */
export type Step = { readonly send: readonly Buffer[]; readonly wait: number | 'answer' | 'nothing' };

export type Slot = {
  readonly frames: readonly Buffer[];
  readonly simple: boolean;
  /** A harmless table. */
  readonly box: string;
};

export type Position = {
  readonly name: string;
  /** For every way; the others for a few ways, but with COUNTERSIGN_MATRIX=full. */
  readonly everyWay?: true;
  /** Nobody is asked there: the server would not run it in any case. */
  readonly unasked?: boolean;
  readonly steps: (slot: Slot) => readonly Step[];
};

/** The slot as a group of its own. */
const whole = ({ frames, simple }: Slot) => (simple ? frames : [...frames, S]);
const ask = (...send: Buffer[]): Step => ({ send, wait: 1 });
const alone = (slot: Slot): Step => ({ send: whole(slot), wait: 1 });
const at = (...send: readonly Buffer[]): Step => ({ send, wait: 'nothing' });
const insert = (box: string, n: number) => `INSERT INTO ${box} VALUES (${n})`;

const PLACES = [
  ['first', 0],
  ['in the middle', 25],
  ['last', 49],
] as const;
const SEPARATORS = [
  ['one Sync at the end', [] as readonly Buffer[]],
  ['a Sync each', [S]],
  ['a Flush each', [H]],
] as const;
const PIPELINES: readonly Position[] = PLACES.flatMap(([place, index]) =>
  SEPARATORS.map(([separator, between]) => ({
    name: `${place} of fifty in a pipeline, ${separator}`,
    steps: (slot: Slot) => [
      at(
        ...Array.from({ length: 50 }, (_, i) => [
          ...(i === index ? slot.frames : run(insert(slot.box, i))),
          ...between,
        ]).flat(),
        S,
      ),
    ],
  })),
);

const READ = 'SELECT id FROM tiny ORDER BY id LIMIT 6';
const openPortal = [P(READ, 'r'), B('r', 'rows'), E('rows', 2)];

const IN_TRANSACTION: readonly Position[] = [
  {
    name: 'in a transaction, step by step',
    steps: (slot) => [
      ask(Q('BEGIN')),
      ask(Q(insert(slot.box, 1))),
      alone(slot),
      ask(Q(insert(slot.box, 2))),
      ask(Q('COMMIT')),
    ],
  },
  {
    name: 'in a transaction, sent at once',
    everyWay: true,
    steps: (slot) => [
      at(
        Q('BEGIN'),
        ...run(insert(slot.box, 1)),
        S,
        ...whole(slot),
        ...run(insert(slot.box, 2)),
        S,
        Q('COMMIT'),
      ),
    ],
  },
  {
    name: 'in a transaction that the same group begins and ends',
    steps: (slot) => [
      at(
        ...run('BEGIN'),
        ...run(insert(slot.box, 1)),
        ...slot.frames,
        ...run('COMMIT'),
        ...run(insert(slot.box, 2)),
        S,
      ),
    ],
  },
  {
    name: 'behind a COMMIT in the same group',
    steps: (slot) => [at(...run('BEGIN'), ...run(insert(slot.box, 1)), ...run('COMMIT'), ...slot.frames, S)],
  },
  {
    name: 'behind a savepoint',
    everyWay: true,
    steps: (slot) => [
      ask(Q('BEGIN')),
      ask(Q(insert(slot.box, 1))),
      ask(Q('SAVEPOINT s')),
      ask(Q(insert(slot.box, 2))),
      alone(slot),
      ask(Q('ROLLBACK TO s')),
      ask(Q(insert(slot.box, 3))),
      ask(Q('COMMIT')),
    ],
  },
  {
    name: 'in a failed transaction',
    unasked: true,
    steps: (slot) => [
      ask(Q('BEGIN')),
      ask(Q('SELECT * FROM no_such_table')),
      alone(slot),
      ask(Q('COMMIT')),
      ask(Q(insert(slot.box, 1))),
    ],
  },
  {
    name: 'in a transaction that fails in the same pipeline',
    unasked: true,
    steps: (slot) => [at(Q('BEGIN'), Q('SELECT * FROM no_such_table'), ...whole(slot), Q('COMMIT'))],
  },
  {
    name: 'in the skip behind an error',
    unasked: true,
    steps: (slot) => [
      at(...run(insert(slot.box, 1)), ...run('SELECT * FROM no_such_table'), ...slot.frames, S),
    ],
  },
];

const PORTALS: readonly Position[] = [
  {
    name: 'before a Flush, the client waiting for the answer',
    steps: (slot) => [
      { send: [...run(insert(slot.box, 1)), ...slot.frames, H], wait: 'answer' },
      at(...run(insert(slot.box, 2)), S),
    ],
  },
  {
    name: 'beside a suspended portal, in one group',
    steps: (slot) => [at(...openPortal, ...slot.frames, E('rows', 2), S)],
  },
  {
    name: 'beside a suspended portal, in a transaction',
    steps: (slot) => [
      ask(Q('BEGIN')),
      ask(...openPortal, S),
      alone(slot),
      ask(E('rows', 2), S),
      ask(E('rows'), S),
      ask(Q('COMMIT')),
      ask(E('rows'), S),
    ],
  },
  {
    name: 'beside a suspended portal from before a savepoint',
    steps: (slot) => [
      ask(Q('BEGIN')),
      ask(...openPortal, S),
      ask(Q('SAVEPOINT s')),
      alone(slot),
      ask(Q('ROLLBACK TO s')),
      ask(E('rows', 2), S),
      ask(E('rows'), S),
      ask(Q('COMMIT')),
    ],
  },
  {
    name: 'beside a cursor of SQL',
    steps: (slot) => [
      ask(Q('BEGIN')),
      ask(Q(`DECLARE cur CURSOR FOR ${READ}`)),
      ask(Q('FETCH 2 FROM cur')),
      ask(Q('SAVEPOINT s')),
      alone(slot),
      ask(Q('ROLLBACK TO s')),
      ask(E('cur', 1), S),
      ask(Q('FETCH 1 FROM cur')),
      ask(Q('COMMIT')),
    ],
  },
  {
    name: 'between a Parse without a name and its Bind, in groups of their own',
    steps: (slot) => [ask(P(READ), S), alone(slot), at(B(), S), ask(P(READ), B('', 'r'), E('r'), S)],
  },
  {
    name: 'between a Parse and the Bind of another statement',
    steps: (slot) => [at(P(insert(slot.box, 1), 'w'), ...slot.frames, B('w'), E(), S), at(B('w'), E(), S)],
  },
];

const COPIES: readonly Position[] = [
  {
    name: 'before COPY FROM',
    steps: (slot) => [at(...whole(slot), Q(`COPY ${slot.box} FROM STDIN`), d('1\n'), c)],
  },
  {
    name: 'behind COPY FROM',
    steps: (slot) => [at(Q(`COPY ${slot.box} FROM STDIN`), d('1\n'), c, ...whole(slot))],
  },
  {
    name: 'in one group with COPY FROM before it',
    steps: (slot) => [at(P(`COPY ${slot.box} FROM STDIN`), B(), E(), d('1\n'), c, ...slot.frames, S)],
  },
  {
    name: 'in one group with COPY FROM behind it, with an early Sync',
    steps: (slot) => [at(...slot.frames, P(`COPY ${slot.box} FROM STDIN`), B(), E(), S, d('1\n'), c, S)],
  },
  {
    name: 'behind COPY FROM that fails',
    steps: (slot) => [at(Q(`COPY ${slot.box} FROM STDIN`), d('rubbish\n'), c, ...whole(slot))],
  },
  {
    name: 'around COPY TO',
    steps: (slot) => [at(Q('COPY tiny TO STDOUT'), ...whole(slot), Q('COPY tiny TO STDOUT'))],
  },
  {
    name: 'in one group with COPY TO',
    steps: (slot) => [at(...run('COPY tiny TO STDOUT'), ...slot.frames, ...run('COPY tiny TO STDOUT'), S)],
  },
];

export const POSITIONS: readonly Position[] = [
  { name: 'alone', everyWay: true, steps: (slot) => [alone(slot)] },
  { name: 'twice', steps: (slot) => [alone(slot), alone(slot)] },
  {
    name: 'in an implicit transaction of extended messages',
    everyWay: true,
    steps: (slot) => [at(...run(insert(slot.box, 1)), ...slot.frames, ...run(insert(slot.box, 2)), S)],
  },
  ...IN_TRANSACTION,
  ...PORTALS,
  ...COPIES,
  ...PIPELINES,
];

/** Simple Query with several statements: refused, nothing of it runs, as with a syntax error anywhere in it. */
export const STRINGS: readonly ((statement: string, box: string) => string)[] = [
  (x, box) => `${insert(box, 1)}; ${x}; ${insert(box, 2)}`,
  (x, box) => `${x}; ${insert(box, 1)}`,
  (x, box) => `${insert(box, 1)}; ${x}`,
  (x, box) => `BEGIN; ${insert(box, 1)}; ${x}; COMMIT`,
  (x, box) => `BEGIN; ${insert(box, 1)}; ${x}`,
  (x, box) => `${insert(box, 1)}; COMMIT; ${x}; ${insert(box, 2)}`,
  (x, box) => `COPY ${box} FROM STDIN; ${x}`,
  (x, box) => `${x}; COPY ${box} FROM STDIN`,
  (x) => `COPY tiny TO STDOUT; ${x}; SELECT 1`,
];
