import { type Command, InvalidArgumentError } from 'commander';
import { SNOOZE_MINUTES } from '../approval/guard.ts';
import type { RequestJson } from '../channels/api/json.ts';
import { durationMs } from '../policy/duration.ts';
import { ApiError, apiFromEnvironment, type RequestsApi } from './requests-api.ts';
import { processIo, type RequestsIo } from './requests-io.ts';
import { answerLines, listLines, oneLine, type Screen, showLines, stateLine } from './requests-text.ts';
import { watchRequests } from './requests-watch.ts';
import { jsonLine } from './terminal-text.ts';

type VerdictOptions = {
  readonly reason?: string;
  readonly allLike?: true;
  readonly yes?: true;
  readonly json?: true;
};

/** `countersign requests …`, a client of the HTTP API. Exit: 0 done, 1 refused, 2 usage or connection. */
export function requestsCommand(program: Command, io: RequestsIo = processIo()): void {
  const requests = program
    .command('requests')
    .description('list and answer requests for approval (COUNTERSIGN_URL, COUNTERSIGN_TOKEN)');
  const run = (work: (api: RequestsApi) => Promise<void>) => runCommand(io, work);

  requests
    .command('list')
    .description('open and approved requests, or those of --state')
    .option('--state <state>', 'live, ended, all, or one state', 'live')
    .option('--json', 'the answer of the API, one line')
    .action(({ state, json }: { state: string; json?: boolean }) =>
      run(async (api) => {
        const found = await api.list(state);
        if (json === true) io.out(jsonLine({ requests: found }));
        else for (const line of listLines(found, screenOf(io))) io.out(line);
      }),
    );
  requests
    .command('show')
    .description('one request, with the whole statement')
    .argument('<id>', 'or its beginning')
    .option('--json', 'the answer of the API, one line')
    .action((id: string, { json }: { json?: boolean }) =>
      run(async (api) => {
        const found = await api.get(await api.resolve(id));
        if (json === true) io.out(jsonLine(found));
        else await show(io, found, true);
      }),
    );
  for (const verdict of ['approve', 'deny'] as const) {
    requests
      .command(verdict)
      .description(`${verdict} a request; on a terminal it is shown whole first`)
      .argument('<id>', 'or its beginning')
      .option('--reason <text>', 'goes into the audit log; the agent sees it on denial')
      .option('--all-like', `${verdict} also those that wait for the very same, each by itself`)
      .option('--yes', 'do not show and ask first')
      .option('--json', 'the answer of the API, one line')
      .action((id: string, options: VerdictOptions) =>
        run(async (api) => answer(api, io, await api.resolve(id), verdict, options)),
      );
  }
  requests
    .command('snooze')
    .description('put a request off, for yourself alone: it comes last in your lists')
    .argument('<id>', 'or its beginning')
    .requiredOption('--for <time>', 'for example 30m or 2h, at most 24h; 0: no longer', minutesOf)
    .option('--json', 'the answer of the API, one line')
    .action((id: string, options: { for: number; json?: boolean }) =>
      run(async (api) => {
        const done = await api.snooze(await api.resolve(id), options.for);
        if (options.json === true) return io.out(jsonLine(done));
        const until = done.minutes === 0 ? 'no longer put off' : `put off for ${done.minutes} min`;
        io.out(`${oneLine(done.id)} ${until}`);
      }),
    );
  requests
    .command('withdraw')
    .description('take back an approval that was not used yet')
    .argument('<id>', 'or its beginning')
    .option('--reason <text>', 'goes into the audit log')
    .option('--json', 'the answer of the API, one line')
    .action((id: string, { reason, json }: { reason?: string; json?: boolean }) =>
      run(async (api) => {
        const done = await api.withdraw(await api.resolve(id), reason ?? null);
        io.out(json === true ? jsonLine(done) : `${oneLine(done.id)} ${oneLine(done.state)}`);
      }),
    );
  requests
    .command('watch')
    .description('print requests and their changes as they come, until interrupted')
    .option('--json', 'a line of JSON each')
    .action(({ json }: { json?: boolean }) => run((api) => watch(api, io, json === true)));
}

