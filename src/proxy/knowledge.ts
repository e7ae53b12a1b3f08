/** What is known about statements: parser, catalog and policy put together for one agent in one database. */

import { performance } from 'node:perf_hooks';
import pg from 'pg';
import type { Analyser } from '../analyser/analyser.ts';
import { createSecondParser, type SecondParser } from '../analyser/second-parser.ts';
import { withAnswerCache } from '../catalog/answer-cache.ts';
import { clarify, type QuestionParameter, type ServerQuestions } from '../catalog/clarify.ts';
import type { CatalogJudgement } from '../catalog/judgement.ts';
import { type CatalogLog, type CatalogProvider, startCatalog } from '../catalog/provider.ts';
import { openSideConnection, type ServerError, type SideConnection } from '../catalog/side.ts';
import type { Agent, Config, UpstreamAddress } from '../config/config.ts';
import { decide } from '../policy/decide.ts';
import type { Policy } from '../policy/rule.ts';
import type { ErrorFields } from '../protocol/backend.ts';
import { analyse, analyseInSteps } from '../statement/analyse.ts';
import type { Analysis, NameScope } from '../statement/analysis.ts';
import type { Answers } from '../statement/answers.ts';
import type { Catalog } from '../statement/catalog.ts';
import { parameterValues } from '../statement/context.ts';
import { withSecondOpinion } from '../statement/second-opinion.ts';
import { isSystemSchema } from '../statement/system-relations.ts';
import { nowMicros } from './clock.ts';
import { Fingerprints } from './fingerprinted.ts';
import type { Knowledge } from './listener-ports.ts';
import { sslOptions } from './side-tls.ts';
import { inSlices } from './slices.ts';
import { statementFindings } from './statement-findings.ts';

export type KnowledgeSetup = {
  readonly config: Config;
  /** The policy in force. */
  readonly policy: () => Policy;
  readonly analyser: Analyser;
  readonly judgement: CatalogJudgement;
  readonly log: CatalogLog;
  /** Seconds from bytes to analysis. */
  readonly analysed: (seconds: number) => void;
};

export type KnowledgeBase = {
  /** Waits for the first reading of that database's catalog. */
  readonly of: (agent: Agent, database: string) => Promise<Knowledge>;
  /** At least one catalog has been read and none is stale. */
  readonly healthy: () => boolean;
  readonly close: () => Promise<void>;
};

/** One catalog a database, one side connection an agent and database; both are made when first needed. */
export function createKnowledgeBase(setup: KnowledgeSetup): KnowledgeBase {
  const { config, log, judgement } = setup;
  const second = config.analysis.secondOpinion === 'hold' ? createSecondParser(config.limits) : null;
  const catalogs = new Map<string, Promise<CatalogProvider>>();
  const ready = new Set<CatalogProvider>();
  const sides = new Map<string, SideConnection>();
  const questions = new Map<SideConnection, ServerQuestions>();

  const catalogOf = (agent: Agent, database: string): Promise<CatalogProvider> => {
    const known = catalogs.get(database);
    if (known !== undefined) return known;
    const { user, password } = config.upstream.user === null ? agent.upstream : config.upstream;
    const connect = () =>
      connectSide(config.upstream, user ?? agent.upstream.user, password, database, 'countersign catalog');
    const started = startCatalog({ connect, limits: config.limits, log, judgement, tags: config.tags });
    catalogs.set(database, started);
    started.then((provider) => ready.add(provider));
    return started;
  };
  const sideOf = (agent: Agent, database: string): SideConnection => {
    const key = JSON.stringify([agent.name, database]);
    const known = sides.get(key);
    if (known !== undefined) return known;
    const { user, password } = agent.upstream;
    const side = openSideConnection({
      connect: () => connectSide(config.upstream, user, password, database, 'countersign probe'),
      limits: config.limits,
    });
    sides.set(key, side);
    return side;
  };
  return {
    of: async (agent, database) => {
      const provider = await catalogOf(agent, database);
      const side = sideOf(agent, database);
      let asked = questions.get(side);
      if (asked === undefined) {
        asked = withAnswerCache(
          side,
          () => ({ objects: objectsOf(provider), all: versionOf(provider) }),
          () => performance.now(),
        );
        questions.set(side, asked);
      }
      return knowledgeOf(setup, second, agent, database, provider, side, asked);
    },
    healthy: () => [...ready].every((provider) => provider.current() !== null),
    close: async () => {
      await second?.close();
      await Promise.all([...catalogs.values()].map(async (provider) => (await provider).close()));
      await Promise.all([...sides.values()].map((side) => side.close()));
    },
  };
}

