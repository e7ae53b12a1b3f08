/** Agents that work all at once while everything around them breaks at random moments, and an approver who goes on answering. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FaultProxy } from '../support/fault-proxy.ts';
import { RawClient } from '../support/raw-client.ts';
import type { AuditServer } from './audit-server.ts';
import type { Round } from './doomed-round.ts';
import type { Doomed, Installation } from './installation.ts';
import { ALL_KINDS, KINDS, type Kind } from './kinds.ts';
import { AGENT_APPLICATION } from './points.ts';

/** Numbers from 0 up to 1, the same ones for the same seed. */
export type Random = () => number;

export type Weathered = {
  /** Every statement that was sent; each once. */
  readonly rounds: readonly Round[];
  /** How often each of the faults was. */
  readonly faults: Readonly<Record<string, number>>;
  /** The process that lives now. */
  readonly doomed: Doomed;
};

export type StormOptions = {
  readonly place: Installation;
  readonly audit: AuditServer;
  readonly random: Random;
  readonly agents: number;
  /** Whether there is to be another round, of all faults in another order; asked before each. */
  readonly goesOn: (round: number) => boolean;
};

/** Rejects where a statement is not answered and its connection stays, or a process cannot be started again. */
export async function weather(options: StormOptions): Promise<Weathered> {
  const { place, random, agents } = options;
  const storm: Storm = {
    ...{ ...options, over: false, quiet: false, rounds: [], faults: {}, taken: [] },
    doomed: await place.start(),
  };
  const answering = answer(storm);
  const working = Array.from({ length: agents }, (_, no) => work(storm, no));
  // What fails in there is told at the end.
  for (const one of working) one.catch(() => {});
  try {
    for (let round = 0; options.goesOn(round); round += 1)
      for (const fault of shuffled(FAULTS, random)) {
        await someWork(storm);
        await befall(storm, fault);
      }
    storm.over = true;
    await Promise.all(working);
  } finally {
    storm.over = true;
    storm.quiet = true;
    await answering;
  }
  const { rounds, faults, taken, doomed } = storm;
  return {
    ...{ faults, doomed },
    rounds: rounds.map((round) => ({
      ...round,
      verdictTaken: taken.some((sql) => sql.includes(round.marker)),
    })),
  };
}

/** Until agents have come to the end of some statements: on a slow machine faults would only meet other faults. */
async function someWork({ rounds, random }: Storm): Promise<void> {
  const enough = rounds.length + 1 + random() * MOST_WORK;
  for (const until = Date.now() + PATIENCE_MS; rounds.length < enough; await sleep(20))
    if (Date.now() > until) throw new Error(`no work is done: ${rounds.length} statements have ended`);
  await sleep(random() * 200);
}
/** Statements between two faults. */
const MOST_WORK = 16;
const PATIENCE_MS = 120_000;

type Storm = StormOptions & {
  doomed: Doomed;
  /** No more statements. */
  over: boolean;
  /** No more answers. */
  quiet: boolean;
  readonly rounds: Round[];
  readonly faults: Record<string, number>;
  /** Statements of requests whose approval was taken. */
  readonly taken: string[];
};

type Fault = {
  readonly name: string;
  readonly begin: (storm: Storm) => unknown;
  readonly end?: (storm: Storm) => unknown;
};

const onWay = (name: string, of: (storm: Storm) => FaultProxy): readonly Fault[] => [
  { name: `${name} cut`, begin: (storm) => of(storm).cut() },
  { name: `${name} silent`, begin: (storm) => of(storm).stall(), end: (storm) => of(storm).resume() },
  { name: `${name} away`, begin: (storm) => of(storm).away(), end: (storm) => of(storm).resume() },
];

const FAULTS: readonly Fault[] = [
  { name: 'process killed', begin: killed },
  ...onWay('database', ({ place }) => place.ways.upstream),
  ...onWay('audit database', ({ place }) => place.ways.audit),
  {
    name: 'audit server killed',
    begin: ({ audit }) => audit.kill(),
    end: ({ audit }) => audit.startAgain(),
  },
];

