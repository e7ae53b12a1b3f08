import { type Logger, LogLevel } from '@slack/bolt';
import type { SlackConfig } from '../../config/config.ts';
import type { Log } from './port.ts';

/** Slack's tokens, the ticket in a Socket Mode address, and response addresses (whoever has one can post). */
const SECRET_SHAPES = [
  /\bx(?:ox[a-z]|app)-[0-9A-Za-z-]+/g,
  /([?&](?:ticket|app_id|token)=)[^&\s"']+/g,
  /https:\/\/hooks\.slack\.com\/[^\s"']+/g,
];

/** Takes this configuration's secrets, and what looks like one of Slack's, out of a text. */
export function redactor(config: SlackConfig): (text: string) => string {
  const own = [config.botToken, config.appToken, config.signingSecret].filter(
    (secret): secret is string => secret !== null && secret !== '',
  );
  return (text) => {
    let clean = text;
    for (const secret of own) clean = clean.replaceAll(secret, '‹secret›');
    for (const shape of SECRET_SHAPES) {
      clean = clean.replace(shape, (_match, name: unknown) =>
        typeof name === 'string' ? `${name}‹secret›` : '‹secret›',
      );
    }
    return clean;
  };
}

/**
 * Bolt's logger on top of ours. Its debug lines hold whole payloads and are dropped; the rest is redacted, and errors
 * are reduced to their message: their properties hold request bodies.
 */
export function boltLogger(log: Log, redact: (text: string) => string): Logger {
  const write =
    (level: 'info' | 'warn' | 'error') =>
    (...parts: unknown[]): void => {
      log[level]({ channel: 'slack' }, redact(parts.map(asText).join(' ')));
    };
  return {
    debug: () => {},
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    setLevel: () => {},
    getLevel: () => LogLevel.INFO,
    setName: () => {},
  };
}

/** An error's own words, for a log line. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function asText(part: unknown): string {
  if (typeof part === 'string') return part;
  if (part instanceof Error) return `${part.name}: ${part.message}`;
  return typeof part;
}
