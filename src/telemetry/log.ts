import pino, { type DestinationStream, type Level, type Logger } from 'pino';
import { redactFields, scrub } from './redact.ts';

export type { Logger };

/** A place for finished lines; each ends with a line feed. */
export type LineSink = { readonly write: (line: string) => void };

export type LogOptions = {
  readonly level: Level | 'silent';
  /** Lines for people instead of JSON; for a terminal. */
  readonly pretty: boolean;
  /** Default: stderr, written synchronously, so that the last words before an exit are not lost. */
  readonly sink?: LineSink;
};

/**
 * The program's log. Values under secret-looking keys are replaced, and each finished line is scrubbed of passwords in
 * URLs, verifiers and tokens, whatever put them there.
 */
export function createLogger(options: LogOptions): Logger {
  const sink = options.sink ?? pino.destination({ dest: 2, sync: true });
  const stream: DestinationStream = {
    write: (line) => {
      const scrubbed = scrub(line);
      sink.write(options.pretty ? forPeople(scrubbed) : scrubbed);
    },
  };
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: redactFields },
      serializers: { err: errorFields, error: errorFields },
    },
    stream,
  );
}

const LEVELS: readonly string[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/** The value of COUNTERSIGN_LOG_LEVEL; null when it is none of pino's levels. Absent or empty means `info`. */
export function parseLogLevel(text: string | undefined): LogOptions['level'] | null {
  const level = (text || 'info').toLowerCase();
  return LEVELS.includes(level) ? (level as LogOptions['level']) : null;
}

/** An error's own fields may hold a whole configuration (`pg` puts it there): name, code, message and stack suffice. */
function errorFields(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { code } = error as { code?: unknown };
  return {
    type: error.name,
    message: error.message,
    ...(typeof code === 'string' && { code }),
    ...(error.cause instanceof Error && { cause: errorFields(error.cause) }),
    stack: error.stack,
  };
}

function forPeople(line: string): string {
  const { time, level, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${stringify(value)}`);
  const error = typeof err === 'object' && err !== null ? ` (${stringify(Reflect.get(err, 'message'))})` : '';
  return `${String(time).slice(11, 19)} ${String(level).padEnd(5)} ${msg ?? ''}${error}${rest.join('')}\n`;
}

function stringify(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
