import { createInterface } from 'node:readline';
import { type Command, Option } from 'commander';
import type { ClientConfig } from 'pg';
import { type Analyser, loadAnalyser } from '../analyser/analyser.ts';
import { createSecondParser, type SecondParser } from '../analyser/second-parser.ts';
import { clarify } from '../catalog/clarify.ts';
import type { ConnectedCatalog, ConnectOptions } from '../catalog/connect.ts';
import type { Config } from '../config/config.ts';
import { DEFAULT_LIMITS, type Limits } from '../config/limits.ts';
import { loadConfig } from '../config/load.ts';
import { decide } from '../policy/decide.ts';
import type { DecisionContext } from '../policy/decision.ts';
import type { Policy } from '../policy/rule.ts';
import { nowMicros } from '../proxy/clock.ts';
import { analyse } from '../statement/analyse.ts';
import type { Analysis } from '../statement/analysis.ts';
import type { Answers } from '../statement/answers.ts';
import { withSecondOpinion } from '../statement/second-opinion.ts';
import { CliError } from './exit.ts';
import { type Explained, explanationText } from './explain-text.ts';
import { paintFor } from './paint.ts';

/** How a database is looked at; `connectCatalog` of src/catalog, loaded only where there is one. */
export type ConnectCatalog = (
  server: string | ClientConfig,
  options: ConnectOptions,
) => Promise<ConnectedCatalog>;

export type Explanation = Explained;

export type Explainer = {
  /** `context`: who asks, where it is another than the setup's. */
  readonly explain: (sql: string, context?: DecisionContext) => Promise<Explanation>;
  /** The facts alone. The server is asked where the setup's policy would not let it run. */
  readonly analyse: (sql: string) => Promise<Analysis>;
  readonly close: () => Promise<void>;
};

export type ExplainerSetup = {
  readonly policy: Policy;
  readonly limits: Limits;
  readonly context: DecisionContext;
  readonly mode: 'enforce' | 'observe';
  readonly secondOpinion?: 'off' | 'hold';
  /** Null: no database to ask, so by grammar alone. */
  readonly connected: Pick<ConnectedCatalog, 'catalog' | 'scope' | 'probe' | 'questions' | 'close'> | null;
  /** What bare names mean where there is no database. */
  readonly searchPath: readonly string[];
};

type Options = {
  readonly config?: string;
  readonly agent?: string;
  readonly role?: string;
  readonly searchPath?: string;
  readonly upstream?: string;
  readonly jsonl?: boolean;
};

/** `countersign explain`: what a statement is, what policy says of it, and why. */
export function explainCommand(program: Command, connect: ConnectCatalog = connectLazily): void {
  program
    .command('explain')
    .description('show what a statement is, what policy says of it, and why')
    .argument('[sql]', 'one string of SQL')
    .addOption(new Option('-c, --config <file>', 'configuration file; without it the default policy'))
    .addOption(new Option('--agent <name>', 'whose rules apply'))
    .addOption(new Option('--role <role>', 'judge as this role of the database'))
    .addOption(new Option('--search-path <schemas>', 'schemas for bare names, with commas between'))
    .addOption(new Option('--upstream <url>', 'database that knows what the names mean'))
    .addOption(new Option('--jsonl', 'lines {"id","sql"} on stdin, a line for each on stdout'))
    .action(async (sql: string | undefined, options: Options) => {
      if ((sql === undefined) !== (options.jsonl === true))
        throw new CliError('cli_usage', 'explain: give one string of SQL, or --jsonl and lines on stdin');
      const explainer = await openExplainer(await setupFrom(options, connect));
      try {
        if (sql === undefined)
          await explainLines(explainer, process.stdin, (line) => process.stdout.write(line));
        else
          process.stdout.write(
            explanationText(await explainer.explain(sql), paintFor(process.env, process.stdout)),
          );
      } finally {
        await explainer.close();
      }
    });
}

