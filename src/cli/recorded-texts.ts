import { DEFAULT_LIMITS } from '../config/limits.ts';
import type { StatementAnalysis } from '../statement/analysis.ts';
import { type ConnectCatalog, openExplainer } from './explain.ts';
import { TEXT } from './recorded-rows.ts';

/** Another look at recorded texts, with a database as it is now. */
export type Texts = {
  /** Null: it cannot be looked at (cut, or no statement for itself). */
  readonly statement: (sql: string) => Promise<StatementAnalysis | null>;
  readonly close: () => Promise<void>;
};

/** Agents repeat themselves; more texts than these are not remembered. */
const REMEMBERED = 5_000;

/** The server is asked about everything that is in doubt, as it was when the statement was held. */
const ASK_ALWAYS = { digest: '', rules: [{ name: 'ask', match: {}, decision: 'deny' }] } as const;

export async function openTexts(upstream: string, connect: ConnectCatalog): Promise<Texts> {
  const connected = await connect(upstream, {});
  const explainer = await openExplainer({
    policy: ASK_ALWAYS,
    limits: DEFAULT_LIMITS,
    mode: 'enforce',
    context: { agent: '', owner: null, database: '', role: '' },
    connected,
    searchPath: [],
  });
  const known = new Map<string, StatementAnalysis | null>();
  return {
    statement: async (sql) => {
      if ([...sql].length >= TEXT) return null;
      const before = known.get(sql);
      if (before !== undefined) return before;
      const { statements, syntaxError } = await explainer.analyse(sql);
      const [statement, ...others] = statements;
      const found = statement === undefined || others.length > 0 || syntaxError !== null ? null : statement;
      if (known.size >= REMEMBERED) known.clear();
      known.set(sql, found);
      return found;
    },
    close: () => explainer.close(),
  };
}
