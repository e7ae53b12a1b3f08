import type { Config } from './config.ts';
import { ConfigError } from './errors.ts';

/** What the command line and the environment may say over the file. */
export type Overrides = {
  readonly listen?: string | undefined;
  readonly httpListen?: string | undefined;
  readonly dataDir?: string | undefined;
};

export type HostPort = { readonly host: string; readonly port: number };

/** Flags win over `COUNTERSIGN_LISTEN`, `COUNTERSIGN_HTTP_LISTEN`, `COUNTERSIGN_DATA_DIR`; empty ones count as absent. */
export function readOverrides(flags: Overrides, env: NodeJS.ProcessEnv): Overrides {
  return {
    listen: flags.listen ?? (env['COUNTERSIGN_LISTEN'] || undefined),
    httpListen: flags.httpListen ?? (env['COUNTERSIGN_HTTP_LISTEN'] || undefined),
    dataDir: flags.dataDir ?? (env['COUNTERSIGN_DATA_DIR'] || undefined),
  };
}

/** The configuration with the overrides in it, frozen as before. Throws `ConfigError`. */
export function applyOverrides(config: Config, overrides: Overrides): Config {
  const listen = overrides.listen === undefined ? null : listenOption('--listen', overrides.listen);
  const http =
    overrides.httpListen === undefined ? null : listenOption('--http-listen', overrides.httpListen);
  return Object.freeze({
    ...config,
    ...(listen && { listen: Object.freeze({ ...config.listen, ...listen }) }),
    ...(http && { http: Object.freeze({ ...config.http, ...http }) }),
    ...(overrides.dataDir !== undefined && { dataDirectory: overrides.dataDir }),
  });
}

/** As `parseListen`, with an error that names the option. */
export function listenOption(name: string, value: string): HostPort {
  const parsed = parseListen(value);
  if (parsed !== null) return parsed;
  throw new ConfigError({
    code: 'config_invalid_value',
    file: 'command line or environment',
    line: null,
    key: name,
    problem: 'expected host:port, for example 127.0.0.1:6432 or [::1]:6432; port 0 means any free port',
  });
}

/** `host:port`, `[v6]:port`, or a port alone, which means loopback; null for anything else. */
export function parseListen(text: string): HostPort | null {
  const match = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):)?(\d{1,5})$/.exec(text);
  if (match === null) return null;
  const port = Number(match[3]);
  return port > 65535 ? null : { host: match[1] ?? match[2] ?? '127.0.0.1', port };
}