function knowledgeOf(
  setup: KnowledgeSetup,
  second: SecondParser | null,
  agent: Agent,
  database: string,
  provider: CatalogProvider,
  side: SideConnection,
  questions: ServerQuestions,
): Knowledge {
  const { config, policy, analyser, analysed, log } = setup;
  const context = { agent: agent.name, owner: agent.owner, database, role: agent.upstream.user };
  const view = catalogView(provider);
  const fingerprints = new Fingerprints();
  // Asked only where its answer can count: what would run, or would with other parameters.
  const needsSecond = (analysis: Analysis): boolean =>
    decide(analysis, { ...context, at: nowMicros() }, policy(), 'enforce').decision === 'allow' ||
    analysis.statements.some(({ dependsOnParameters }) => dependsOnParameters.length > 0);
  const heard = async (sql: Buffer, analysis: Analysis): Promise<Analysis> =>
    second === null || !needsSecond(analysis)
      ? analysis
      : withSecondOpinion(analysis, await second.read(sql), sql);
  const again =
    (sql: Buffer, scope: NameScope, parameters: readonly QuestionParameter[] | null) =>
    async (answers: Answers): Promise<Analysis> => {
      const parse = analyser.needsWorker(sql) ? await analyser.parseLater(sql) : analyser.parse(sql);
      const values = parameters === null ? null : parameterValues(parameters);
      const seen = await inSlices(analyseInSteps(parse, view(true), scope, config.limits, values, answers));
      return heard(sql, fingerprints.into(parse, seen));
    };
  return {
    analyse: (sql, scope, certain, parameters) => {
      if (analyser.needsWorker(sql)) return null;
      const began = performance.now();
      const parse = analyser.parse(sql);
      const analysis = fingerprints.into(
        parse,
        analyse(parse, view(certain), scope, config.limits, parameters),
      );
      analysed((performance.now() - began) / 1000);
      if (second === null || !needsSecond(analysis)) return analysis;
      const reading = second.known(sql);
      return reading === undefined ? null : withSecondOpinion(analysis, reading, sql);
    },
    analyseLater: async (sql, scope, certain) => {
      const began = performance.now();
      const parse = analyser.needsWorker(sql) ? await analyser.parseLater(sql) : analyser.parse(sql);
      const seen = await inSlices(analyseInSteps(parse, view(certain), scope, config.limits));
      const analysis = await heard(sql, fingerprints.into(parse, seen));
      analysed((performance.now() - began) / 1000);
      return analysis;
    },
    clarify: (fresh, sql, scope, analysis, parameters) =>
      clarify(sql, analysis, parameters, fresh ? side : questions, again(sql, scope, parameters), (error) =>
        log.warn({ err: error }, 'the server was not asked about a statement'),
      ),
    decide: (analysis, at) => decide(analysis, { ...context, at }, policy(), config.mode),
    version: () => `${versionOf(provider)} ${policy().digest}`,
    objects: () => objectsOf(provider),
    probe: async (sql: Buffer, scope: NameScope): Promise<ErrorFields | null> => {
      try {
        const objection = await side.probe(sql, scope.searchPath);
        return objection === null ? null : fieldsOf(objection);
      } catch (error) {
        // Nothing is known then, so a person is asked.
        log.warn({ err: error }, 'the server was not asked about a statement');
        return null;
      }
    },
    findings: (subject, scope, certain) =>
      statementFindings(
        { analyser, side, limits: config.limits, log, catalog: () => view(certain) },
        subject,
        scope,
        certain,
      ),
    refreshCatalog: () => provider.refresh(),
  };
}

function versionOf(provider: CatalogProvider): string {
  return provider.current()?.version ?? 'none';
}

function objectsOf(provider: CatalogProvider): string {
  const current = provider.current();
  return current?.objects ?? current?.version ?? 'none';
}

/** The catalog that a statement is judged by, where the last one read may no longer be true: system relations alone. */
function catalogView(provider: CatalogProvider): (certain: boolean) => Catalog {
  let last: Catalog | null = null;
  let uncertain = uncertainCatalog(null);
  return (certain) => {
    const current = provider.current();
    if (certain && current !== null) return current;
    if (current !== last) {
      last = current;
      uncertain = uncertainCatalog(current);
    }
    return uncertain;
  };
}

const NOT_READ = 'the catalog of the database could not be read';
const UNCERTAIN = 'it may have been changed since the catalog was read';

/** Nothing of the users' own is certain: their relations are unknown, and what functions and types do; unknown is held. */
export function uncertainCatalog(base: Catalog | null): Catalog {
  return {
    version: `uncertain ${base?.version ?? ''}`,
    serverVersion: base?.serverVersion ?? 0,
    relation: (schema, name) => (isSystemSchema(schema) ? base?.relation(schema, name) : undefined),
    relationsNamed: (name) => base?.relationsNamed(name).filter(({ schema }) => isSystemSchema(schema)) ?? [],
    functionsNamed: (name) =>
      (base?.functionsNamed(name) ?? []).map((fn) => ({ ...fn, effects: [...fn.effects, UNCERTAIN] })),
    operatorSchemas: (name) => base?.operatorSchemas(name) ?? [],
    typesNamed: (name) =>
      (base?.typesNamed(name) ?? []).map(({ schema, effects }) => ({
        schema,
        effects: [...effects, UNCERTAIN],
      })),
    meant: () => ({ effects: [NOT_READ], builtins: [], calls: [], json: true }),
    ambientEffects: base?.ambientEffects ?? [NOT_READ],
  };
}

function fieldsOf(objection: ServerError): ErrorFields {
  return {
    S: objection.severity,
    V: objection.severity,
    C: objection.code,
    M: objection.message,
    ...(objection.detail === null ? {} : { D: objection.detail }),
    ...(objection.hint === null ? {} : { H: objection.hint }),
    ...(objection.position === null ? {} : { P: String(objection.position) }),
    ...(objection.routine === null ? {} : { R: objection.routine }),
  };
}

async function connectSide(
  address: UpstreamAddress,
  user: string,
  password: string | null,
  database: string,
  name: string,
): Promise<pg.Client> {
  const client = new pg.Client({
    host: address.host,
    port: address.port,
    user,
    ...(password === null ? {} : { password }),
    database,
    application_name: name,
    connectionTimeoutMillis: CONNECT_MS,
    ssl: sslOptions(address),
  });
  await client.connect();
  return client;
}

const CONNECT_MS = 10_000;
