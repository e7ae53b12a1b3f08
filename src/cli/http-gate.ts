import { performance } from 'node:perf_hooks';
import type { AuditLog } from '../audit/entry.ts';
import { recordedSearch } from '../audit/log/recorded-search.ts';
import { openAuditSearch } from '../audit/log/search.ts';
import type { AuditSearch } from '../audit/port.ts';
import type { CredentialCheck, PersonTokens } from '../channels/api/credentials.ts';
import { clientAddress } from '../channels/api/forwarded.ts';
import type { GatePorts } from '../channels/api/gate.ts';
import { personTokens } from '../channels/api/person-tokens.ts';
import type { Config } from '../config/config.ts';
import { principalsOf } from '../config/principals.ts';
import { originOf } from '../proxy/admission.ts';
import { Allowances } from '../proxy/allowance.ts';
import { nowMicros } from '../proxy/clock.ts';
import { RefusedLogins } from '../proxy/refused-logins.ts';
import { personTokenCheck } from '../signing/person-token.ts';
import type { Logger } from '../telemetry/log.ts';

/** What stands before the HTTP API: the same measures as before the agents' port, with limits of their own. */
export function httpGate(
  config: Config,
  check: CredentialCheck,
  audit: Pick<AuditLog, 'append'>,
  log: Logger,
): { readonly gate: GatePorts; readonly close: () => Promise<void> } {
  const { limits } = config;
  const requests = new Allowances(limits.httpPerSecond, limits.httpPerAddressPerSecond);
  const credentials = new Allowances(limits.httpPerSecond, limits.httpPerCredentialPerSecond);
  const failures = new Allowances(limits.httpRefusedPerSecond, limits.httpRefusedPerAddressPerSecond);
  const refusals = new RefusedLogins({ limits, audit, log, observe: { loginRefused: () => {} } });
  return {
    gate: {
      check,
      directory: { people: principalsOf(config) },
      clientAddress: clientAddress(config.http.trustedProxies ?? []),
      allowed: {
        address: (address) => requests.take(originOf(address), performance.now()),
        credential: (name) => credentials.take(name, performance.now()),
        failure: (address) => failures.take(originOf(address), performance.now()),
      },
      refused: ({ code, message, user }, address) =>
        refusals.add({ code, message: `HTTP API: ${message}`, user, tls: false }, address),
    },
    close: async () => refusals.close(),
  };
}

/** Told of keys that end soon, so that nobody learns it from a program that no longer works. */
export function watchKeys(
  { apiKeys }: Config['http'],
  log: Pick<Logger, 'warn'>,
): { readonly state: () => string; readonly close: () => Promise<void> } {
  const tell = () => {
    for (const { name, days } of endingKeys(apiKeys, Date.now()))
      log.warn({ key: name, days }, days <= 0 ? 'an API key has expired' : 'an API key will expire');
  };
  tell();
  const timer = setInterval(tell, DAY_MS).unref();
  return {
    // Whoever asks for health has shown no credential: how many, not which.
    state: () => {
      const ending = endingKeys(apiKeys, Date.now()).length;
      return ending === 0 ? 'ok' : `${ending} expired, or will within ${WARNED_DAYS} days: see the log`;
    },
    close: async () => clearInterval(timer),
  };
}

const DAY_MS = 86_400_000;
const WARNED_DAYS = 14;

/** Keys that end within `WARNED_DAYS`, or have: days that are left, rounded up. */
export function endingKeys(
  apiKeys: Config['http']['apiKeys'],
  nowMs: number,
): readonly { readonly name: string; readonly days: number }[] {
  return apiKeys.flatMap(({ name, expiresAt }) => {
    const days = expiresAt === undefined ? Number.POSITIVE_INFINITY : Math.ceil((expiresAt - nowMs) / DAY_MS);
    return days <= WARNED_DAYS ? [{ name, days }] : [];
  });
}

/** Null: the configuration has no role as which to read the log. */
export function openSearch(
  config: Config,
  audit: Pick<AuditLog, 'append' | 'write'>,
  log: Logger,
  opened: (() => Promise<void>)[],
): AuditSearch | null {
  const { readUrl, schema } = config.audit;
  if (readUrl === null || readUrl === undefined) return null;
  const search = openAuditSearch({ url: readUrl, schema, searchMs: config.limits.auditSearchMs, log });
  opened.push(search.close);
  return recordedSearch(search, audit, () => BigInt(nowMicros()));
}

/** Null: the configuration has no issuer of theirs. */
export function tokensOfPeople(config: Config): PersonTokens | null {
  const { jwt } = config.http;
  if (jwt === undefined || jwt === null) return null;
  return personTokens(jwt, personTokenCheck(jwt, config.limits), { people: principalsOf(config) });
}
