/**
 * Lanes on which programs run side by side: each has a role, tables and connections of its own, which stay open from
 * program to program.
 */
import { randomBytes } from 'node:crypto';
import { makePolicy } from '../../../src/config/policy.ts';
import { makeScramVerifier } from '../../../src/config/scram-verifier.ts';
import { superuser, withClient } from '../../support/postgres.ts';
import { RawClient } from '../../support/raw-client.ts';
import { type Stack, startStack } from '../../support/stack.ts';
import type { Program } from './generator.ts';
import { copyFail, type Message, query, sync, terminate } from './message.ts';

export type Side = 'direct' | 'proxied';

/** What was sent, the ready-making messages included, and the frames that came back. */
export type Played = {
  readonly sent: readonly Message[];
  readonly frames: readonly Buffer[];
  readonly closed: boolean;
  /** A person was asked, so there is no end to compare. */
  readonly held: boolean;
  /** Why there was no end, or null. */
  readonly hangs: string | null;
};

export type Lanes = {
  readonly stack: Stack;
  readonly all: readonly Lane[];
  /** Ends what still waits for approval: later programs of the agent would see it in its list. */
  readonly forgetHeld: () => Promise<void>;
  readonly close: () => Promise<void>;
};

const PASSWORD = 'lane-secret';
/** Far more than a loaded machine needs; a program that takes longer hangs. */
const HANGS_MS = 20_000;

export async function openLanes(mode: 'observe' | 'enforce', count: number): Promise<Lanes> {
  const tag = randomBytes(4).toString('hex');
  const roles = Array.from({ length: count }, (_, i) => `lane_${tag}_${i}`);
  await withClient(superuser(), async (client) => {
    for (const role of roles) await client.query(`CREATE ROLE ${role} LOGIN PASSWORD '${PASSWORD}'`);
  });
  const verifier = makeScramVerifier(PASSWORD, randomBytes(16));
  const stack = await startStack({
    sample: 'SELECT 1',
    config: (config) => ({
      ...config,
      mode,
      policy: makePolicy([
        { name: 'forbidden', match: { relation: ['*.forbidden'] }, decision: 'deny' },
        { name: 'exports', match: { class: ['export', 'bulk_write'] }, decision: 'allow' },
      ]),
      agents: [
        ...config.agents,
        ...roles.map((role) => ({
          name: role,
          auth: { kind: 'scram' as const, verifier },
          owner: 'owner',
          upstream: { user: role, password: PASSWORD },
        })),
      ],
    }),
  });
  // The first name in the default search_path is the role's own schema.
  for (const role of roles) await stack.shop.query(laneSchema(role));
  const urlOf = (url: string, role: string) => {
    const lane = new URL(url);
    lane.username = role;
    lane.password = PASSWORD;
    return lane.href;
  };
  const all = roles.map((role) => new Lane(urlOf(stack.directUrl, role), urlOf(stack.agentUrl, role)));
  await Promise.all(all.map((lane) => lane.warmUp()));
  return {
    stack,
    all,
    forgetHeld: () =>
      stack.audit
        .query(
          "UPDATE countersign.request SET state = 'withdrawn', ended_at = clock_timestamp() WHERE state = 'open'",
        )
        .then(() => {}),
    close: async () => {
      for (const lane of all) lane.close();
      await stack.close();
      await withClient(superuser(), async (client) => {
        for (const role of roles) await client.query(`DROP ROLE ${role}`);
      });
    },
  };
}

function laneSchema(role: string): string {
  return `
    CREATE SCHEMA ${role} AUTHORIZATION ${role};
    SET ROLE ${role};
    SET search_path = ${role};
    CREATE TABLE tiny (id int);
    INSERT INTO tiny VALUES (1), (2), (3);
    CREATE TABLE box (id int);
    CREATE TABLE parent (id int PRIMARY KEY);
    CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE forbidden (id int);
    CREATE TABLE guarded (id int);
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF 1/0 = 1 THEN RETURN NULL; END IF; RETURN NULL; END';
    CREATE TRIGGER refuse BEFORE INSERT ON guarded FOR EACH STATEMENT EXECUTE FUNCTION refuse();
    CREATE FUNCTION noisy() RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE $$planned$$; RETURN 1; END';
    CREATE PROCEDURE nothing() LANGUAGE sql AS '';
    RESET ROLE`;
}

const READY = 0x5a;
const HELD = 'countersign: held';
const CLEAN = 'DELETE FROM box; DELETE FROM child';

export class Lane {
  readonly #urls: Readonly<Record<Side, string>>;
  readonly #open: Partial<Record<Side, RawClient>> = {};
  #played = 0;

  constructor(directUrl: string, agentUrl: string) {
    this.#urls = { direct: directUrl, proxied: agentUrl };
  }

  /** Both connections are there, and the proxy knows the tables. */
  async warmUp(): Promise<void> {
    const client = await this.#client('proxied');
    client.send(query('SELECT id FROM tiny LIMIT 1').proxied);
    await client.ready();
    await this.#client('direct');
  }

  /**
   * Plays a program from clean tables. `waits`: for each message, after how many frames the client goes on; through
   * the proxy these are known from what the server itself answered.
   */
  async play(side: Side, program: Program, waits: readonly (number | undefined)[] | null): Promise<Played> {
    const client = await this.#client(side);
    const end = `end ${++this.#played}`;
    const sent = [...program.messages, ...ending(program, end)];
    const frames: Buffer[] = [];
    let hangs: string | null = null;
    let held = false;
    const until = async (enough: (frames: readonly Buffer[]) => boolean) => {
      if (held) return;
      const isOver = (more: readonly Buffer[]) => {
        held ||= more.at(-1)?.includes(HELD) === true;
        return held || enough(more);
      };
      frames.push(...(await client.until(isOver, HANGS_MS)));
    };
    try {
      const batch: Buffer[] = [];
      for (const [i, message] of sent.entries()) {
        batch.push(message[side]);
        const due = waits?.[i];
        if (!message.wait || due === undefined) continue;
        client.send(...batch.splice(0));
        await until((more) => frames.length + more.length >= due);
      }
      client.send(...batch);
      await until((more) => more.at(-1)?.[0] === READY && more.at(-3)?.includes(end) === true);
    } catch (error) {
      hangs = (error as Error).message;
      await until(() => true);
    }
    const closed = client.closed;
    if (closed || held || hangs !== null) this.#drop(side);
    return { sent, frames, closed, held, hangs };
  }

  /** Empties the tables for the next play. */
  async clean(): Promise<void> {
    const client = await this.#client('direct');
    client.send(query(CLEAN).direct);
    await client.ready(1, HANGS_MS);
  }

  close(): void {
    this.#drop('direct');
    this.#drop('proxied');
  }

  async #client(side: Side): Promise<RawClient> {
    const open = this.#open[side] ?? (await RawClient.connect(this.#urls[side]));
    this.#open[side] = open;
    return open;
  }

  #drop(side: Side): void {
    this.#open[side]?.close();
    delete this.#open[side];
  }
}

/** Makes the connection as good as new, and shows what the program has left in the tables. */
function ending(program: Program, end: string): readonly Message[] {
  if (program.ending === 'terminate') return [sync(), terminate()];
  return [
    ...(program.ending === 'kind' ? [copyFail()] : []),
    sync(),
    query('ROLLBACK'),
    query('SELECT (SELECT count(*) FROM tiny), (SELECT sum(id) FROM box), (SELECT count(*) FROM child)'),
    query('DISCARD ALL'),
    query(`SELECT '${end}'`),
  ];
}
