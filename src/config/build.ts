import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { rootCertificates } from 'node:tls';
import type { Policy } from '../policy/rule.ts';
import { buildAuth, buildPersonJwt } from './build-auth.ts';
import { buildKeys } from './build-keys.ts';
import { buildWebhooks } from './build-webhooks.ts';
import type {
  Agent,
  AnchorPlace,
  ApiKey,
  Config,
  ListedFunction,
  ServerTls,
  SlackConfig,
  UpstreamAddress,
  UpstreamTls,
} from './config.ts';
import type { Parsed, Path } from './document.ts';
import { throwIfAny } from './errors.ts';
import { DEFAULT_LIMITS, type Limits } from './limits.ts';
import type { HostPort } from './overrides.ts';
import { formatPostgresUrl, type PostgresUrl } from './postgres-url.ts';
import { Reader } from './reader.ts';
import type { ConfigShape } from './schema.ts';

type Agents = ConfigShape['agents'];

/**
 * From the checked form to the configuration: secrets are fetched, URLs and addresses read. Everything is tried, so
 * that the `ConfigError` names all that is wrong.
 */
export async function buildConfig(
  parsed: Parsed<ConfigShape>,
  policy: Policy,
  functions: readonly ListedFunction[],
  directory: string,
  env: NodeJS.ProcessEnv,
): Promise<Config> {
  const reader = new Reader(parsed, directory, env);
  const shape = parsed.value;
  const dataDirectory = resolve(directory, shape.dataDirectory);
  const http = reader.address(['http', 'address'], shape.http.address);
  const config: Config = {
    version: 1,
    mode: shape.mode,
    listen: {
      ...reader.address(['listen', 'address'], shape.listen.address),
      tls: await serverTls(reader, shape.listen.tls),
    },
    http: {
      ...http,
      publicUrl: (shape.http.publicUrl ?? defaultPublicUrl(http)).replace(/\/+$/, ''),
      trustedProxies: shape.http.trustedProxies,
      apiKeys: await apiKeys(reader, shape.http.apiKeys),
      jwt: await buildPersonJwt(reader, ['http', 'jwt'], shape.http.jwt),
    },
    upstream: await upstream(reader, shape.upstream),
    audit: {
      url: formatPostgresUrl(
        await reader.databaseUrl(
          ['audit', 'url'],
          shape.audit.url,
          ['audit', 'password'],
          shape.audit.password,
        ),
      ),
      adminUrl: await optionalUrl(reader, shape.audit, 'adminUrl', 'adminPassword'),
      readUrl: await optionalUrl(reader, shape.audit, 'readUrl', 'readPassword'),
      durability: shape.audit.durability,
      schema: shape.audit.schema,
      origin: shape.audit.origin,
      anchors: await anchors(reader, shape.audit.anchors),
      retentionDays: shape.audit.retention === undefined ? null : Number.parseInt(shape.audit.retention, 10),
      parameters: shape.audit.parameters,
    },
    agents: await agents(reader, shape.agents),
    people: shape.people,
    retiredPasskeys: shape.retiredPasskeys.map(({ person, key, retired }) => ({
      person,
      key,
      retiredAt: retired,
    })),
    groups: shape.groups.map(({ name, slackUserGroup }) => ({
      name,
      slackUserGroup: slackUserGroup ?? null,
    })),
    policy,
    analysis: { secondOpinion: shape.analysis.second_opinion },
    functions,
    limits: { ...DEFAULT_LIMITS, ...(shape.limits as Partial<Limits>) },
    tags: shape.tags.map(({ relation, column, tags }) => ({
      relation,
      ...(column === undefined ? {} : { column }),
      tags,
    })),
    budgets: shape.budgets.map(({ name, agent, tag, rows, bytes, per }) => ({
      name,
      agents: agent ?? null,
      tag: tag ?? null,
      rows: rows ?? null,
      bytes: bytes ?? null,
      windowMs: per,
    })),
    slack: await slack(reader, shape.slack),
    webhooks: await buildWebhooks(reader, shape.webhooks),
    keys: await buildKeys(reader, shape.keys, directory, dataDirectory),
    dataDirectory,
  };
  if (reader.problems.length === 0) checkReader(reader, config.audit);
  throwIfAny(reader.problems);
  return config;
}

async function serverTls(reader: Reader, tls: ConfigShape['listen']['tls']): Promise<ServerTls | null> {
  if (tls === undefined) return null;
  return {
    cert: await reader.file(['listen', 'tls', 'cert'], tls.cert),
    key: await reader.secret(['listen', 'tls', 'key'], tls.key),
    required: tls.required,
    clientCa:
      tls.clientCa === undefined ? null : await reader.file(['listen', 'tls', 'clientCa'], tls.clientCa),
  };
}

