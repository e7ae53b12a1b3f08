/**
 * The ways to send the statement that is refused. Each in two kinds: `held` is the statement itself, `failing` one that
 * Postgres itself refuses at the same message (division by zero while planning, an unknown column).
 */
import {
  B,
  c,
  closePortal,
  closeStatement,
  d,
  describePortal,
  describeStatement,
  E,
  P,
  Q,
  S,
} from './messages.ts';

export type Kind = 'held' | 'failing';

export type Way = {
  readonly name: string;
  /** Tried in every position; the others in a few, but with COUNTERSIGN_MATRIX=full. */
  readonly everywhere?: true;
  /** A Query, which ends its group; else extended messages, which need a Sync. */
  readonly simple: boolean;
  /** Before, in groups of their own. */
  readonly setup?: (kind: Kind, table: string) => readonly Buffer[];
  readonly frames: (kind: Kind, table: string) => readonly Buffer[];
  /** Looks afterwards at what it left behind, in groups of their own. */
  readonly after?: readonly Buffer[];
};

const remove = (kind: Kind, table: string) =>
  kind === 'held' ? `DELETE FROM ${table}` : `DELETE FROM ${table} WHERE 1/0 = 1`;
const removeReturning = (kind: Kind, table: string) => `${remove(kind, table)} RETURNING id`;

export const WAYS: readonly Way[] = [
  { name: 'Query', everywhere: true, simple: true, frames: (kind, table) => [Q(remove(kind, table))] },
  {
    name: 'Parse, Bind, Execute without names',
    everywhere: true,
    simple: false,
    frames: (kind, table) => [P(remove(kind, table)), B(), E()],
    after: [B(), S],
  },
  {
    name: 'Parse, Describe, Bind, Describe, Execute, Close with names',
    simple: false,
    frames: (kind, table) => [
      P(removeReturning(kind, table), 'x'),
      describeStatement('x'),
      B('x', 'p'),
      describePortal('p'),
      E('p'),
      closePortal('p'),
      closeStatement('x'),
    ],
    // Refused or not, whether x is there now is as in Postgres.
    after: [describeStatement('x'), S],
  },
  {
    name: 'RETURNING, in steps',
    simple: false,
    frames: (kind, table) => [P(removeReturning(kind, table)), B('', 'p'), E('p', 1), E('p')],
  },
  {
    name: 'a statement of an earlier group',
    everywhere: true,
    simple: false,
    setup: (kind, table) => [P(removeReturning(kind, table), 'x'), describeStatement('x'), S],
    frames: () => [B('x'), describePortal(), E()],
    after: [describeStatement('x'), S],
  },
  {
    name: 'a Query with EXECUTE',
    simple: true,
    setup: (kind, table) => [P(remove(kind, table), 'x'), S],
    frames: () => [Q('EXECUTE x')],
    after: [Q('DEALLOCATE x')],
  },
  {
    name: 'EXECUTE in Parse, Bind, Execute',
    simple: false,
    setup: (kind, table) => [P(remove(kind, table), 'x'), S],
    // Postgres looks the name up, and plans, at Execute only; a statement that fails at Bind stands for the refusal.
    frames: (kind, table) => [P(kind === 'held' ? 'EXECUTE x' : remove(kind, table)), B(), E()],
    after: [Q('DEALLOCATE x')],
  },
  {
    name: 'a Query with PREPARE',
    simple: true,
    frames: (kind, table) => [
      Q(`PREPARE y AS DELETE FROM ${table}${kind === 'held' ? '' : ' WHERE no_such_column = 1'}`),
    ],
    after: [Q('DEALLOCATE y')],
  },
  {
    name: 'a Query with DECLARE',
    simple: true,
    frames: (kind, table) => [
      Q(`DECLARE k CURSOR WITH HOLD FOR SELECT id FROM ${table}${kind === 'held' ? '' : ' WHERE 1/0 = 1'}`),
    ],
    after: [Q('CLOSE k')],
  },
  {
    name: 'a Query with COPY TO',
    simple: true,
    frames: (kind, table) => [Q(kind === 'held' ? `COPY ${table} TO STDOUT` : `COPY (SELECT 1/0) TO STDOUT`)],
  },
  {
    name: 'a Query with COPY FROM, its data behind it',
    simple: true,
    frames: (kind, table) => [
      Q(`COPY ${table} ${kind === 'held' ? '' : '(no_such_column) '}FROM STDIN`),
      d('7\n'),
      c,
    ],
  },
  {
    name: 'COPY FROM in Parse, Bind, Execute, its data behind it',
    simple: false,
    frames: (kind, table) => [
      P(kind === 'held' ? `COPY ${table} FROM STDIN` : remove(kind, table)),
      B(),
      E(),
      d('7\n'),
      c,
    ],
  },
];