/** Loads the parser; `close` ends it and the connection. */
export async function openExplainer(setup: ExplainerSetup): Promise<Explainer> {
  const analyser = await loadAnalyser(setup.limits);
  const second = setup.secondOpinion === 'hold' ? createSecondParser(setup.limits) : null;
  return {
    explain: (sql, context = setup.context) =>
      explainOne({ ...setup, context }, analyser, second, Buffer.from(sql, 'utf8')),
    analyse: async (sql) => (await analyseOne(setup, analyser, second, Buffer.from(sql, 'utf8'))).analysis,
    close: async () => {
      await second?.close();
      await analyser.close();
      await setup.connected?.close();
    },
  };
}

async function analyseOne(
  setup: ExplainerSetup,
  analyser: Analyser,
  second: SecondParser | null,
  sql: Buffer,
): Promise<{ readonly analysis: Analysis; readonly answers: Answers }> {
  const parse = analyser.needsWorker(sql) ? await analyser.parseLater(sql) : analyser.parse(sql);
  const { connected, searchPath, limits } = setup;
  const scope = connected?.scope ?? { searchPath, tempPossible: false };
  let heard: Answers = [];
  const analyseWith = (answers: Answers) => {
    heard = answers;
    return analyse(parse, connected?.catalog ?? null, scope, limits, null, answers);
  };
  const known = await withServerAnswers(setup, sql, analyseWith);
  const analysis = second === null ? known : withSecondOpinion(known, await second.read(sql), sql);
  return { analysis, answers: heard };
}

async function explainOne(
  setup: ExplainerSetup,
  analyser: Analyser,
  second: SecondParser | null,
  sql: Buffer,
): Promise<Explanation> {
  const { analysis, answers } = await analyseOne(setup, analyser, second, sql);
  const decision = decide(analysis, setup.context, setup.policy, setup.mode);
  const shown = {
    sql,
    class: decision.class,
    observed: (decision.observed ?? []).map((one) => `rule ${one.rule} would ${one.decision}`),
    policyDigest: setup.policy.digest,
    mode: setup.mode,
    statements: analysis.statements,
    estimates: analysis.statements.map((_, place) => answers[place]?.estimate ?? null),
    errorPosition: analysis.syntaxError?.position ?? null,
    catalog: setup.connected?.catalog ?? null,
    limits: setup.limits,
  };
  const rejected = await rejection(setup, analysis, sql);
  if (rejected !== null)
    return { ...shown, decision: 'deny', rule: 'default:unparsed', reasons: [...analysis.reasons, rejected] };
  return { ...shown, decision: decision.decision, rule: decision.rule, reasons: decision.reasons };
}

/** As the proxy does: the server is asked where the statement would not run, and an answer could change that. */
async function withServerAnswers(
  { connected, context, policy, mode }: ExplainerSetup,
  sql: Buffer,
  analyseWith: (answers: Answers) => Analysis,
): Promise<Analysis> {
  const first = analyseWith([]);
  if (connected === null || decide(first, context, policy, mode).decision === 'allow') return first;
  const again = (answers: Answers) => Promise.resolve(analyseWith(answers));
  // Without an answer it is judged without: held.
  return (await clarify(sql, first, null, connected.questions, again, () => undefined)) ?? first;
}

/** A mistake is left to the server: where it rejects the text as well (or cannot be asked), nobody is. */
async function rejection(setup: ExplainerSetup, analysis: Analysis, sql: Buffer): Promise<string | null> {
  if (analysis.syntaxError?.cause !== 'syntax') return null;
  if (setup.connected === null) return 'without a database to ask, the server is taken to reject it, too';
  try {
    const objection = await setup.connected.probe(sql);
    // Several commands are not allowed in one Parse: the text was read, so it is no mistake.
    if (objection === null || objection.routine === 'exec_parse_message') return null;
    return `the server rejects it, too: ${objection.message} (${objection.code})`;
  } catch {
    return null;
  }
}

