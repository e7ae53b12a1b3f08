import { performance } from 'node:perf_hooks';
import type pg from 'pg';
import type { Catalog } from '../statement/catalog.ts';
import { catalogFingerprint } from './change-check.ts';
import { type CatalogJudgement, DEFAULT_JUDGEMENT } from './judgement.ts';
import { loadCatalog } from './load.ts';
import { destroy } from './side.ts';
import type { TagRule } from './tags.ts';

export type CatalogProvider = {
  /**
   * The catalog as it was last read or found unchanged; null where that is longer ago than `catalogStaleMs`, where it is
   * known to have changed and could not be read again, and before the first success. Null means: hold what needs it.
   * The same object as long as nothing changed.
   */
  readonly current: () => Catalog | null;
  /**
   * Reads the catalog again, from a snapshot later than this call: after DDL. Never rejects: where it could not be read
   * `current()` is null until it can.
   */
  readonly refresh: () => Promise<void>;
  readonly close: () => Promise<void>;
};

export type CatalogLog = {
  readonly info: (fields: object, message: string) => void;
  readonly warn: (fields: object, message: string) => void;
  readonly error: (fields: object, message: string) => void;
};

export type CatalogOptions = {
  /** Opens a connection to the upstream database; called again when one was lost. */
  readonly connect: () => Promise<pg.Client>;
  readonly limits: { readonly catalogRefreshMs: number; readonly catalogStaleMs: number };
  readonly log: CatalogLog;
  readonly judgement?: CatalogJudgement;
  readonly tags?: readonly TagRule[];
  /** How often changes by others are looked for, milliseconds; default 2,000. DDL outside is unknown for that long. */
  readonly checkMs?: number;
};

/** A look for changes may take this part of the time, reading again by age that part: a big catalog is read less often. */
const CHECK_SHARE = 1 / 50;
const LOAD_SHARE = 1 / 20;
/** A load or a check that takes longer is given up, with its connection. */
const GIVE_UP_MS = 90_000;

/**
 * Keeps the catalog of one upstream database: reads it now, again by age and after `refresh()`, and when the change check
 * sees that somebody altered something. Resolves after the first attempt, whether or not it succeeded (it is logged).
 */
export async function startCatalog(options: CatalogOptions): Promise<CatalogProvider> {
  const keeper = new CatalogKeeper(options);
  await keeper.refresh();
  keeper.schedule();
  return {
    current: () => keeper.current(),
    refresh: () => keeper.refresh(),
    close: () => keeper.close(),
  };
}

class CatalogKeeper {
  readonly #options: CatalogOptions;
  #client: pg.Client | null = null;
  #catalog: Catalog | null = null;
  #fingerprint = '';
  /** When the catalog was last known to be true, and last read; milliseconds of the monotonic clock. */
  #trueAt = -Infinity;
  #readAt = -Infinity;
  #readMs = 0;
  #checkMs = 0;
  #running: Promise<void> | null = null;
  #next: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(options: CatalogOptions) {
    this.#options = options;
  }

  current(): Catalog | null {
    const age = performance.now() - this.#trueAt;
    return age <= this.#options.limits.catalogStaleMs ? this.#catalog : null;
  }

  refresh(): Promise<void> {
    // One that already runs may have taken its snapshot before the caller's DDL: wait for one that starts later.
    if (this.#running === null) return this.#run(() => this.#read('asked for'));
    this.#next ??= this.#running.then(() => {
      this.#next = null;
      return this.#run(() => this.#read('asked for'));
    });
    return this.#next;
  }

  schedule(): void {
    if (this.#closed) return;
    const { checkMs = 2_000, limits } = this.#options;
    // A look that takes long comes less often, but before what is known grows stale.
    const wait = Math.max(checkMs, Math.min(this.#checkMs / CHECK_SHARE, limits.catalogStaleMs / 2));
    this.#timer = setTimeout(async () => {
      if (this.#running === null) await this.#run(() => this.#look());
      this.schedule();
    }, wait).unref();
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#catalog = null;
    const client = this.#client;
    this.#client = null;
    if (client === null) return;
    if (this.#running !== null) destroy(client);
    else await client.end().catch(() => undefined);
  }

  /** One piece of work at a time; a failure is logged, and ends the connection. */
  #run(work: () => Promise<void>): Promise<void> {
    const giveUp = setTimeout(() => this.#throwAway(), GIVE_UP_MS).unref();
    const running = work()
      .catch((error: unknown) => {
        this.#throwAway();
        if (!this.#closed)
          this.#options.log.error(
            { err: error, known: this.current() !== null },
            'catalog: upstream could not be read; what needs it is held until it can',
          );
      })
      .finally(() => {
        clearTimeout(giveUp);
        if (this.#running === running) this.#running = null;
      });
    this.#running = running;
    return running;
  }

  async #look(): Promise<void> {
    const started = performance.now();
    const { limits } = this.#options;
    if (started - this.#readAt > Math.max(limits.catalogRefreshMs, this.#readMs / LOAD_SHARE))
      return await this.#read('by age');
    const fingerprint = await catalogFingerprint(await this.#connected());
    this.#checkMs = performance.now() - started;
    if (fingerprint === this.#fingerprint) this.#trueAt = started;
    else await this.#read('changed by somebody');
  }

  async #read(why: string): Promise<void> {
    const started = performance.now();
    try {
      const client = await this.#connected();
      // Before the snapshot: a change between the two is seen as one by the next look.
      const fingerprint = await catalogFingerprint(client);
      const changed = fingerprint !== this.#fingerprint;
      const { judgement, tags } = this.#options;
      const catalog = await loadCatalog(client, judgement ?? DEFAULT_JUDGEMENT, tags);
      if (this.#closed) return;
      if (catalog.version !== this.#catalog?.version) this.#catalog = catalog;
      this.#fingerprint = fingerprint;
      this.#trueAt = started;
      this.#readAt = started;
      this.#readMs = performance.now() - started;
      if (changed)
        this.#options.log.info(
          { why, version: catalog.version, ms: Math.round(this.#readMs) },
          'catalog: read from upstream',
        );
    } catch (error) {
      // Known, or asked because believed, to have changed: the old one must not be used.
      if (why !== 'by age') this.#trueAt = -Infinity;
      throw error;
    }
  }

  async #connected(): Promise<pg.Client> {
    if (this.#closed) throw new Error('the catalog provider is closed');
    if (this.#client !== null) return this.#client;
    const client = await this.#options.connect();
    client.on('error', (error) => {
      if (this.#client !== client) return;
      this.#client = null;
      if (!this.#closed) this.#options.log.warn({ err: error }, 'catalog: the connection was lost');
    });
    this.#client = client;
    return client;
  }

  #throwAway(): void {
    if (this.#client !== null) destroy(this.#client);
    this.#client = null;
  }
}
