import type { Stack } from '../../support/stack.ts';

export type Approver = {
  /** SQL of requests that nobody expected. */
  readonly unexpected: readonly string[];
  /** Tables that were there before they were approved. */
  readonly early: readonly string[];
  readonly stop: () => Promise<void>;
};

/** The person at the other end: answers every open request over the HTTP API by the names in its SQL. */
export function startApprover(stack: Stack): Approver {
  const unexpected: string[] = [];
  const early: string[] = [];
  const seen = new Set<string>();
  let stopped = false;
  const answer = async () => {
    for (const { id, sql } of await stack.api.open()) {
      if (seen.has(id)) continue;
      seen.add(id);
      const kind = expected(sql);
      if (kind === 'wait') continue;
      if (kind === 'unexpected') unexpected.push(sql);
      const table = /\w+_approved/.exec(sql)?.[0];
      if (table !== undefined && (await exists(stack, table))) early.push(table);
      await stack.api.verdict(id, kind === 'approve' ? 'approve' : 'deny', `the test says ${kind}`);
    }
  };
  const run = async () => {
    while (!stopped) {
      await answer();
      await new Promise((done) => setTimeout(done, 50));
    }
  };
  const running = run();
  return {
    unexpected,
    early,
    stop: async () => {
      stopped = true;
      await running;
    },
  };
}

function expected(sql: string): 'approve' | 'deny' | 'wait' | 'unexpected' {
  if (/_approved\b/.test(sql) || /^\s*copy\b.*_copy\b/is.test(sql)) return 'approve';
  if (/_denied\b/.test(sql)) return 'deny';
  return /_timed_out\b/.test(sql) ? 'wait' : 'unexpected';
}

export async function exists(stack: Stack, table: string): Promise<boolean> {
  const { rows } = await stack.shop.query('SELECT to_regclass($1) IS NOT NULL AS there', [table]);
  return rows[0]?.there === true;
}