/** Lines in, lines out, in the same order; a line that cannot be read gives `{"id":null,"error":…}` in its place. */
export async function explainLines(
  explainer: Explainer,
  input: NodeJS.ReadableStream,
  write: (line: string) => unknown,
): Promise<void> {
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (line.trim() === '') continue;
    write(`${JSON.stringify(await explainLine(explainer, line))}\n`);
  }
}

async function explainLine(explainer: Explainer, line: string): Promise<object> {
  let asked: unknown;
  try {
    asked = JSON.parse(line);
  } catch (error) {
    return { id: null, error: `not JSON: ${(error as Error).message}` };
  }
  if (typeof asked !== 'object' || asked === null) return { id: null, error: 'expected {"id":…,"sql":"…"}' };
  const { id, sql } = asked as { id?: unknown; sql?: unknown };
  if (id === undefined || typeof sql !== 'string') return { id: null, error: 'expected {"id":…,"sql":"…"}' };
  const { class: class_, decision, rule, reasons } = await explainer.explain(sql);
  return { id, class: class_, decision, rule, reasons };
}

async function setupFrom(options: Options, connect: ConnectCatalog): Promise<ExplainerSetup> {
  const config = options.config === undefined ? null : await loadConfig(options.config, process.env);
  const agent = config?.agents.find(({ name }) => name === options.agent) ?? null;
  if (config !== null && options.agent !== undefined && agent === null)
    throw new CliError('cli_unknown_agent', `explain: ${options.config} has no agent ${options.agent}`);
  const searchPath = options.searchPath === undefined ? null : schemasOf(options.searchPath);
  const connected =
    options.upstream === undefined
      ? null
      : await connect(options.upstream, {
          ...(options.role === undefined ? {} : { role: options.role }),
          searchPath,
          ...(config === null ? {} : knownBy(config)),
        });
  return {
    policy: config?.policy ?? { digest: '', rules: [] },
    limits: config?.limits ?? DEFAULT_LIMITS,
    mode: config?.mode ?? 'enforce',
    secondOpinion: config?.analysis.secondOpinion ?? 'off',
    context: {
      agent: options.agent ?? '',
      owner: agent?.owner ?? null,
      database: options.upstream === undefined ? '' : databaseOf(options.upstream),
      role: options.role ?? agent?.upstream.user ?? '',
      at: nowMicros(),
    },
    connected,
    searchPath: searchPath ?? ['public'],
  };
}

/** What the configuration adds to what a database says of itself. */
function knownBy({ functions, tags, limits }: Config): Partial<ConnectOptions> {
  return { functions, tags, limits, probeMs: limits.probeMs };
}

/** As in `SET search_path`: names with commas between, folded to lower case unless quoted. */
export function schemasOf(path: string): string[] {
  return [...path.matchAll(/\s*(?:"((?:[^"]|"")*)"|([^,"]*))\s*(?:,|$)/g)]
    .map(([, quoted, bare]) => quoted?.replaceAll('""', '"') ?? (bare ?? '').trim().toLowerCase())
    .filter((name) => name !== '');
}

function databaseOf(url: string): string {
  try {
    return decodeURIComponent(new URL(url).pathname.slice(1));
  } catch {
    return '';
  }
}

/** Connects where it is first needed, so that nobody else loads the driver. */
export const connectLazily: ConnectCatalog = async (server, options) => {
  const [{ connectCatalog }, { readingJudgement }] = await Promise.all([
    import('../catalog/connect.ts'),
    import('../catalog/reading.ts'),
  ]);
  // Bodies of user functions are read when they are first needed.
  const limits = options.limits ?? DEFAULT_LIMITS;
  const analyser = await loadAnalyser(limits);
  const judgement = readingJudgement(analyser, limits, options.functions);
  try {
    const connected = await connectCatalog(server, { ...options, judgement });
    return {
      ...connected,
      close: async () => {
        await connected.close();
        await analyser.close();
      },
    };
  } catch (error) {
    await analyser.close();
    throw error;
  }
};
