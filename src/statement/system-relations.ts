import type { StatementClass } from './analysis.ts';
import { SYSTEM_RELATION_NAMES } from './builtins.ts';

type Judgement = { readonly class: StatementClass; readonly reason: string };

const HASHES: Judgement = { class: 'privilege', reason: 'holds password hashes' };
const FOREIGN: Judgement = { class: 'privilege', reason: 'holds credentials for other servers' };
const FILES: Judgement = { class: 'admin', reason: 'shows files of the server' };

/**
 * System relations that show more than the schema. All others flow: pg_roles, pg_user and pg_user_mappings hide
 * their secrets. Reviewed for PostgreSQL 10 to 18.
 */
const SENSITIVE: ReadonlyMap<string, Judgement> = new Map([
  ['pg_catalog.pg_authid', HASHES],
  ['pg_catalog.pg_shadow', HASHES],
  ['pg_catalog.pg_user_mapping', FOREIGN],
  ['pg_catalog.pg_subscription', FOREIGN],
  ['information_schema._pg_user_mappings', FOREIGN],
  ['information_schema.user_mapping_options', FOREIGN],
  ['pg_catalog.pg_largeobject', { class: 'export', reason: 'holds the bytes of all large objects' }],
  ['pg_catalog.pg_hba_file_rules', FILES],
  ['pg_catalog.pg_ident_file_mappings', FILES],
  ['pg_catalog.pg_file_settings', FILES],
  ['pg_catalog.pg_config', FILES],
]);

/** What reading a system relation means beyond a plain read; null: nothing. */
export function sensitiveSystemRelation(schema: string, name: string): Judgement | null {
  return SENSITIVE.get(`${schema}.${name}`) ?? null;
}

/** A schema that belongs to Postgres, whose relations have only what describes the database. */
export function isSystemSchema(schema: string): boolean {
  return schema === 'pg_catalog' || schema === 'information_schema';
}

/** By name alone, where no catalog is at hand. */
export function isSystemRelationName(name: string): boolean {
  return SYSTEM_RELATION_NAMES.has(name);
}
