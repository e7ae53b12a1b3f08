/** The matrix position × way for one ending, each cell compared with Postgres. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StackOptions } from '../../support/stack.ts';
import { c, d, Q } from './messages.ts';
import { type Bench, closeBench, type Ending, play, startBench, withLane, withRefusals } from './play.ts';
import { POSITIONS, type Position, STRINGS, type Step } from './positions.ts';
import { type Kind, WAYS, type Way } from './ways.ts';

const FULL = process.env['COUNTERSIGN_MATRIX'] === 'full';

function program(position: Position, way: Way, kind: Kind, table: string, box: string): readonly Step[] {
  const setup = way.setup?.(kind, table) ?? [];
  return [
    ...(setup.length === 0 ? [] : [{ send: setup, wait: 1 } as const]),
    ...position.steps({ frames: way.frames(kind, table), simple: way.simple, box }),
    { send: way.after ?? [], wait: 'nothing' },
  ];
}

/** Defines the tests of one ending. `ways`: those that are tried; all by default. */
export function testMatrix(
  ending: Ending,
  options: StackOptions = {},
  ways: (way: Way) => boolean = () => true,
): void {
  let bench: Bench;
  beforeAll(async () => {
    bench = await startBench(ending, options);
  });
  afterAll(() => closeBench(bench));

  const compare = (steps: (kind: Kind, table: string, box: string) => readonly Step[], asked: boolean) =>
    withLane(bench, async (table, box) => {
      const kind = ending === 'approved' ? 'held' : 'failing';
      const direct = await play(bench, 'direct', steps(kind, table, box), table, box);
      const proxied = await play(bench, 'proxied', steps('held', table, box), table, box);
      const outcome = ({ replies, tables }: typeof direct) =>
        ending === 'approved' ? { replies, tables } : { replies: withRefusals(replies, ending), tables };
      expect(outcome(proxied)).toEqual(outcome(direct));
      // Where nobody refuses there is nothing to compare.
      if (ending !== 'approved') expect(outcome(direct).replies.includes('refused')).toBe(asked);
      if (asked && ending !== 'policy') expect(proxied.notices).toBeGreaterThan(0);
      else expect(proxied.notices).toBe(0);
    });

  const cells = WAYS.filter(ways).flatMap((way) =>
    POSITIONS.filter(({ everyWay }) => FULL || way.everywhere || everyWay).map(
      (position) => [position.name, way.name, position, way] as const,
    ),
  );

  describe(`${ending}: afterwards everything is as where Postgres itself ${ending === 'approved' ? 'runs it' : 'refuses'}`, () => {
    it.concurrent.each(cells)(
      '%s: %s',
      async (_position, _way, position, way) =>
        compare((kind, table, box) => program(position, way, kind, table, box), position.unasked !== true),
      120_000,
    );

    it.concurrent.each(STRINGS.map((text) => [text('X', 'box'), text] as const))(
      'in the string %s',
      async (_shown, text) =>
        compare((kind, table, box) => {
          const statement = kind === 'held' ? `DELETE FROM ${table}` : 'SELEC';
          const string = text(statement, box);
          const data = string.includes('FROM STDIN') ? [d('1\n'), c] : [];
          return [{ send: [Q(string), ...data], wait: 1 }];
        }, true),
      120_000,
    );
  });
}