/** With a chance the process dies in the middle of it, too. */
async function befall(storm: Storm, fault: Fault): Promise<void> {
  const { random } = storm;
  count(storm, fault.name);
  await fault.begin(storm);
  if (fault.end === undefined) return;
  await sleep(random() * 2_000);
  const dies = random() < 0.25;
  if (dies) {
    count(storm, `process killed while the ${fault.name}`);
    storm.doomed.kill();
    await storm.doomed.ended;
  }
  await fault.end(storm);
  if (dies) storm.doomed = await storm.place.start();
}

async function killed(storm: Storm): Promise<void> {
  storm.doomed.kill();
  await storm.doomed.ended;
  storm.doomed = await storm.place.start();
}

function count({ faults }: Storm, name: string): void {
  faults[name] = (faults[name] ?? 0) + 1;
}

async function work(storm: Storm, no: number): Promise<void> {
  for (let sent = 0; !storm.over; ) {
    const url = storm.doomed.agentUrl;
    const client = await RawClient.connect(url, { application_name: AGENT_APPLICATION }).catch(() => null);
    if (client === null) {
      await sleep(200);
      continue;
    }
    while (!storm.over && !client.closed) {
      const kind = ALL_KINDS[Math.floor(storm.random() * ALL_KINDS.length)] ?? 'read';
      sent += 1;
      storm.rounds.push(await send(storm, client, kind, `a${no}s${sent}x`));
    }
    client.close();
  }
}

async function send(storm: Storm, client: RawClient, kind: Kind, marker: string): Promise<Round> {
  const frames = await KINDS[kind].run(client, marker).catch(async (error: Error) => {
    throw new Error(`${kind} ${marker}: ${error.message}\n${await whatIsKnown(storm, marker)}`);
  });
  const types = frames.map(([type]) => String.fromCharCode(type ?? 0));
  return {
    ...{ marker, kind, when: 'in the storm' },
    result: types.filter((type) => 'TDCG'.includes(type)).length,
    completed: types.includes('C'),
    verdictTaken: false,
  };
}

/** For whoever has to find out why it was not answered. */
async function whatIsKnown({ place, doomed, faults }: Storm, marker: string): Promise<string> {
  const like = [`%${marker}%`];
  const asked = {
    requests: place.requests('SELECT id, state FROM countersign.request WHERE sql LIKE $1', like),
    log: place.requests('SELECT * FROM audit.statements WHERE sql LIKE $1', like),
    upstream: place.shop(
      "SELECT pid, state, wait_event, query FROM pg_stat_activity WHERE backend_type = 'client backend'",
    ),
  };
  const known = Object.entries(asked).map(
    async ([name, rows]) => `${name}: ${JSON.stringify(await rows.catch((error: Error) => error.message))}`,
  );
  return [...(await Promise.all(known)), JSON.stringify(faults), doomed.output()].join('\n');
}

/** Approves whatever is asked, over and over. */
async function answer(storm: Storm): Promise<void> {
  const { place, taken } = storm;
  while (!storm.quiet) {
    await sleep(100);
    const open = await place
      .requests("SELECT id, sql FROM countersign.request WHERE state = 'open'")
      .catch(() => []);
    for (const { id, sql } of open) {
      const status = await fetch(`${storm.doomed.httpUrl}/api/requests/${id}/verdict`, {
        method: 'POST',
        headers: { authorization: `Bearer ${place.approverToken}`, 'content-type': 'application/json' },
        body: JSON.stringify({ verdict: 'approve', reason: 'storm' }),
        signal: AbortSignal.timeout(10_000),
      }).then(
        (answered) => answered.status,
        () => 0,
      );
      if (status === 200) taken.push(String(sql));
    }
  }
}

function shuffled<T>(all: readonly T[], random: Random): readonly T[] {
  return all
    .map((one) => ({ one, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ one }) => one);
}
