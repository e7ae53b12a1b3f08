import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url));

export type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

export type Running = {
  readonly process: ChildProcess;
  /** Resolves with everything on stdout once it has the text; rejects when the process ends before. */
  readonly until: (text: string) => Promise<string>;
  readonly ended: Promise<Ended>;
};

/** Starts a TypeScript file of this repository as a process. */
export function run(file: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
  const child = spawn(process.execPath, ['--import', 'tsx', file, ...args], {
    cwd: REPOSITORY,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
  });
  let stdout = '';
  let stderr = '';
  const watchers = new Set<() => void>();
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    for (const watcher of watchers) watcher();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = new Promise<Ended>((done) => child.once('close', (code) => done({ code, stdout, stderr })));
  const until = (text: string) =>
    new Promise<string>((done, failed) => {
      const look = () => {
        if (stdout.includes(text)) done(stdout);
      };
      watchers.add(look);
      look();
      ended.then(({ code }) => failed(new Error(`ended with ${code} before it said ${text}: ${stderr}`)));
    });
  return { process: child, until, ended };
}

/** Where `serve` listens, once it says that it is ready; rejects when it ends before. */
export function readyToServe({
  process: { stderr },
  ended,
}: Running): Promise<{ readonly agents: string; readonly http: string }> {
  return new Promise((done, failed) => {
    let said = '';
    const look = (text: string) => {
      said += text;
      // The last line may not be all there yet.
      const line = said.split('\n').find((one) => one.includes('"ready"') && one.endsWith('}'));
      if (line === undefined) return;
      stderr?.off('data', look);
      done(JSON.parse(line) as { agents: string; http: string });
    };
    stderr?.on('data', look);
    ended.then((end) => failed(new Error(`serve ended with ${end.code}: ${end.stderr}`)));
  });
}
