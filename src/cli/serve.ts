import type { Command } from 'commander';
import type { Config } from '../config/config.ts';
import { loadConfig, loadPolicy } from '../config/load.ts';
import { applyOverrides, type Overrides, readOverrides } from '../config/overrides.ts';
import type { Logger } from '../telemetry/log.ts';
import type { startCountersign } from './compose.ts';
import { dieOnUncaught, exitWhenIdle, watchSignals, within } from './lifetime.ts';
import { ensureListenable } from './listening.ts';
import { commandLogger } from './logger.ts';
import { addOverrides, configOption } from './options.ts';

type ServeOptions = Overrides & { readonly config: string };

/** `countersign serve`: the proxy in front of somebody's own Postgres, until a signal. */
export function serveCommand(program: Command, start: typeof startCountersign): void {
  const command = program
    .command('serve')
    .description('run the proxy as the configuration file says')
    .addOption(configOption());
  addOverrides(command).action(async (options: ServeOptions) => {
    const log = commandLogger(process.env, 'info');
    dieOnUncaught(log);
    const config = applyOverrides(
      await loadConfig(options.config, process.env),
      readOverrides(options, process.env),
    );
    await ensureListenable(config.listen, '--listen');
    await ensureListenable(config.http, '--http-listen');
    await serve(config, log, (given, logger) => start(given, logger, () => loadPolicy(options.config)));
  });
}

type Start = (config: Config, log: Logger) => ReturnType<typeof startCountersign>;

async function serve(config: Config, log: Logger, start: Start): Promise<void> {
  const signals = watchSignals(log);
  const running = await start(config, log);
  process.on('SIGHUP', () => {
    log.info('the policy is read again');
    void running.reloadPolicy();
  });
  log.info(
    {
      agents: addressText(running.agentAddress),
      http: addressText(running.httpAddress),
      mode: config.mode,
      policy: config.policy.digest,
    },
    'ready',
  );
  await signals.stopped;
  const drained = await within(running.drain(), config.limits.drainMs);
  if (!drained) log.warn({ ms: config.limits.drainMs }, 'sessions are still open; closing them');
  await running.close();
  exitWhenIdle();
}

function addressText({ host, port }: { readonly host: string; readonly port: number }): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
