import { mkdirSync } from 'node:fs';
import type { Command } from 'commander';
import { type HostPort, listenOption, type Overrides, readOverrides } from '../config/overrides.ts';
import { claimDataDirectory } from '../embedded/claim.ts';
import { chooseDataDirectory } from '../embedded/data-directory.ts';
import { DEMO_PEOPLE, demoAgentUrl, demoAuditorUrl, demoConfig } from '../embedded/demo-config.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../embedded/launcher.ts';
import { provisionDemo } from '../embedded/provision.ts';
import { demoSecrets } from '../embedded/secrets.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Countersign, startCountersign } from './compose.ts';
import { dieOnUncaught, exitWhenIdle, watchSignals } from './lifetime.ts';
import { withPort } from './listening.ts';
import { commandLogger } from './logger.ts';
import { addOverrides } from './options.ts';
import { type Ready, readyJson, readyText } from './ready.ts';

type DemoOptions = Overrides & { readonly json?: boolean };

const AGENTS: HostPort = { host: '127.0.0.1', port: 6432 };
const HTTP: HostPort = { host: '127.0.0.1', port: 8432 };

/** `countersign demo`, which `npm start` runs: everything on one machine, with a sample database. */
export function demoCommand(program: Command, start: typeof startCountersign): void {
  const command = program
    .command('demo')
    .description('run the proxy on an embedded Postgres with a sample shop')
    .option('--json', 'print one line of JSON when ready, instead of text');
  addOverrides(command).action(async (options: DemoOptions) => {
    const log = commandLogger(process.env, 'warn');
    dieOnUncaught(log);
    await demo(options, log, start);
  });
}

async function demo(options: DemoOptions, log: Logger, start: typeof startCountersign): Promise<void> {
  const overrides = readOverrides(options, process.env);
  const listen = overrides.listen === undefined ? AGENTS : listenOption('--listen', overrides.listen);
  const http =
    overrides.httpListen === undefined ? HTTP : listenOption('--http-listen', overrides.httpListen);
  // Before the server boots: a taken port is known at once, and the page's address is needed for links.
  const addresses = {
    listen: await withPort(listen, '--listen (COUNTERSIGN_LISTEN)'),
    http: await withPort(http, '--http-listen (COUNTERSIGN_HTTP_LISTEN)'),
  };
  const directory = chooseDataDirectory(overrides.dataDir, process.cwd());
  process.stderr.write(`data directory: ${directory}\n`);

  const signals = watchSignals(log);
  const release = await claimDataDirectory(directory);
  const secrets = demoSecrets(directory);
  const server = await startEmbeddedPostgres({ directory, password: secrets.superuser });
  // Also when we end in a hurry: the server is a process of its own and would stay.
  const killServer = () => process.kill(server.pid, 'SIGINT');
  process.once('exit', killServer);
  let running: Countersign | null = null;
  try {
    if (!signals.requested()) await provisionDemo(server, secrets);
    if (signals.requested()) return;
    const config = demoConfig(server, secrets, { ...addresses, directory });
    mkdirSync(config.keys.directory, { recursive: true, mode: 0o700 });
    running = await start(config, log);
    const ready: Ready = {
      agentUrl: demoAgentUrl(secrets, running.agentAddress),
      auditorUrl: demoAuditorUrl(server, secrets),
      httpUrl: config.http.publicUrl,
      approverToken: secrets.approverToken,
    };
    const link = await running.signInLink(DEMO_PEOPLE.approver);
    process.stdout.write(options.json ? readyJson(ready) : readyText(ready, link));
    await Promise.race([signals.stopped, serverLost(server)]);
  } finally {
    await running?.close();
    await server.stop();
    process.off('exit', killServer);
    release();
    exitWhenIdle();
  }
}

/** The embedded server is not meant to end before we do. */
async function serverLost(server: EmbeddedPostgres): Promise<never> {
  await server.exited;
  throw new Error('the embedded Postgres ended unexpectedly');
}
