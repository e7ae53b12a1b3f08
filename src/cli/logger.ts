import { createLogger, type Logger, parseLogLevel } from '../telemetry/log.ts';
import { CliError } from './exit.ts';

/** The log of a command that stays: on stderr, for people in a terminal, JSON in a pipe. */
export function commandLogger(env: NodeJS.ProcessEnv, defaultLevel: string): Logger {
  const level = parseLogLevel(env['COUNTERSIGN_LOG_LEVEL'] || defaultLevel);
  if (level === null)
    throw new CliError(
      'bad_log_level',
      'COUNTERSIGN_LOG_LEVEL: expected trace, debug, info, warn, error, fatal or silent',
    );
  return createLogger({ level, pretty: process.stderr.isTTY === true });
}
