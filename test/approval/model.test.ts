import { describe, expect, it } from 'vitest';
import { answerRequest, type Standing, type StandingVerdict } from '../../src/approval/answer.ts';
import { countPeople } from '../../src/approval/eligibility.ts';
import { transition } from '../../src/approval/machine.ts';
import type { RequestState } from '../../src/approval/port.ts';
import { deputy, owner, reviewer } from './support.ts';

/**
 * The rules of a request over a small world, every interleaving: two processes that may hold, release and crash; three
 * people, one of them the agent's owner, whose answers may be delivered twice; expiry, cancel, a quorum of two. Mutants
 * of the rules must each be found out.
 */
type Holder = 'idle' | 'attached' | 'saw_approved' | 'running' | 'crashed';
type World = {
  readonly state: RequestState;
  readonly verdicts: readonly StandingVerdict[];
  readonly holders: readonly [Holder, Holder];
  /** How often the statement was forwarded. */
  readonly runs: number;
  readonly crashes: number;
};

type Rules = {
  readonly mayAnswer: typeof answerRequest;
  /** Whether a release looks at the state in the moment of the change. */
  readonly compareAndSwap: boolean;
  /** What becomes of a consumed request whose process crashed. */
  readonly afterCrash: RequestState;
};

const RULES: Rules = {
  mayAnswer: answerRequest,
  compareAndSwap: true,
  afterCrash: 'unknown',
};

const PEOPLE = [owner, reviewer, deputy];
const START: World = { state: 'open', verdicts: [], holders: ['idle', 'idle'], runs: 0, crashes: 0 };

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

function answers(world: World, rules: Rules): readonly World[] {
  return PEOPLE.flatMap((person) =>
    (['approve', 'deny'] as const).map((verdict) => {
      const effect = rules.mayAnswer(standing(world), { people: PEOPLE }, person, verdict, 1, 0);
      if (effect.kind !== 'record') return world;
      const others = world.verdicts.filter((given) => given.person !== person.id);
      const verdicts = [...others, { person: person.id, verdict, assurance: 1 as const, atMs: 0 }];
      return { ...world, verdicts, state: effect.next };
    }),
  );
}

function steps(world: World, rules: Rules): readonly World[] {
  const next: World[] = [...answers(world, rules), after(world, 'expiry'), after(world, 'withdrawal')];
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
      const free = !rules.compareAndSwap || transition(world.state, 'release') === 'consumed';
      next.push(free ? { ...become('running'), state: 'consumed', runs: world.runs + 1 } : become('idle'));
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
  return null;
}

function explore(rules: Rules): { readonly states: number; readonly found: string | null } {
  const seen = new Set([JSON.stringify(START)]);
  const queue: World[] = [START];
  for (let world = queue.shift(); world !== undefined; world = queue.shift()) {
    const found = broken(world);
    if (found !== null) return { states: seen.size, found };
    for (const next of steps(world, rules)) {
      const key = JSON.stringify(next);
      if (!seen.has(key)) {
        seen.add(key);
        queue.push(next);
      }
    }
  }
  return { states: seen.size, found: null };
}

describe('the small world', () => {
  it('keeps every promise in every reachable state', () => {
    const { states, found } = explore(RULES);
    expect(found).toBeNull();
    expect(states).toBeGreaterThan(500);
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
    ['no compare-and-swap', { compareAndSwap: false }, 'one approval, two releases'],
    ['retry after consume', { afterCrash: 'approved' }, 'one approval, two releases'],
  ])('finds out the mutant: %s', (_name, mutation, promise) => {
    expect(explore({ ...RULES, ...mutation }).found).toBe(promise);
  });
});
