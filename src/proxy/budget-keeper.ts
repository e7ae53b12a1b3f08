/** Keeps every agent's slices of its budgets: asks for them, tells what was taken, gives back what is not needed. */
import type { ContextFinding } from '../approval/port.ts';
import type { Account, Slice, SliceRequest } from '../budget/account.ts';
import { AgentBudgets } from '../budget/agent-budgets.ts';
import { type BudgetWindow, budgetsOf, type Need } from '../budget/budget.ts';
import type { Config } from '../config/config.ts';
import type { StatementAnalysis } from '../statement/analysis.ts';
import { budgetFindings, budgetsNotKnown } from './budget-findings.ts';

export type BudgetObserver = {
  /** Taken since the last time that it was said. */
  readonly taken: (budget: string, rows: number, bytes: number) => void;
  readonly leased: (result: 'granted' | 'empty' | 'failed') => void;
};

export type KeeperSetup = {
  readonly config: Pick<Config, 'budgets' | 'limits'>;
  readonly store: {
    readonly lease: (agent: string, request: SliceRequest) => Promise<Slice>;
    readonly windows: (agent: string) => Promise<readonly BudgetWindow[]>;
    readonly sweep: () => Promise<void>;
  };
  readonly log: { readonly warn: (facts: object, message: string) => void };
  readonly observe: BudgetObserver;
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
};

export type BudgetKeeper = {
  /** The same for all sessions of an agent. */
  readonly of: (agent: string) => AgentBudgets;
  /** Asks for what these statements need. Rejects when the database does not answer in time. */
  readonly more: (agent: string, statements: readonly StatementAnalysis[]) => Promise<void>;
  /** For people: what the agent has taken of the budgets that these statements count for. Never rejects. */
  readonly standing: (
    agent: string,
    statements: readonly StatementAnalysis[],
  ) => Promise<readonly ContextFinding[]>;
  /** Gives everything back. */
  readonly close: () => Promise<void>;
};

/** How often is looked for what should be told or given back, and after how many looks without use that is. */
const TICK_MS = 1_000;
const IDLE_TICKS = 5;
const SWEEP_TICKS = 3_600;
const NOTHING: Need = { rows: 0, bytes: 0 };

type Kept = {
  readonly agent: string;
  readonly account: Account;
  /** Requests of one account go one after another. */
  turn: Promise<void>;
  /** A request that has not been built yet: whoever comes before it is can join. */
  next: { needs: Need; readonly done: Promise<void> } | null;
  seen: Need;
  idleTicks: number;
  /** The database has answered since it was idle. */
  heard: boolean;
};

export function createBudgetKeeper(setup: KeeperSetup): BudgetKeeper {
  const { config, observe, log } = setup;
  const agents = new Map<string, AgentBudgets>();
  const kept = new Map<Account, Kept>();
  const most = { rows: config.limits.exportRows, bytes: config.limits.exportBytes };
  let closed = false;

  const of = (agent: string): AgentBudgets => {
    const known = agents.get(agent);
    if (known !== undefined) return known;
    const budgets = new AgentBudgets(budgetsOf(agent, config.budgets, config.limits), most);
    agents.set(agent, budgets);
    for (const account of budgets.accounts) keep(agent, account);
    return budgets;
  };
  const keep = (agent: string, account: Account): void => {
    const one: Kept = {
      agent,
      account,
      turn: Promise.resolve(),
      next: null,
      seen: NOTHING,
      idleTicks: 0,
      heard: false,
    };
    kept.set(account, one);
    account.onLow = () => {
      if (!closed) moreOf(one, NOTHING).catch(() => {});
    };
  };
  /** In its turn, the request being built only then: it says what was taken up to that moment. */
  const send = (one: Kept, build: () => SliceRequest): Promise<void> => {
    const sent = one.turn.then(async () => {
      const request = build();
      const sentAt = setup.now();
      try {
        const slice = await inTime(setup.store.lease(one.agent, request), config.limits.budgetWaitMs);
        one.account.answered(request, slice, sentAt);
        observe.taken(one.account.budget.name, request.counted.rows, request.counted.bytes);
        if (request.want !== NOTHING && (request.want.rows > 0 || request.want.bytes > 0))
          observe.leased(isSome(slice.granted) ? 'granted' : 'empty');
      } catch (error) {
        observe.leased('failed');
        log.warn(
          { err: error as Error, agent: one.agent, budget: one.account.budget.name },
          'no slice of a budget',
        );
        throw error;
      }
    });
    one.turn = sent.catch(() => {});
    return sent;
  };
  const moreOf = (one: Kept, need: Need): Promise<void> => {
    if (one.next !== null) {
      one.next.needs = { rows: one.next.needs.rows + need.rows, bytes: one.next.needs.bytes + need.bytes };
      return one.next.done;
    }
    const done = send(one, () => {
      const needs = one.next?.needs ?? need;
      one.next = null;
      return one.account.ask(needs);
    });
    one.next = { needs: need, done };
    return done;
  };
  const look = (one: Kept): void => {
    const { account } = one;
    const { rows, bytes } = account.used;
    const used = rows !== one.seen.rows || bytes !== one.seen.bytes;
    one.seen = { rows, bytes };
    one.idleTicks = used ? 0 : one.idleTicks + 1;
    const later = (build: () => SliceRequest) => send(one, build).catch(() => {});
    if (used) one.heard = false;
    if (account.idle && one.idleTicks >= IDLE_TICKS) {
      // What is given back and not heard of is gone, and reads with it: while the database is away nothing is given back.
      if (one.heard) later(() => account.giveBack());
      else if (one.idleTicks % IDLE_TICKS === 0)
        send(one, () => account.tell()).then(
          () => {
            one.heard = true;
          },
          () => {},
        );
    } else if (account.unreported) later(() => account.tell());
  };
  let ticks = 0;
  const timer = setInterval(() => {
    for (const one of kept.values()) if (one.next === null) look(one);
    ticks += 1;
    if (ticks % SWEEP_TICKS === 1)
      setup.store.sweep().catch((error: Error) => log.warn({ err: error }, 'old budgets were not swept'));
  }, TICK_MS);
  timer.unref();

  return {
    of,
    more: async (agent, statements) => {
      const demands = of(agent).demands(statements);
      await Promise.all(
        demands.map(({ account, need }) => {
          const one = kept.get(account);
          return one === undefined ? null : moreOf(one, need);
        }),
      );
    },
    standing: async (agent, statements) => {
      const budgets = of(agent)
        .demands(statements)
        .map(({ account }) => account.budget);
      if (budgets.length === 0) return [];
      try {
        return budgetFindings(budgets, await inTime(setup.store.windows(agent), config.limits.contextMs));
      } catch (error) {
        log.warn({ err: error as Error, agent }, 'what an agent took of its budgets was not found out');
        return [budgetsNotKnown()];
      }
    },
    close: async () => {
      closed = true;
      clearInterval(timer);
      await Promise.all(
        [...kept.values()].map(async (one) => {
          await one.turn;
          const { account } = one;
          if (account.unreported || account.left().rows !== 0 || account.left().bytes !== 0)
            await send(one, () => account.giveBack()).catch(() => {});
        }),
      );
    },
  };
}

function isSome({ rows, bytes }: Need): boolean {
  return rows > 0 || bytes > 0;
}

function inTime<T>(work: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
