/**
 * The README's transcript, made by doing it: the demo in a process of its own, psql as agent and auditor, the command
 * line as approver. What differs from run to run (ids, ports, passwords, times) is replaced.
 */
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../cli/child.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

type Ready = {
  readonly agentUrl: string;
  readonly auditorUrl: string;
  readonly httpUrl: string;
  readonly approverToken: string;
};

/** Needs psql. Takes about a quarter of a minute. */
export async function makeTranscript(): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'cs-readme-'));
  chmodSync(directory, 0o755);
  const demo = run(MAIN, [
    'demo',
    '--json',
    '--listen',
    '127.0.0.1:0',
    '--http-listen',
    '127.0.0.1:0',
    '--data-dir',
    directory,
  ]);
  try {
    const line = (await demo.until('}\n')).split('\n').find((one) => one.startsWith('{')) ?? '{}';
    return normalised(await play(JSON.parse(line) as Ready));
  } finally {
    demo.process.kill('SIGINT');
    await demo.ended;
    rmSync(directory, { recursive: true, force: true });
  }
}

async function play(ready: Ready): Promise<string> {
  const env = {
    AGENT: ready.agentUrl,
    AUDITOR: ready.auditorUrl,
    COUNTERSIGN_URL: ready.httpUrl,
    COUNTERSIGN_TOKEN: ready.approverToken,
  };
  const said: string[] = [];
  const one = async (command: string) => {
    said.push(`$ ${command}\n${await shell(command, env).output}`);
  };
  const held = async (command: string, answer: (id: string) => string) => {
    const agent = shell(command, env);
    const notice = await agent.until('HINT:');
    const id = /req_[0-9A-Za-z]+/.exec(notice)?.[0] ?? '';
    said.push(`$ ${command}\n${notice}`);
    const verdict = `npx countersign requests ${answer(id)}`;
    said.push(
      `    # meanwhile, in the approver's terminal (or on the approval page, or in Slack)\n${indented(`$ ${verdict}\n${await shell(verdict, env).output}`)}`,
    );
    const rest = (await agent.output).slice(notice.length);
    said.push(rest);
  };
  await one('psql "$AGENT" -c "SELECT name, email FROM customers WHERE id = 17"');
  await held(
    'psql "$AGENT" -c "ALTER TABLE customers ADD COLUMN note text"',
    (id) => `approve ${id} --reason "ticket 4711"`,
  );
  await held(
    'psql "$AGENT" -c "COPY payments TO STDOUT"',
    (id) => `deny ${id} --reason "no card data in prompts"`,
  );
  await one(
    'psql "$AUDITOR" -c "SELECT left(sql, 41) AS sql, class, decision, approvers, outcome, rows FROM audit.statements ORDER BY at"',
  );
  await one(
    'npx countersign verify --url "$AUDITOR" --keys "$COUNTERSIGN_URL/.well-known/jwks.json" | tail -1',
  );
  return said.map((part) => part.trimEnd()).join('\n');
}

function indented(text: string): string {
  return text.trimEnd().replace(/^/gm, '    ');
}

export type Shell = { readonly output: Promise<string>; readonly until: (text: string) => Promise<string> };

/** A command line in bash, with both its outputs; `npx countersign` is this clone's. */
export function shell(command: string, env: Record<string, string>): Shell {
  const own = command.replaceAll('npx countersign', `"${process.execPath}" --import tsx "${MAIN}"`);
  const child = spawn('bash', ['-c', `${own} 2>&1`], {
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      PSQLRC: '/dev/null',
      PGAPPNAME: 'psql',
      ...env,
    },
  });
  let text = '';
  let look = () => {};
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    look();
  });
  const output = new Promise<string>((done) => child.once('close', () => done(text)));
  return {
    output,
    // Up to the end of the line that has it.
    until: async (wanted) => {
      for (;;) {
        const at = text.indexOf(wanted);
        const end = at === -1 ? -1 : text.indexOf('\n', at);
        if (end !== -1) return text.slice(0, end + 1);
        await Promise.race([
          new Promise<void>((done) => {
            look = done;
          }),
          output.then((all) => {
            throw new Error(`ended without ${wanted}: ${all}`);
          }),
        ]);
      }
    },
  };
}

const IDS = [
  'req_5sX1mQb8TzWe6YpLr0NcVf',
  'req_7dJ3kRf2HuZa9GqBn4MwPy',
  'req_2cVb6NmQ1wErTy8UiOpLkj',
  'req_9hGf4DsA7zXcVb3NmKlPoi',
];

/** What differs from run to run, replaced by what always has the same width. */
export function normalised(text: string): string {
  const seen = new Map<string, string>();
  return text
    .replace(/req_[0-9A-Za-z]{20,26}/g, (id) => {
      if (!seen.has(id)) seen.set(id, IDS[seen.size] ?? id);
      return seen.get(id) ?? id;
    })
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, '2026-01-31T12:00:00.000Z')
    .replace(/127\.0\.0\.1:\d+/g, '127.0.0.1:8432')
    .replace(/(?<!\()\b\d+ (?:entries|rows|batches|streams|hashes|signatures)\b/g, (count) =>
      count.replace(/\d+/, 'N'),
    );
}
