import { existsSync } from 'node:fs';
import type { Cannot, Client } from '../frame/client.ts';

const FOLDER = new URL('.', import.meta.url);
const OWN = new URL('node_modules/', FOLDER);
const ROOT = new URL('../../../node_modules/', FOLDER);

const ORM_COPY = {
  'copy-in': 'it has no COPY',
  'copy-out': 'it has no COPY',
};
const NO_COPY = {
  'copy-in': 'pg leaves COPY to pg-copy-streams',
  'copy-out': 'pg leaves COPY to pg-copy-streams',
};
const NO_CANCEL = { cancel: 'it has no cancel' };
const NO_PREPARED = { prepared: 'it prepares nothing on the server' };

/** Always there: they come with the project's own packages. */
export const basicNodeClients: readonly Client[] = [
  node('pg', 'with-pg.mjs', ['pg'], { ...NO_COPY, introspect: 'it asks the catalog nothing by itself' }),
  node('postgres.js', 'with-postgres-js.mjs', ['postgres']),
];

export const nodeClients: readonly Client[] = [
  ...basicNodeClients,
  {
    ...node('pg + cursor, streams', 'with-pg.mjs', ['pg-cursor', 'pg-query-stream', 'pg-copy-streams'], {
      introspect: 'it asks the catalog nothing by itself',
    }),
    command: ['node', 'with-pg.mjs', '--extended'],
  },
  node('drizzle', 'with-drizzle.mjs', ['drizzle-orm'], {
    ...ORM_COPY,
    ...NO_CANCEL,
    cursor: 'it has no cursors',
    introspect: 'it asks the catalog nothing at run time',
  }),
  node('knex', 'with-knex.mjs', ['knex'], {
    ...ORM_COPY,
    ...NO_PREPARED,
    cancel: 'it calls pg_cancel_backend(), which needs an approval, instead of the protocol’s cancel',
  }),
  node('typeorm', 'with-typeorm.mjs', ['typeorm', 'pg-query-stream'], {
    ...ORM_COPY,
    ...NO_CANCEL,
    ...NO_PREPARED,
  }),
  node('kysely', 'with-kysely.mjs', ['kysely', 'pg-cursor'], { ...ORM_COPY, ...NO_CANCEL, ...NO_PREPARED }),
  node('sequelize', 'with-sequelize.mjs', ['sequelize'], {
    ...ORM_COPY,
    ...NO_CANCEL,
    ...NO_PREPARED,
    cursor: 'it has no cursors',
  }),
  node('LangChain SqlDatabase', 'with-langchain.mjs', ['langchain', 'typeorm'], {
    ...ORM_COPY,
    ...NO_CANCEL,
    prepared: 'it takes text without parameters',
    cursor: 'it has no cursors',
  }),
  node('MCP server-postgres', 'with-mcp.mjs', ['@modelcontextprotocol/server-postgres'], {
    ...ORM_COPY,
    ...NO_CANCEL,
    write: 'its tool means to be read-only',
    prepared: 'it takes text without parameters',
    transaction: 'each query has a read-only one of its own',
    cursor: 'it has no cursors',
  }),
];

function node(name: string, program: string, packages: readonly string[], cannot: Cannot = {}): Client {
  return {
    name,
    folder: FOLDER,
    command: ['node', program],
    present: () => packages.every((one) => [OWN, ROOT].some((modules) => existsSync(new URL(one, modules)))),
    install: 'npm ci --prefix test/clients/node',
    cannot,
  };
}