async function apiKeys(reader: Reader, keys: ConfigShape['http']['apiKeys']): Promise<ApiKey[]> {
  return Promise.all(
    keys.map(async ({ name, automation, person, owner, scopes, expires, token, sha256 }, index) => {
      const key = {
        name,
        // The form has checked that one of the two is there.
        person: person ?? automation ?? name,
        ...(owner === undefined ? {} : { owner }),
        ...(scopes === undefined ? {} : { scopes }),
        ...(expires === undefined ? {} : { expiresAt: expires }),
      };
      if (sha256 !== undefined || token === undefined) return { ...key, sha256: sha256 ?? '' };
      const text = await reader.secret(['http', 'apiKeys', index, 'token'], token);
      return { ...key, sha256: createHash('sha256').update(text).digest('hex') };
    }),
  );
}

/** The database's address; problems are in the reader. */
export async function upstream(reader: Reader, shape: ConfigShape['upstream']): Promise<UpstreamAddress> {
  const url = await reader.databaseUrl(
    ['upstream', 'url'],
    shape.url,
    ['upstream', 'password'],
    shape.password,
  );
  const { host, port, database, user, password } = url;
  return { host, port, database, user, password, tls: await upstreamTls(reader, shape.tls, url) };
}

async function upstreamTls(
  reader: Reader,
  tls: ConfigShape['upstream']['tls'],
  url: PostgresUrl,
): Promise<UpstreamTls> {
  const mode = tls?.mode ?? url.sslmode ?? 'disable';
  if (mode === 'disable' || mode === 'require') return { mode };
  const file = tls?.ca ?? url.sslrootcert;
  const ca =
    file === null
      ? rootCertificates.join('\n')
      : await reader.file(tls?.ca === undefined ? ['upstream', 'url'] : ['upstream', 'tls', 'ca'], file);
  return { mode, ca };
}

async function optionalUrl(
  reader: Reader,
  audit: ConfigShape['audit'],
  key: 'adminUrl' | 'readUrl',
  passwordKey: 'adminPassword' | 'readPassword',
): Promise<string | null> {
  const [given, password] = [audit[key], audit[passwordKey]];
  if (given !== undefined)
    return formatPostgresUrl(
      await reader.databaseUrl(['audit', key], given, ['audit', passwordKey], password),
    );
  if (password !== undefined)
    reader.fail('config_missing_key', ['audit', key], `missing; ${passwordKey} belongs to it`);
  return null;
}

async function anchors(reader: Reader, shapes: ConfigShape['audit']['anchors']): Promise<AnchorPlace[]> {
  return Promise.all(
    shapes.map(async ({ file, database, password, webhook }, index): Promise<AnchorPlace> => {
      const path: Path = ['audit', 'anchors', index];
      if (file !== undefined) return { kind: 'file', path: reader.path(file) };
      if (webhook !== undefined) return { kind: 'webhook', url: webhook, name: new URL(webhook).host };
      const url = await reader.databaseUrl(
        [...path, 'database'],
        database ?? '',
        [...path, 'password'],
        password,
      );
      return {
        kind: 'database',
        url: formatPostgresUrl(url),
        name: `${url.host}:${url.port}/${url.database}`,
      };
    }),
  );
}

/** Who searches the log has no right to change it. */
function checkReader(reader: Reader, { readUrl, url, adminUrl }: Config['audit']): void {
  if (readUrl === null || readUrl === undefined) return;
  const userOf = (text: string) => new URL(text).username;
  if ([url, adminUrl ?? url].some((other) => userOf(other) === userOf(readUrl)))
    reader.fail(
      'config_invalid_value',
      ['audit', 'readUrl'],
      'expected the auditor role, which reads the views and no more, not the one that writes or migrates',
    );
}

async function agents(reader: Reader, shapes: Agents): Promise<Agent[]> {
  return Promise.all(
    shapes.map(async ({ name, auth, owner, upstream }, index) => {
      const path: Path = ['agents', index];
      const password = await reader.optionalSecret([...path, 'upstream', 'password'], upstream.password);
      return {
        name,
        auth: await buildAuth(reader, [...path, 'auth'], name, auth),
        owner,
        upstream: { user: upstream.user, password },
      };
    }),
  );
}

async function slack(reader: Reader, shape: ConfigShape['slack']): Promise<SlackConfig | null> {
  if (shape === undefined) return null;
  return {
    mode: shape.mode,
    botToken: await reader.secret(['slack', 'botToken'], shape.botToken),
    appToken: await reader.optionalSecret(['slack', 'appToken'], shape.appToken),
    signingSecret: await reader.optionalSecret(['slack', 'signingSecret'], shape.signingSecret),
    teamId: shape.teamId,
    channel: shape.channel,
    apiUrl: shape.apiUrl ?? null,
  };
}

/** A listener on every address has no name of its own; people on this machine reach it by loopback. */
function defaultPublicUrl({ host, port }: HostPort): string {
  const named = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `http://${named.includes(':') ? `[${named}]` : named}:${port}`;
}
