import { DEFAULT_LIMITS, type Limits } from '../config/limits.ts';
import { functionsOf, type InspectedConfig } from '../config/load.ts';
import { nearest } from '../config/nearest.ts';
import type { PolicyCase, PolicyCases } from '../config/policy-cases.ts';
import type { DecisionContext } from '../policy/decision.ts';
import { nowMicros } from '../proxy/clock.ts';
import { CliError } from './exit.ts';
import {
  type ConnectCatalog,
  type Explainer,
  type Explanation,
  openExplainer,
  schemasOf,
} from './explain.ts';
import { configuredUpstream, tagRulesOf, type UpstreamOption } from './policy-options.ts';

/** Where cases are tried: one explainer for each role and search_path that they name. */
export type Bench = {
  readonly explain: (one: PolicyCase) => Promise<Explanation>;
  readonly close: () => Promise<void>;
};

export type BenchSetup = {
  /** Null: the default policy. */
  readonly config: InspectedConfig | null;
  readonly cases: PolicyCases;
  readonly connect: ConnectCatalog;
} & UpstreamOption;

export async function openBench(setup: BenchSetup): Promise<Bench> {
  const opened = new Map<string, Promise<Explainer>>();
  const functions = setup.config === null ? [] : await functionsOf(setup.config);
  return {
    explain: async (one) => {
      const context = contextOf(setup, one);
      const searchPath = searchPathOf(one);
      const key = JSON.stringify([context.agent, context.database, context.role, searchPath]);
      const known = opened.get(key) ?? openFor(setup, one, context, searchPath, functions);
      opened.set(key, known);
      return (await known).explain(one.sql, context);
    },
    close: async () => {
      for (const explainer of await Promise.allSettled(opened.values()))
        if (explainer.status === 'fulfilled') await explainer.value.close();
    },
  };
}

async function openFor(
  setup: BenchSetup,
  one: PolicyCase,
  context: DecisionContext,
  searchPath: readonly string[] | null,
  functions: Awaited<ReturnType<typeof functionsOf>>,
): Promise<Explainer> {
  const shape = setup.config?.parsed.value;
  return openExplainer({
    policy: setup.config?.policy ?? { digest: '', rules: [] },
    limits: { ...DEFAULT_LIMITS, ...(shape?.limits as Partial<Limits> | undefined) },
    mode: shape?.mode ?? 'enforce',
    secondOpinion: shape?.analysis.second_opinion ?? 'off',
    context,
    connected: await connected(setup, one, context, searchPath, functions),
    searchPath: searchPath ?? ['public'],
  });
}

/** Null: no database is asked, because none is known or none is wanted. */
async function connected(
  { config, upstream, connect }: BenchSetup,
  one: PolicyCase,
  context: DecisionContext,
  searchPath: readonly string[] | null,
  functions: Awaited<ReturnType<typeof functionsOf>>,
) {
  if (upstream === false || (upstream === undefined && config === null)) return null;
  const options = {
    searchPath,
    ...(functions.length === 0 ? {} : { functions }),
    ...(config === null ? {} : { tags: tagRulesOf(config) }),
  };
  if (config === null || upstream !== undefined)
    return connect(upstream ?? '', { ...options, ...(one.role === null ? {} : { role: one.role }) });
  const agent = context.agent === '' ? null : context.agent;
  const server = await configuredUpstream(config, agent, one.database);
  const role = one.role === null || one.role === server.user ? {} : { role: one.role };
  return connect(server, { ...options, ...role }).catch((error: Error) => {
    throw new CliError(
      'upstream_away',
      `the database of ${config.path} could not be asked (${error.message}); --no-upstream judges by grammar alone`,
    );
  });
}

function contextOf({ config, cases, upstream }: BenchSetup, one: PolicyCase): DecisionContext {
  const agents = config?.parsed.value.agents ?? [];
  const agent = agents.find(({ name }) => name === one.agent) ?? null;
  if (config !== null && one.agent !== null && agent === null) {
    const near = nearest(
      one.agent,
      agents.map(({ name }) => name),
    );
    const hint = near === null ? '' : `; did you mean ${near}?`;
    throw cases.error(one, 'agent', `${config.path} has no such agent${hint}`);
  }
  return {
    agent: one.agent ?? '',
    owner: agent?.owner ?? null,
    database: one.database ?? databaseOf(typeof upstream === 'string' ? upstream : configuredUrl(config)),
    role: one.role ?? agent?.upstream.user ?? '',
    at: one.time === null ? nowMicros() : one.time.getTime() * 1000,
  };
}

/** Empty where the URL is a secret: then a case has to name its database. */
function configuredUrl(config: InspectedConfig | null): string {
  const url = config?.parsed.value.upstream.url;
  return typeof url === 'string' ? url : '';
}

function databaseOf(url: string): string {
  try {
    return decodeURIComponent(new URL(url).pathname.slice(1));
  } catch {
    return '';
  }
}

function searchPathOf({ searchPath }: PolicyCase): readonly string[] | null {
  return typeof searchPath === 'string' ? schemasOf(searchPath) : searchPath;
}
