import { decide } from '../../src/policy/decide.ts';
import type { Decision, DecisionContext } from '../../src/policy/decision.ts';
import type { PolicyRule } from '../../src/policy/rule.ts';
import type { Catalog } from '../../src/statement/catalog.ts';
import { analysed, catalogOf } from '../statement/support.ts';

export const CONTEXT: DecisionContext = {
  agent: 'reporter',
  owner: 'ann',
  database: 'shop',
  role: 'agent_rw',
};

/** Two big tables, a small one, a view of one, functions that only read. */
export const SHOP: Catalog = catalogOf({
  tables: {
    customers: { rows: 20_000, columns: ['id', 'email', 'name'] },
    orders: { rows: 60_000, columns: ['id', 'customer', 'total'] },
    countries: { rows: 200, columns: ['code', 'name'], keys: [['code']] },
    Mixed: { rows: 10, columns: ['Id', 'Name'] },
    payments: { schema: 'billing', rows: 60_000, columns: ['id', 'card'] },
  },
  functions: { 'app.score': { effects: [] }, 'billing.vat': { effects: [] } },
});

/** What the rules say of a text, with the shop's catalog. */
export function decided(
  sql: string,
  rules: readonly PolicyRule[],
  context: Partial<DecisionContext> = {},
  catalog: Catalog | null = SHOP,
): Decision {
  return decide(analysed(sql, catalog), { ...CONTEXT, ...context }, { digest: 'd', rules });
}

export function rule(
  decision: PolicyRule['decision'],
  match: PolicyRule['match'],
  rest: Partial<PolicyRule> = {},
): PolicyRule {
  return { name: `to-${decision}`, decision, match, ...rest };
}

/** Whether a rule of that decision, before one that decides otherwise, decides the statement. */
export function matchesTo(
  decision: PolicyRule['decision'],
  match: PolicyRule['match'],
  sql: string,
): boolean {
  const other = decision === 'deny' ? rule('hold', {}) : rule('deny', {});
  return decided(sql, [rule(decision, match), other]).rule === `to-${decision}`;
}
