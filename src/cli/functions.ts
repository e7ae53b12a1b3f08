import { readFile, writeFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { stringify } from 'yaml';
import { loadAnalyser } from '../analyser/analyser.ts';
import { statesOf } from '../catalog/function-list.ts';
import { readingJudgement } from '../catalog/reading.ts';
import { type Survey, type SurveyedFunction, surveyFunctions } from '../catalog/survey.ts';
import type { ListedFunction } from '../config/config.ts';
import { DEFAULT_LIMITS } from '../config/limits.ts';
import { loadConfig, parseFunctions } from '../config/load.ts';
import { showSql } from '../statement/visible.ts';
import { schemasOf } from './explain.ts';

type Options = {
  readonly upstream: string;
  readonly config?: string;
  readonly searchPath?: string;
  readonly all?: boolean;
  readonly yaml?: boolean;
  readonly write?: string;
};

/** `countersign functions`: what agents can reach, what it is seen to do, and the list for what nobody can prove. */
export function functionsCommand(program: Command): void {
  program
    .command('functions')
    .description(
      'show the functions that agents can reach and what each does; write the list of those to vouch for',
    )
    .addOption(new Option('--upstream <url>', 'the database').makeOptionMandatory())
    .addOption(new Option('-c, --config <file>', 'configuration file: roles of agents, and the list so far'))
    .addOption(new Option('--search-path <schemas>', 'judge as under this search_path'))
    .addOption(new Option('--all', 'also what agents do not reach'))
    .addOption(new Option('--yaml', 'print the list instead'))
    .addOption(
      new Option('--write <file>', 'write the list; what the file says already is kept while it is true'),
    )
    .action(async (options: Options) => {
      const config = options.config === undefined ? null : await loadConfig(options.config, process.env);
      const limits = config?.limits ?? DEFAULT_LIMITS;
      const list = [...(config?.functions ?? []), ...(await existing(options.write))];
      const analyser = await loadAnalyser(limits);
      try {
        const survey = await surveyFunctions(options.upstream, {
          roles: config === null ? null : [...new Set(config.agents.map(({ upstream }) => upstream.user))],
          searchPath: options.searchPath === undefined ? null : schemasOf(options.searchPath),
          judgement: readingJudgement(analyser, limits),
        });
        if (options.write !== undefined) await writeFile(options.write, listText(survey, list));
        process.stdout.write(
          options.yaml === true ? listText(survey, list) : forPeople(survey, list, options),
        );
      } finally {
        await analyser.close();
      }
    });
}

async function existing(file: string | undefined): Promise<readonly ListedFunction[]> {
  if (file === undefined) return [];
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  return text === null ? [] : parseFunctions(file, text);
}

/** By the body alone (the list not counted): proved, and no more than reading or a trigger's writing. */
function isProved({ does }: SurveyedFunction): boolean {
  return does !== null && does.class !== 'export';
}

/** What is on the list and still true, and what agents reach and nobody has looked at. */
function listText(survey: Survey, list: readonly ListedFunction[]): string {
  const kept = new Map<string, ListedFunction>();
  for (const { entry, state } of statesOf(
    list,
    survey.functions.map(({ fn }) => fn),
  ))
    if (state === 'counts' || (state === 'unknown' && !kept.has(entry.function)))
      kept.set(entry.function, entry);
  for (const one of survey.functions) {
    const { fn, why, does, reached } = one;
    if (isProved(one) || reached.length === 0 || kept.has(fn.listName)) continue;
    const note = [
      does === null ? why : does.reason,
      ...(fn.securityDefiner ? ["runs with its owner's rights"] : []),
      `reached by ${reached.join(', ')}`,
    ].join('; ');
    kept.set(fn.listName, {
      function: fn.listName,
      sha256: fn.bodyDigest,
      does: 'unknown',
      by: '',
      note: visible(note),
    });
  }
  const functions = [...kept.values()].sort((a, b) => (a.function < b.function ? -1 : 1));
  return `${HEADER}${stringify({ functions }, { lineWidth: 0 })}`;
}

const HEADER = `# Functions that are not proved to be harmless. Read each; where you vouch for it, set does to reads or writes, and by
# to who you are. "unknown" counts for nothing: calls are held. An entry counts until the function changes.
`;

function forPeople(survey: Survey, list: readonly ListedFunction[], options: Options): string {
  const states = statesOf(
    list,
    survey.functions.map(({ fn }) => fn),
  );
  const shown = survey.functions.filter(({ reached }) => options.all === true || reached.length > 0);
  const path = survey.scope.searchPath;
  const blocks = shown.map((one) => {
    const known = states.filter(({ entry }) => entry.function === one.fn.listName);
    const best = known.find(({ state }) => state === 'counts') ?? known[0];
    return block(one, best);
  });
  const missing = states
    .filter(({ state }) => state === 'missing')
    .map(({ entry }) => `listed, but not in the database: ${visible(entry.function)}\n`);
  const held = shown.filter(
    (one) =>
      !isProved(one) && !states.some((s) => s.state === 'counts' && s.entry.function === one.fn.listName),
  );
  return [
    `judged under search_path ${path === null ? '(not known)' : visible(path.join(', '))}\n\n`,
    ...blocks,
    ...missing,
    `${shown.length} functions; calls of ${held.length} are held\n`,
  ].join('');
}

function block(one: SurveyedFunction, listed: ReturnType<typeof statesOf>[number] | undefined): string {
  const { fn, does, why, reached } = one;
  const rows: [string, string][] = [
    [
      'seen',
      does === null
        ? `not proved: ${why}`
        : does.class === 'read'
          ? 'proved: reads'
          : `${proved(does.class)}: ${does.reason}`,
    ],
    ['reached', reached.length === 0 ? 'not by agents' : reached.join(', ')],
    ...(listed === undefined ? [] : [['listed', listedText(listed)] as [string, string]]),
    ...(fn.securityDefiner
      ? [['beware', "SECURITY DEFINER: it runs with its owner's rights, not the agent's"] as [string, string]]
      : []),
  ];
  return `${visible(fn.listName)}\n${rows.map(([name, value]) => `  ${name.padEnd(8)} ${visible(value)}\n`).join('')}\n`;
}

function proved(found: 'write' | 'export'): string {
  return found === 'write' ? 'proved' : 'held as an export';
}

function listedText({ entry, state }: ReturnType<typeof statesOf>[number]): string {
  const note = entry.note === '' ? '' : `: ${entry.note}`;
  switch (state) {
    case 'counts':
      return `${entry.does}, by ${entry.by}${note}`;
    case 'unknown':
      return 'unknown: nobody vouches for it';
    case 'changed':
      return `it has changed since ${entry.by === '' ? 'it was listed' : `${entry.by} listed it`}: the entry no longer counts`;
    case 'missing':
      return 'not in the database';
  }
}

/** Names, reasons and notes may come from anybody: nothing in them may hide, and each stays on its line. */
function visible(text: string): string {
  return showSql(Buffer.from(text), []).replaceAll('\n', '‹U+000A›');
}
