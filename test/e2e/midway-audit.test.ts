/** What an auditor finds of results that were stopped in their middle. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Stack } from '../support/stack.ts';
import {
  asked,
  B,
  connected,
  E,
  eventually,
  LIMIT,
  P,
  read,
  S,
  SMALL,
  startMidway,
  stateOf,
} from './midway-support.ts';

let stack: Stack;
let strict: Stack;
beforeAll(async () => {
  stack = await startMidway();
  strict = await startMidway({ holdTimeoutInTransactionMs: 1_500 });
});
afterAll(async () => {
  await stack.close();
  await strict.close();
});

const rowsOf = (on: Stack, view: string, columns: string, sql: string) =>
  on.audited(`SELECT ${columns} FROM audit.${view} WHERE sql = $1`, [sql]);

describe('a rest that a person refused', () => {
  it('is in denials, with the person, the rule and the reason; in exports; and in approvals', async () => {
    const client = await connected(stack);
    const sql = read('large');
    const { request } = await asked(stack, client, sql);
    await stack.api.verdict(request.id, 'deny', 'no bulk reads');
    await client.ready(1, 30_000);
    client.close();
    await eventually(async () =>
      expect(
        await rowsOf(stack, 'denials', 'class, refused_by, rule, reasons, people, request_id', sql),
      ).toEqual([
        {
          class: 'export',
          refused_by: 'person',
          rule: 'default:export',
          reasons: [
            expect.stringMatching(
              /^its result is larger than 1000 rows; 1000 rows of \d+ bytes were sent already$/,
            ),
            expect.any(String),
          ],
          people: ['approver'],
          request_id: request.id,
        },
      ]),
    );
    expect(
      await rowsOf(stack, 'exports', 'decision, rule, approvers, outcome, rows::int, request_id', sql),
    ).toEqual([
      {
        decision: 'hold',
        rule: 'default:export',
        approvers: [],
        outcome: 'failed',
        rows: LIMIT,
        request_id: request.id,
      },
    ]);
    expect(
      await rowsOf(
        stack,
        'approvals',
        'request_id, class, rule, verdict, approvers, reason, released, outcome',
        sql,
      ),
    ).toEqual([
      {
        request_id: request.id,
        class: 'export',
        rule: 'default:export',
        verdict: 'deny',
        approvers: ['approver'],
        reason: 'no bulk reads',
        released: false,
        outcome: 'failed',
      },
    ]);
  });
});

describe('a rest that a person let pass', () => {
  it('is in exports with its approver and all of its rows, and in no list of denials', async () => {
    const client = await connected(stack);
    const sql = read('small');
    const { request } = await asked(stack, client, sql, [P(sql), B(), E, S]);
    await stack.api.verdict(request.id, 'approve');
    await client.ready(1, 30_000);
    client.close();
    await eventually(async () =>
      expect(
        await rowsOf(stack, 'exports', 'decision, rule, approvers, outcome, rows::int, request_id', sql),
      ).toEqual([
        {
          decision: 'hold',
          rule: 'default:export',
          approvers: ['approver'],
          outcome: 'executed',
          rows: SMALL,
          request_id: request.id,
        },
      ]),
    );
    await eventually(async () => expect(await stateOf(stack, request.id)).toBe('executed'));
    expect(
      await rowsOf(stack, 'approvals', 'request_id, verdict, approvers, released, outcome, rows::int', sql),
    ).toEqual([
      {
        request_id: request.id,
        verdict: 'approve',
        approvers: ['approver'],
        released: true,
        outcome: 'executed',
        rows: SMALL,
      },
    ]);
    expect(await rowsOf(stack, 'denials', '*', sql)).toEqual([]);
  });
});

describe('a rest that nobody let pass', () => {
  it.each([
    ['the client cancels', 'withdrawn', 'withdrawn'],
    ['the client goes', 'withdrawn', 'open'],
    ['time is up', 'expired', 'open'],
  ] as const)('%s: it says so', async (how, refusedBy, state) => {
    const client = await connected(strict, how === 'time is up');
    const sql = read('small');
    const { request } = await asked(strict, client, sql);
    if (how === 'the client cancels') await client.cancel();
    if (how === 'the client goes') client.close();
    else await client.ready(1, 30_000);
    await eventually(async () =>
      expect(await rowsOf(strict, 'denials', 'class, refused_by, people, request_id', sql)).toEqual([
        { class: 'export', refused_by: refusedBy, people: [], request_id: request.id },
      ]),
    );
    expect(await stateOf(strict, request.id)).toBe(state);
    client.close();
  });
});

it('the log is whole, nothing ran unapproved, and agents are counted by what became of it', async () => {
  await eventually(async () => {
    expect(await stack.audited('SELECT * FROM audit.verify() WHERE NOT ok')).toEqual([]);
    expect(await stack.audited('SELECT * FROM audit.unapproved_exceptions')).toEqual([]);
    expect(await stack.audited('SELECT held::int, denied::int, exports::int FROM audit.agents')).toEqual([
      // The one that the tests begin with was cancelled.
      { held: 3, denied: 1, exports: 1 },
    ]);
  });
});
