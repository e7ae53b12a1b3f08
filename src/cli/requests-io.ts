import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline/promises';
import { type Paint, paintFor } from './paint.ts';

/** Where the commands read and write; `processIo` is the process. */
export type RequestsIo = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly out: (line: string) => void;
  readonly err: (line: string) => void;
  /** Columns and rows of the terminal on stdout; null: a pipe or a file. */
  readonly columns: number | null;
  readonly rows: number | null;
  readonly paint: Paint;
  /** Shows a long text page by page; null: there is no pager, or no terminal. */
  readonly page: ((text: string) => Promise<void>) | null;
  /** Asks the person at the terminal; null: nobody is there. */
  readonly ask: ((question: string) => Promise<string>) | null;
  readonly exit: (code: 0 | 1 | 2) => void;
  readonly stopped: AbortSignal | null;
};

export function processIo(): RequestsIo {
  const { stdin, stdout, env } = process;
  const terminal = stdout.isTTY === true;
  return {
    env,
    out: (line) => stdout.write(`${line}\n`),
    err: (line) => process.stderr.write(`${line}\n`),
    columns: terminal ? stdout.columns : null,
    rows: terminal ? stdout.rows : null,
    paint: paintFor(env, stdout),
    page: terminal ? (text) => page(env, text) : null,
    ask: terminal && stdin.isTTY === true ? ask : null,
    exit: (code) => {
      process.exitCode = code;
    },
    stopped: null,
  };
}

async function ask(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return await terminal.question(question);
  } catch {
    // Ctrl-C and Ctrl-D are no yes.
    return '';
  } finally {
    terminal.close();
  }
}

/** `$PAGER`, else `less -R`; where it cannot run, the text itself. */
async function page(env: RequestsIo['env'], text: string): Promise<void> {
  const command = env['PAGER'] ?? 'less -R';
  if (command.trim() === '' || command.trim() === 'cat') return void process.stdout.write(text);
  const shown = await new Promise<boolean>((done) => {
    const pager = spawn(command, {
      shell: true,
      stdio: ['pipe', 'inherit', 'inherit'],
      env: { LESS: 'FRX', ...env },
    });
    pager.on('error', () => done(false));
    // 127: the shell found no such program. Whoever leaves a pager early has seen enough.
    pager.on('close', (code) => done(code !== 127));
    pager.stdin.on('error', () => {});
    pager.stdin.end(text);
  });
  if (!shown) process.stdout.write(text);
}
