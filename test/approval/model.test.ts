import { describe, expect, it } from 'vitest';
import {
  answerRequest,
  type Standing,
  type StandingVerdict,
  standingApprovals,
} from '../../src/approval/answer.ts';
import { countPeople } from '../../src/approval/eligibility.ts';
import { transition } from '../../src/approval/machine.ts';
import type { RequestState } from '../../src/approval/port.ts';
import type { Person } from '../../src/config/config.ts';
import { deputy, owner, reviewer } from './support.ts';

/**
 * The rules of a request over a small world, every interleaving: two processes that may hold, release and crash; three
 * people, one of them the agent's owner, whose answers may be delivered again at any time, to either process; one of them
 * may leave the configuration at any time; expiry, cancel, and an approval that is taken back before it is used; a quorum
 * of two. Mutants of the rules must each be found out.
 */
type Holder = 'idle' | 'attached' | 'saw_approved' | 'running' | 'crashed';
type World = {
  readonly state: RequestState;
  readonly verdicts: readonly StandingVerdict[];
  readonly holders: readonly [Holder, Holder];
  /** How often the statement was forwarded. */
  readonly runs: number;
  readonly crashes: number;
  /** The reviewer is no longer in the configuration. */
  readonly left: boolean;
  /** Who had approved, and still may, in the moment of the release. */
  readonly releasedBy: readonly string[];
  /** The client cancelled, or somebody took the approval back, and was told that it is so. */
  readonly takenBack: boolean;
};

type Rules = {
  readonly mayAnswer: typeof answerRequest;
  /** Whether a release looks at the state in the moment of the change. */
  readonly compareAndSwap: boolean;
  /** Whether a release counts the people anew. */
  readonly countsAgain: boolean;
  /** A cancel, or somebody who takes an approval back; whoever does so is told whether it came in time. */
  readonly takeBack: (world: World) => World;
  /** What becomes of a consumed request whose process crashed. */
  readonly afterCrash: RequestState;
};

const RULES: Rules = {
  mayAnswer: answerRequest,
  compareAndSwap: true,
  countsAgain: true,
  takeBack: (world) => {
    const state = transition(world.state, 'withdrawal');
    return state === 'withdrawn' ? { ...world, state, takenBack: true } : world;
  },
  afterCrash: 'unknown',
};

const PEOPLE = [owner, reviewer, deputy];
const START: World = {
  state: 'open',
  verdicts: [],
  holders: ['idle', 'idle'],
  runs: 0,
  crashes: 0,
  left: false,
  releasedBy: [],
  takenBack: false,
};

function standing({ state, verdicts }: World): Standing {
  return {
    state,
    verdicts,
    forbidden: ['owner', 'shop-agent'],
    demand: { approvers: [], quorum: 2, assurance: 1 },
  };
}

function after(world: World, event: Parameters<typeof transition>[1]): World {
  const next = transition(world.state, event);
  return next === 'same' || next === 'refused' ? world : { ...world, state: next };
}

/** The people of the configuration now. */
function peopleOf({ left }: World): readonly Person[] {
  return left ? PEOPLE.filter(({ id }) => id !== 'reviewer') : PEOPLE;
}

/** Each answer of each person, at any time: also for the second, third and later time. */
function answers(world: World, rules: Rules): readonly World[] {
  const people = peopleOf(world);
  return people.flatMap((person) =>
    (['approve', 'deny'] as const).map((verdict) => {
      const effect = rules.mayAnswer(standing(world), { people }, person, verdict, 1, 0);
      if (effect.kind !== 'record') return world;
      const others = world.verdicts.filter((given) => given.person !== person.id);
      const verdicts = [...others, { person: person.id, verdict, assurance: 1 as const, atMs: 0 }];
      return { ...world, verdicts, state: effect.next };
    }),
  );
}

function steps(world: World, rules: Rules): readonly World[] {
  const next: World[] = [...answers(world, rules), after(world, 'expiry'), rules.takeBack(world)];
  next.push({ ...world, left: true });
  for (const i of [0, 1] as const) {
    const become = (holder: Holder, rest: World = world): World => ({
      ...rest,
      holders: i === 0 ? [holder, rest.holders[1]] : [rest.holders[0], holder],
    });
    const holder = world.holders[i];
    // A lease can run out while its holder lives on, so both may believe that they are attached.
    if (holder === 'idle') next.push(become('attached'));
    if (holder === 'attached' && world.state === 'approved') next.push(become('saw_approved'));
    if (holder === 'attached') next.push(become('idle'));
    if (holder === 'saw_approved') {
      const may = standingApprovals(standing(world), { people: peopleOf(world) }).map(({ person }) => person);
      const free = !rules.compareAndSwap || transition(world.state, 'release') === 'consumed';
      const enough = !rules.countsAgain || may.length >= 2;
      const run = { state: 'consumed', runs: world.runs + 1, releasedBy: may } as const;
      next.push(free && enough ? { ...become('running'), ...run } : become('idle'));
    }
    if (holder === 'running')
      next.push(become('idle', after(world, 'executed')), become('idle', after(world, 'failed')));
    if (holder !== 'crashed' && world.crashes < 2) {
      const lost = holder === 'running' ? { ...world, state: rules.afterCrash } : world;
      next.push(become('crashed', { ...lost, crashes: world.crashes + 1 }));
    }
    if (holder === 'crashed') next.push(become('idle'));
  }
  return next;
}

