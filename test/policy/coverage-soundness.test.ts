import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { coverageOf } from '../../src/policy/coverage.ts';
import { matches } from '../../src/policy/match.ts';
import type { PolicyRule } from '../../src/policy/rule.ts';
import type { StatementAnalysis } from '../../src/statement/analysis.ts';
import { AGENTS, anyRule, anyStatement } from './random.ts';

/** `matches` is the oracle: what is called unreachable must never be matched first. */

/** The rule that decides, and the one in mode observe that is told of, as `decide` finds them. */
function reached(
  rules: readonly PolicyRule[],
  one: StatementAnalysis,
  context: Parameters<typeof matches>[2],
) {
  const first = rules.find((rule) => matches(rule, one, context));
  const deciding = rules.find((rule) => rule.mode !== 'observe' && matches(rule, one, context));
  return [first?.mode === 'observe' ? first : undefined, deciding];
}

describe('what is said to be unreachable', () => {
  it('decides nothing, whatever is asked', () => {
    let dead = 0;
    fc.assert(
      fc.property(
        fc.array(anyRule, { minLength: 2, maxLength: 6 }),
        fc.array(anyStatement, { minLength: 5, maxLength: 15 }),
        fc.constantFrom('shop', 'other'),
        fc.integer({ min: 0, max: 7 * 24 * 60 }),
        (rules, statements, database, minute) => {
          const found = coverageOf(rules, AGENTS).unreachable;
          dead += found.length;
          for (const agent of AGENTS)
            for (const one of statements) {
              const context = { ...agent, database: agent.database ?? database, at: minute * 60e6 };
              for (const rule of reached(rules, one, context))
                if (found.some((each) => rules[each.rule] === rule)) return false;
            }
          return true;
        },
      ),
      { numRuns: 500 },
    );
    // Nothing would be easier to keep than silence.
    expect(dead).toBeGreaterThan(100);
  }, 180_000);
});
