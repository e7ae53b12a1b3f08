import { Command, CommanderError } from 'commander';
import { scrub } from '../telemetry/redact.ts';
import type { startCountersign } from './compose.ts';
import { classifyError, type ExitCode } from './exit.ts';
import { programVersion } from './version.ts';

type Register = (program: Command) => void;

/** The proxy itself: its packages are loaded when the configuration is known to be good. */
const start: typeof startCountersign = async (config, log, loadPolicy) =>
  (await import('./compose.ts')).startCountersign(config, log, loadPolicy);

/** Commands by name. Each is loaded when it is asked for: `explain` must not wait for Slack's packages. */
const COMMANDS: Readonly<Record<string, () => Promise<Register>>> = {
  serve: async () => {
    const { serveCommand } = await import('./serve.ts');
    return (program) => serveCommand(program, start);
  },
  demo: async () => {
    const { demoCommand } = await import('./demo.ts');
    return (program) => demoCommand(program, start);
  },
  agent: async () => (await import('./agent.ts')).agentCommand,
  policy: async () => (await import('./policy.ts')).policyCommand,
  requests: async () => {
    const { requestsCommand } = await import('./requests.ts');
    return (program) => requestsCommand(program);
  },
  explain: async () => {
    const { explainCommand } = await import('./explain.ts');
    return (program) => explainCommand(program);
  },
  functions: async () => (await import('./functions.ts')).functionsCommand,
  verify: async () => (await import('./verify.ts')).verifyCommand,
  evidence: async () => (await import('./evidence.ts')).evidenceCommand,
  report: async () => (await import('./report.ts')).reportCommand,
  audit: async () => (await import('./audit.ts')).auditCommand,
  receipt: async () => (await import('./receipt.ts')).receiptCommand,
  webhooks: async () => (await import('./webhooks.ts')).webhooksCommand,
  keys: async () => (await import('./keys.ts')).keysCommand,
  slack: async () => (await import('./slack.ts')).slackCommand,
};

/** Runs one command line (`argv` as in `process.argv`) to its end; errors are told on stderr, scrubbed of secrets. */
export async function runCli(argv: readonly string[]): Promise<ExitCode> {
  try {
    const [, , name = ''] = argv;
    const program = await buildProgram(Object.hasOwn(COMMANDS, name) ? [name] : Object.keys(COMMANDS));
    await program.parseAsync(argv);
    return exitCodeSetByCommand();
  } catch (error) {
    return tell(error);
  }
}

/** The command tree, whole or in part. */
export async function buildProgram(names: readonly string[] = Object.keys(COMMANDS)): Promise<Command> {
  const program = new Command('countersign')
    .description('A Postgres proxy for AI agents: what could do harm waits until a person countersigns it.')
    .version(programVersion())
    .exitOverride()
    .showHelpAfterError('(--help shows what is possible)');
  for (const name of names) {
    const register = await COMMANDS[name]?.();
    register?.(program);
  }
  return program;
}

function tell(error: unknown): ExitCode {
  const { exitCode, expected } = classifyError(error);
  // Commander has written its own errors already.
  if (error instanceof CommanderError) return exitCode;
  const text = expected ? messageOf(error) : error instanceof Error ? error.stack : String(error);
  process.stderr.write(`countersign: ${scrub(text || 'failed without a message')}\n`);
  return exitCode;
}

/** Node tells a host with several addresses as one error without a message of its own. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ');
  return error instanceof Error ? error.message : String(error);
}

/** A command that is done but found something wanting sets `process.exitCode` itself. */
function exitCodeSetByCommand(): ExitCode {
  const code = Number(process.exitCode ?? 0);
  return code === 0 || code === 2 ? code : 1;
}