/** On a terminal nobody approves what he has not seen; scripts say what they want by their arguments. */
async function answer(
  api: RequestsApi,
  io: RequestsIo,
  id: string,
  verdict: 'approve' | 'deny',
  { reason, allLike, yes, json }: VerdictOptions,
): Promise<void> {
  const asks = io.ask !== null && yes !== true && json !== true;
  const request = asks || allLike === true ? await api.get(id) : null;
  const all = allLike === true ? (request?.alike ?? []).slice(0, ANSWERED_TOGETHER) : [];
  if (io.ask !== null && asks && request !== null) {
    await show(io, request, false);
    const what = all.length > 1 ? `these ${all.length}, which ask for the very same` : 'this';
    const said = await io.ask(
      `${io.paint('bold', verdict === 'approve' ? 'Approve' : 'Deny')} ${what}? Type yes: `,
    );
    if (said.trim().toLowerCase() !== 'yes')
      throw new ApiError('not_confirmed', 'nothing was answered: the request is as it was', 1);
  }
  const result = await api.answer(id, verdict, reason ?? null, all);
  if (json === true) io.out(jsonLine(result));
  else for (const line of answerLines(result)) io.out(line);
  if (json !== true && typeof result.notice === 'string')
    io.err(`countersign: please note: ${oneLine(result.notice)}`);
  const refused = result.answered?.find(({ code }) => code !== null)?.code;
  if (refused != null)
    throw new ApiError(oneLine(refused), 'not all were answered: see which, and ask again', 1);
}

/** As many as the API takes at once. */
const ANSWERED_TOGETHER = 200;

function minutesOf(text: string): number {
  const ms = text === '0' ? 0 : durationMs(text);
  if (ms === null || ms > SNOOZE_MINUTES * 60_000)
    throw new InvalidArgumentError('expected a time like 30m or 2h, at most 24h, or 0');
  return Math.ceil(ms / 60_000);
}

/** Page by page where it is longer than the terminal; before a question it stays on the screen. */
async function show(io: RequestsIo, request: RequestJson, mayPage: boolean): Promise<void> {
  const lines = showLines(request, screenOf(io));
  if (mayPage && io.page !== null && io.rows !== null && lines.length >= io.rows)
    return io.page(`${lines.join('\n')}\n`);
  for (const line of lines) io.out(line);
}

async function watch(api: RequestsApi, io: RequestsIo, json: boolean): Promise<void> {
  await watchRequests(api, io.stopped ?? new AbortController().signal, {
    changed: (request, isNew) => {
      // The terminal's bell, for whoever looks elsewhere.
      const bell = isNew && request.state === 'open' && io.columns !== null && !json ? '\u0007' : '';
      io.out(json ? jsonLine(request) : bell + stateLine(request, screenOf(io)));
    },
    away: (error) =>
      io.err(error === null ? 'countersign: is back' : `countersign: ${error.message}; waiting for it`),
  });
}

const LOOPBACK: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]']);

function screenOf({ columns, paint }: RequestsIo): Screen {
  return { columns, paint, now: Date.now() };
}

async function runCommand(io: RequestsIo, work: (api: RequestsApi) => Promise<void>): Promise<void> {
  try {
    const api = apiFromEnvironment(io.env);
    const { protocol, hostname } = new URL(io.env['COUNTERSIGN_URL'] ?? '');
    if (protocol === 'http:' && !LOOPBACK.has(hostname))
      io.err(`countersign: warning: the token goes unencrypted to ${hostname}; https would keep it secret`);
    await work(api);
    io.exit(0);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    io.err(`countersign: ${error.message} (${error.code})`);
    io.exit(error.exitCode);
  }
}
