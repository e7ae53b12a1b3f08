import type { Command } from 'commander';
import type { RequestJson } from '../channels/api/json.ts';
import { ApiError, type RequestsApi, requestsApi } from './requests-api.ts';
import { listLines, showLines, stateLine } from './requests-text.ts';

/** Where the commands read and write; the default is the process. */
export type RequestsIo = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly out: (line: string) => void;
  readonly err: (line: string) => void;
  /** Columns of the terminal on stdout; null: a pipe or a file. */
  readonly columns: number | null;
  readonly exit: (code: 0 | 1 | 2) => void;
  readonly stopped: AbortSignal | null;
};

const WATCH_MS = 2_000;

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
        if (json === true) io.out(JSON.stringify({ requests: found }));
        else for (const line of listLines(found, io.columns)) io.out(line);
      }),
    );
  requests
    .command('show')
    .description('one request, with the whole statement')
    .argument('<id>')
    .option('--json', 'the answer of the API, one line')
    .action((id: string, { json }: { json?: boolean }) =>
      run(async (api) => {
        const found = await api.get(id);
        if (json === true) io.out(JSON.stringify(found));
        else for (const line of showLines(found)) io.out(line);
      }),
    );
  for (const verdict of ['approve', 'deny'] as const) {
    requests
      .command(verdict)
      .description(verdict === 'approve' ? 'approve a request' : 'deny a request')
      .argument('<id>')
      .option('--reason <text>', 'goes into the audit log; the agent sees it on denial')
      .action((id: string, { reason }: { reason?: string }) =>
        run(async (api) => {
          const answer = await api.answer(id, verdict, reason ?? null);
          io.out(
            `${answer.id} ${answer.state}${answer.state === 'open' ? ` (${answer.approvals} of ${answer.quorum})` : ''}`,
          );
        }),
      );
  }
  requests
    .command('watch')
    .description('print requests and their changes as they come, until interrupted')
    .action(() => run((api) => watch(api, io)));
}

/** Everything live now, then every change of it. */
async function watch(api: RequestsApi, io: RequestsIo): Promise<void> {
  const known = new Map<string, string>();
  while (io.stopped?.aborted !== true) {
    const live = await api.list('live');
    const gone = [...known.keys()].filter((id) => !live.some((request) => request.id === id));
    const ended: readonly RequestJson[] = await Promise.all(gone.map((id) => api.get(id)));
    for (const request of [...live].reverse().concat(ended)) {
      if (known.get(request.id) !== request.state) io.out(stateLine(request));
      known.set(request.id, request.state);
    }
    for (const { id, state } of ended) if (state !== 'consumed') known.delete(id);
    await pause(WATCH_MS, io.stopped);
  }
}

async function runCommand(io: RequestsIo, work: (api: RequestsApi) => Promise<void>): Promise<void> {
  try {
    const url = io.env['COUNTERSIGN_URL'];
    const token = io.env['COUNTERSIGN_TOKEN'];
    if (url === undefined || token === undefined) {
      throw new ApiError(
        'configuration',
        'set COUNTERSIGN_URL (e.g. http://127.0.0.1:8080) and COUNTERSIGN_TOKEN',
        2,
      );
    }
    await work(requestsApi(url, token));
    io.exit(0);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    io.err(`countersign: ${error.message} (${error.code})`);
    io.exit(error.exitCode);
  }
}

function pause(ms: number, stopped: AbortSignal | null): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    stopped?.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function processIo(): RequestsIo {
  return {
    env: process.env,
    out: (line) => process.stdout.write(`${line}\n`),
    err: (line) => process.stderr.write(`${line}\n`),
    columns: process.stdout.isTTY ? process.stdout.columns : null,
    exit: (code) => {
      process.exitCode = code;
    },
    stopped: null,
  };
}
