/** One kill: a statement is sent, people answer what they are asked, and the process dies on the way. */
import { RawClient } from '../support/raw-client.ts';
import type { Doomed, Installation } from './installation.ts';
import { KINDS, type Kind } from './kinds.ts';
import { AGENT_APPLICATION, isInside, type Point, SEEN } from './points.ts';

export type Round = {
  readonly marker: string;
  readonly kind: Kind;
  /** What befell it. */
  readonly when: string;
  /** Frames of the result that the client has had. */
  readonly result: number;
  /** A CommandComplete came. */
  readonly completed: boolean;
  /** A person was told that the approval was taken. */
  readonly verdictTaken: boolean;
};

export type Kill = Round & { readonly point: Point };

const DIES_MS = 90_000;

/** Rejects where the process outlives the statement: then it does not pass that point. */
export async function killAt(
  place: Installation,
  doomed: Doomed,
  round: Pick<Kill, 'marker' | 'kind' | 'point'>,
): Promise<Kill> {
  const { marker, kind, point } = round;
  if (isInside(point)) await doomed.arm(point, marker);
  else {
    const { on, when, sees } = SEEN[point];
    void place.ways[on].stallWhen(sees(marker), when).then(doomed.kill);
  }
  let dead = false;
  const died = doomed.ended.then(() => {
    dead = true;
  });
  const client = await connected(doomed).catch(async (error: Error) => {
    doomed.kill();
    await died;
    throw error;
  });
  const approved =
    KINDS[kind].asked === 'no' ? Promise.resolve(false) : approve(place, doomed, marker, () => dead);
  const frames = KINDS[kind].run(client, marker).catch(() => []);
  const waited = new Promise<'alive'>((done) => setTimeout(() => done('alive'), DIES_MS).unref());
  if ((await Promise.race([died, waited])) === 'alive') {
    doomed.kill();
    throw new Error(`${kind} never passes '${point}': ${doomed.output().slice(-2_000)}`);
  }
  const came = await frames;
  client.close();
  const types = came.map(([type]) => String.fromCharCode(type ?? 0));
  const taken = await approved;
  for (const way of Object.values(place.ways)) {
    way.cut();
    way.resume();
  }
  return {
    ...{ marker, kind, point, when: `killed at '${point}'` },
    result: types.filter((type) => 'TDCG'.includes(type)).length,
    completed: types.includes('C'),
    verdictTaken: taken,
  };
}

/** A log-in may take longer than its time where many share the machine. */
async function connected(doomed: Doomed): Promise<RawClient> {
  for (const until = Date.now() + DIES_MS; ; ) {
    try {
      return await RawClient.connect(doomed.agentUrl, { application_name: AGENT_APPLICATION });
    } catch (error) {
      if (Date.now() > until) throw error;
    }
  }
}

/** Answers the request about the marked statement as soon as there is one; true: the answer was taken. */
export async function approve(
  place: Installation,
  doomed: Doomed,
  marker: string,
  dead: () => boolean,
): Promise<boolean> {
  while (!dead()) {
    const rows = await place.requests(
      "SELECT id FROM countersign.request WHERE sql LIKE $1 AND state = 'open'",
      [`%${marker}%`],
    );
    const id = rows[0]?.['id'] as string | undefined;
    if (id !== undefined) {
      const status = await fetch(`${doomed.httpUrl}/api/requests/${id}/verdict`, {
        method: 'POST',
        headers: { authorization: `Bearer ${place.approverToken}`, 'content-type': 'application/json' },
        body: JSON.stringify({ verdict: 'approve', reason: 'round' }),
      }).then(
        (answer) => answer.status,
        () => 0,
      );
      if (status === 200) return true;
    }
    await new Promise((done) => setTimeout(done, 50));
  }
  return false;
}
