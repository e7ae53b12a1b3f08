import { performance } from 'node:perf_hooks';
import type { AuditLog } from '../audit/entry.ts';
import type { CredentialCheck, PersonTokens } from '../channels/api/credentials.ts';
import type { GatePorts } from '../channels/api/gate.ts';
import { personTokens } from '../channels/api/person-tokens.ts';
import type { Config } from '../config/config.ts';
import { principalsOf } from '../config/principals.ts';
import { originOf } from '../proxy/admission.ts';
import { Allowances } from '../proxy/allowance.ts';
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

/** Null: the configuration has no issuer of theirs. */
export function tokensOfPeople(config: Config): PersonTokens | null {
  const { jwt } = config.http;
  if (jwt === undefined || jwt === null) return null;
  return personTokens(jwt, personTokenCheck(jwt, config.limits), { people: principalsOf(config) });
}
