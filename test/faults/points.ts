/**
 * The moments in a statement's way at which the process is killed. Those inside it are found by
 * `served-with-faults.ts`, which stands in for the program; those between it and its databases by what is said on the
 * wire. The product itself knows of none of them.
 */
import type { Sees } from '../support/fault-proxy.ts';

/** In the order in which a statement passes them. */
export const INSIDE = [
  'received',
  'analysed',
  'intent in memory',
  'intent written',
  'intent synced',
  'before forward',
  'after forward',
  'first reply byte',
  'before reply',
  'after reply',
  'outcome in memory',
  'outcome written',
  'outcome synced',
] as const;
export type InsidePoint = (typeof INSIDE)[number];

export const BETWEEN = [
  'forwarded, not arrived',
  'answered, not heard',
  'request opened, before commit',
  'request opened, after commit',
  'verdict recorded, before commit',
  'receipt signed, not stored',
  'verdict recorded, after commit',
  'consumed, before commit',
  'consumed, after commit',
  'end told, before commit',
  'end told, after commit',
  'shipped, before commit',
  'shipped, after commit',
  'checkpoint signed, before commit',
  'checkpoint signed, not published',
] as const;
export type BetweenPoint = (typeof BETWEEN)[number];
export type Point = InsidePoint | BetweenPoint;

/** Whether a point is in the way of every statement, or only of those that people are asked about. */
export type Reach = 'all' | 'held';

export type Between = {
  readonly on: 'upstream' | 'audit';
  /** `before`: what was said does not arrive; `after`: it does, and its answer is not heard. */
  readonly when: 'before' | 'after';
  readonly reach: Reach;
  /** A new one for each time: they remember. */
  readonly sees: (marker: string) => Sees;
};

const opens = commitAfter('INSERT INTO countersign.request AS r');
const answers = commitAfter('INSERT INTO countersign.verdict');
const consumes = commitAfter("SET state = 'consumed'");
const ends = commitAfter('SET state = $3, ended_at');

export const SEEN: Record<BetweenPoint, Between> = {
  'forwarded, not arrived': { on: 'upstream', when: 'before', reach: 'all', sees: forwards },
  'answered, not heard': { on: 'upstream', when: 'after', reach: 'all', sees: forwards },
  'request opened, before commit': { on: 'audit', when: 'before', reach: 'held', sees: opens },
  'request opened, after commit': { on: 'audit', when: 'after', reach: 'held', sees: opens },
  'verdict recorded, before commit': { on: 'audit', when: 'before', reach: 'held', sees: answers },
  'receipt signed, not stored': {
    on: 'audit',
    when: 'before',
    reach: 'held',
    sees: () => (said) => said.includes("SET state = 'approved', receipt"),
  },
  'verdict recorded, after commit': { on: 'audit', when: 'after', reach: 'held', sees: answers },
  'consumed, before commit': { on: 'audit', when: 'before', reach: 'held', sees: consumes },
  'consumed, after commit': { on: 'audit', when: 'after', reach: 'held', sees: consumes },
  'end told, before commit': { on: 'audit', when: 'before', reach: 'held', sees: ends },
  'end told, after commit': { on: 'audit', when: 'after', reach: 'held', sees: ends },
  'shipped, before commit': { on: 'audit', when: 'before', reach: 'all', sees: ships },
  'shipped, after commit': { on: 'audit', when: 'after', reach: 'all', sees: ships },
  'checkpoint signed, before commit': { on: 'audit', when: 'before', reach: 'all', sees: checkpoints },
  'checkpoint signed, not published': { on: 'audit', when: 'after', reach: 'all', sees: checkpoints },
};

export function isInside(point: Point): point is InsidePoint {
  return (INSIDE as readonly string[]).includes(point);
}

export function reachOf(point: Point): Reach {
  return isInside(point) ? 'all' : SEEN[point].reach;
}

/** The agent's own session: side connections ask about the statement, too. */
function forwards(marker: string): Sees {
  return (said, _connection, opening) => opening.includes(AGENT_APPLICATION) && said.includes(marker);
}
/** What the test's client calls itself. */
export const AGENT_APPLICATION = 'doomed-agent';

/** The COMMIT on the connection that has said these words last. */
function commitAfter(words: string): () => Sees {
  return () => {
    let on = 0;
    return (said, connection) => {
      if (said.includes(words)) on = connection;
      return connection === on && said.includes('COMMIT');
    };
  };
}

function ships(marker: string): Sees {
  return (said, _connection, opening) => opening.includes('countersign audit') && said.includes(marker);
}

/** The first checkpoint that can have the statement in it. */
function checkpoints(marker: string): Sees {
  const shipped = ships(marker);
  let there = false;
  let on = 0;
  return (said, connection, opening) => {
    there ||= shipped(said, connection, opening);
    if (there && said.includes('add_checkpoint')) on = connection;
    return connection === on && said.includes('COMMIT');
  };
}
