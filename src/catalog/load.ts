import { createHash } from 'node:crypto';
import type pg from 'pg';
import type { Catalog } from '../statement/catalog.ts';
import { estimateRows } from './estimate.ts';
import { type CatalogJudgement, DEFAULT_JUDGEMENT } from './judgement.ts';
import { readCatalog } from './read.ts';
import { FIRST_USER_OID } from './rows.ts';
import { ScopedCatalogs } from './scoped.ts';
import { decodeSnapshot, type Snapshot } from './snapshot.ts';
import type { TagRule } from './tags.ts';

/**
 * Reads the upstream database's catalog in one snapshot (PostgreSQL 14 to 18) and decodes it. The client must be idle
 * and outside a transaction; it is left so. Rows become objects here; a relation's effects are worked out when it is
 * first looked up, and kept. Throws what `pg` throws.
 */
export async function loadCatalog(
  client: pg.ClientBase,
  judgement: CatalogJudgement = DEFAULT_JUDGEMENT,
  tags: readonly TagRule[] = [],
): Promise<Catalog> {
  return (await loadScoped(client, judgement, tags)).anywhere();
}

/** As `loadCatalog`, with a way to what stands behind the answers. */
export async function loadScoped(
  client: pg.ClientBase,
  judgement: CatalogJudgement,
  tags: readonly TagRule[] = [],
): Promise<ScopedCatalogs> {
  const raw = await readCatalog(client);
  const snapshot = await decodeSnapshot(raw);
  judgement.inspect?.([...snapshot.functions.values()]);
  const scoped = new ScopedCatalogs(snapshot, judgement, tags);
  scoped.objects = raw.objects.slice(0, 32);
  scoped.version = await versionOf(snapshot, raw.digest, scoped);
  return scoped;
}

/** Changes with every row that was read, and with the estimated sizes. */
async function versionOf(snapshot: Snapshot, digest: string, scoped: ScopedCatalogs): Promise<string> {
  const hash = createHash('sha256').update(digest);
  let work = 0;
  for (const row of snapshot.relations.values()) {
    if (row.oid >= FIRST_USER_OID)
      hash.update(`${row.oid}:${estimateRows(snapshot, row.oid, (r) => scoped.columns(r))};`);
    if (++work % 1_000 === 0) await new Promise((next) => setImmediate(next));
  }
  return hash.digest('hex').slice(0, 32);
}