/** The first broken promise, or null. */
function broken(world: World): string | null {
  const approvers = world.verdicts.filter(({ verdict }) => verdict === 'approve');
  if (world.verdicts.some(({ person }) => person === 'owner')) return 'a party of the request answered it';
  if (world.runs > 1) return 'one approval, two releases';
  if (world.runs === 1 && countPeople(approvers, { people: PEOPLE }) < 2)
    return 'released without its quorum';
  if (world.state === 'approved' && countPeople(approvers, { people: PEOPLE }) < 2)
    return 'approved by fewer people than its quorum';
  if (world.state === 'open' && world.runs > 0) return 'open again after a release';
  if (world.state === 'open' && world.verdicts.some(({ verdict }) => verdict === 'deny'))
    return 'open again after a denial';
  if (world.runs > 0 && world.releasedBy.length < 2) return 'released by people who may not approve it now';
  if (world.runs > 0 && world.takenBack) return 'taken back, and it ran';
  return null;
}

/** Every reachable state, but for those behind a broken promise. */
function explore(rules: Rules): { readonly states: number; readonly found: readonly string[] } {
  const seen = new Set([JSON.stringify(START)]);
  const found = new Set<string>();
  const queue: World[] = [START];
  for (let at = 0; at < queue.length; at += 1) {
    const world = queue[at] ?? START;
    const promise = broken(world);
    if (promise !== null) {
      found.add(promise);
      continue;
    }
    for (const next of steps(world, rules)) {
      const key = JSON.stringify(next);
      if (seen.has(key)) continue;
      seen.add(key);
      queue.push(next);
    }
  }
  return { states: seen.size, found: [...found] };
}

describe('the small world', () => {
  it('keeps every promise in every reachable state', () => {
    const { states, found } = explore(RULES);
    expect(found).toEqual([]);
    expect(states).toBeGreaterThan(1_000);
  });

  it.each<[string, Partial<Rules>, string]>([
    [
      'self-approval',
      { mayAnswer: (at, ...rest) => answerRequest({ ...at, forbidden: [] }, ...rest) },
      'a party of the request answered it',
    ],
    [
      'a redelivered verdict counts again',
      {
        // The same click, taken for another person's.
        mayAnswer: (at, directory, person, verdict, assurance, atMs) =>
          at.state === 'open' &&
          verdict === 'approve' &&
          at.verdicts.some((given) => given.person === person.id)
            ? { kind: 'record', next: 'approved', approvals: 2 }
            : answerRequest(at, directory, person, verdict, assurance, atMs),
      },
      'approved by fewer people than its quorum',
    ],
    [
      'a quorum of one',
      { mayAnswer: (at, ...rest) => answerRequest({ ...at, demand: { ...at.demand, quorum: 1 } }, ...rest) },
      'approved by fewer people than its quorum',
    ],
    [
      'a denied request takes answers',
      {
        mayAnswer: (at, ...rest) =>
          answerRequest({ ...at, state: at.state === 'denied' ? 'open' : at.state }, ...rest),
      },
      'open again after a denial',
    ],
    [
      'a release that trusts the receipt',
      { countsAgain: false },
      'released by people who may not approve it now',
    ],
    [
      'an approval that is taken back in words only',
      {
        takeBack: (world) =>
          world.state === 'approved' ? { ...world, takenBack: true } : RULES.takeBack(world),
      },
      'taken back, and it ran',
    ],
    [
      'a released statement is taken back',
      {
        takeBack: (world) =>
          world.state === 'consumed'
            ? { ...world, state: 'withdrawn', takenBack: true }
            : RULES.takeBack(world),
      },
      'taken back, and it ran',
    ],
    ['no compare-and-swap', { compareAndSwap: false }, 'one approval, two releases'],
    ['retry after consume', { afterCrash: 'approved' }, 'one approval, two releases'],
  ])('finds out the mutant: %s', (_name, mutation, promise) => {
    expect(explore({ ...RULES, ...mutation }).found).toContain(promise);
  });
});
