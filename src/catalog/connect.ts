import pg from 'pg';
import type { ListedFunction } from '../config/config.ts';
import type { Limits } from '../config/limits.ts';
import type { NameScope } from '../statement/analysis.ts';
import type { Catalog } from '../statement/catalog.ts';
import type { ServerQuestions } from './clarify.ts';
import { type CatalogJudgement, DEFAULT_JUDGEMENT } from './judgement.ts';
import { loadCatalog } from './load.ts';
import { formatSearchPath, openSideConnection, type ServerError } from './side.ts';
import type { TagRule } from './tags.ts';

export type ConnectedCatalog = {
  readonly catalog: Catalog;
  /** What bare names mean on that connection. */
  readonly scope: NameScope;
  /** Would the server reject this text, with names resolved by `scope`? See `SideConnection.probe`. */
  readonly probe: (sql: Buffer | string) => Promise<ServerError | null>;
  /** The same connection, for `clarify`. */
  readonly questions: ServerQuestions;
  readonly close: () => Promise<void>;
};

export type ConnectOptions = {
  /** Judge as this role: `SET ROLE`, which the URL's user must be allowed to. */
  readonly role?: string;
  /** Schemas, or null and absent: the connection's own path. Parts that do not exist are dropped, `$user` is resolved. */
  readonly searchPath?: readonly string[] | null;
  readonly probeMs?: number;
  readonly judgement?: CatalogJudgement;
  readonly tags?: readonly TagRule[];
  /** For whoever makes the judgement: functions that a person vouches for. */
  readonly functions?: readonly ListedFunction[];
  /** Likewise: how much a body may give back, and how long it may be. */
  readonly limits?: Limits;
};

/** One look at a database, for `countersign explain --upstream`. Throws what `pg` throws when it cannot connect. */
export async function connectCatalog(
  server: string | pg.ClientConfig,
  options: ConnectOptions = {},
): Promise<ConnectedCatalog> {
  const connect = async () => {
    const config = typeof server === 'string' ? { connectionString: server } : server;
    const client = new pg.Client({ ...config, application_name: 'countersign explain' });
    await client.connect();
    if (options.role !== undefined) await client.query(`SET ROLE ${client.escapeIdentifier(options.role)}`);
    return client;
  };
  const client = await connect();
  let scope: NameScope;
  let catalog: Catalog;
  try {
    if (options.searchPath != null)
      await client.query(`SELECT pg_catalog.set_config('search_path', $1, false)`, [
        formatSearchPath(options.searchPath),
      ]);
    scope = await nameScope(client);
    catalog = await loadCatalog(client, options.judgement ?? DEFAULT_JUDGEMENT, options.tags);
  } finally {
    await client.end();
  }
  const side = openSideConnection({ connect, limits: { probeMs: options.probeMs ?? 2_000 } });
  return {
    catalog,
    scope,
    probe: (sql) => side.probe(sql, scope.searchPath),
    questions: side,
    close: () => side.close(),
  };
}

/**
 * The schemas that bare names are looked up in, as the server resolves its search_path now. Unknown (null) where
 * pg_catalog or pg_temp stand in it by name and not in front, because then they are not looked at first.
 */
export async function nameScope(client: pg.ClientBase): Promise<NameScope> {
  const result = await client.query<[string]>({
    text: 'SELECT pg_catalog.array_to_json(pg_catalog.current_schemas(false))::pg_catalog.text',
    rowMode: 'array',
  });
  const schemas = JSON.parse(result.rows[0]?.[0] ?? '[]') as string[];
  const implicit = (name: string) => name === 'pg_catalog' || name.startsWith('pg_temp');
  const named = schemas.filter((name) => !implicit(name));
  const inFront = schemas.slice(0, schemas.length - named.length).every(implicit);
  return { searchPath: inFront ? named : null, tempPossible: false };
}
