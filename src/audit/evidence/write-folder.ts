import { randomBytes } from 'node:crypto';
import { lstat, mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import pg from 'pg';
import type { SignedCheckpoint } from '../checkpoints/checkpoint.ts';
import { quoteName } from '../quote-name.ts';
import type { Finding } from '../verify/finding.ts';
import type { Jwks } from '../verify/trusted-keys.ts';
import { keysInLog, type VerifyResult, verifySnapshot } from '../verify/verify-database.ts';
import { csvLine } from './csv.ts';
import { EvidenceFile } from './file.ts';
import { rowLine } from './lines.ts';
import { eachPage, logQueries } from './log.ts';
import { type EvidenceManifest, FORM, sumsText, type WrittenPart } from './manifest.ts';
import { evidenceReadme } from './readme.ts';
import { type EvidenceView, evidenceViews, type Period } from './views.ts';

export type EvidenceOptions = {
  /** The audit database, as a role that may read the views (the auditor's). */
  readonly url: string;
  readonly schema: string;
  readonly period: Period;
  /** The folder to be made; there must be nothing of that name. */
  readonly out: string;
  /** The installation's public keys. Left out: those in the log, which whoever owns the database may have put there. */
  readonly keys?: Jwks | undefined;
  /** A checkpoint that was kept elsewhere. */
  readonly checkpoint?: { readonly note: string; readonly signed: SignedCheckpoint } | undefined;
  /** Of this program. */
  readonly version: string;
};

/** What does not depend on where it is read, and where it goes. */
export type SnapshotOptions = Omit<EvidenceOptions, 'url' | 'out'>;

export type Evidence = {
  readonly manifest: EvidenceManifest;
  readonly verification: VerifyResult;
  /** Of the file of sums, which has that of every other file: written down elsewhere, it holds the folder as it is now. */
  readonly sumsSha256: string;
};

/** The folder cannot be made there. */
export class EvidenceRefused extends Error {
  override readonly name = 'EvidenceRefused';
  readonly code: 'evidence_exists';
  constructor(message: string) {
    super(message);
    this.code = 'evidence_exists';
  }
}

/**
 * Writes a folder with everything that an auditor needs of a period, from one snapshot of the database, under a
 * temporary name that becomes `out` when all of it is on disk. Memory stays flat. Throws `EvidenceRefused` where `out`
 * exists; rejects when the database cannot be read, and leaves nothing behind.
 */
export async function writeEvidence(options: EvidenceOptions): Promise<Evidence> {
  const out = resolve(options.out);
  await mustBeFree(out);
  const directory = join(dirname(out), `.${basename(out)}.${randomBytes(6).toString('hex')}`);
  await mkdir(directory, { mode: 0o700 });
  try {
    const client = new pg.Client({ connectionString: options.url, application_name: 'countersign evidence' });
    await client.connect();
    let evidence: Evidence;
    try {
      await client.query('BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY');
      evidence = await writeSnapshot(client, directory, options);
    } finally {
      await client.end();
    }
    await syncDirectory(directory);
    await mustBeFree(out);
    await rename(directory, out);
    await syncDirectory(dirname(out));
    return evidence;
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

/** The same into a folder that is there and empty, of the transaction that the caller has open, whose settings it pins. */
export function writeSnapshot(
  client: pg.Client,
  directory: string,
  options: SnapshotOptions,
): Promise<Evidence> {
  return new Writer(client, directory, options).all();
}

class Writer {
  readonly #client: pg.Client;
  readonly #directory: string;
  readonly #options: SnapshotOptions;
  readonly #parts: WrittenPart[] = [];
  readonly #failed: EvidenceManifest['failed'][number][] = [];

  constructor(client: pg.Client, directory: string, options: SnapshotOptions) {
    this.#client = client;
    this.#directory = directory;
    this.#options = options;
  }

  async all(): Promise<Evidence> {
    const { period, schema, keys, checkpoint } = this.#options;
    await this.#client.query(SETTINGS);
    for (const name of ['views', 'log', 'verification'])
      await mkdir(join(this.#directory, name), { mode: 0o700 });
    const madeAt = await this.#value('SELECT now()::text');
    const views = evidenceViews(schema, period);
    for (const view of views) await this.#view(view);
    for (const [name, sql] of Object.entries(logQueries(schema, period))) await this.#log(name, sql);
    const jwks = keys ?? (await keysInLog(this.#client, quoteName(schema)));
    await this.#text('keys.json', `${JSON.stringify(jwks, null, 2)}\n`);
    const newest = await this.#newestCheckpoint();
    if (newest !== null) await this.#text('checkpoint.txt', newest);
    if (checkpoint !== undefined) await this.#text('checkpoint-kept.txt', checkpoint.note);
    await this.#verifySql(jwks);
    const verification = await verifySnapshot(this.#client, schema, keys, checkpoint?.signed);
    await this.#text('verification/countersign.jsonl', verificationText(verification));
    return this.#finish(views, madeAt, verification);
  }

  async #finish(
    views: readonly EvidenceView[],
    madeAt: string,
    verification: VerifyResult,
  ): Promise<Evidence> {
    const { period, schema, version } = this.#options;
    const described = await this.#comments();
    const { findings: _, ...result } = verification;
    const manifest: EvidenceManifest = {
      form: FORM,
      program: `countersign ${version}`,
      schema,
      from: period.from.toISOString(),
      to: period.to.toISOString(),
      snapshot_at: madeAt,
      must_be_empty: Object.fromEntries(
        views
          .filter(({ mustBeEmpty }) => mustBeEmpty)
          .map(({ name }) => [name, this.#rowsOf(`views/${name}.csv`)]),
      ),
      failed: this.#failed,
      verification: result,
      files: this.#parts.map(({ file, rows, sha256, sqlFile }) => ({
        ...{ file, sha256 },
        ...(rows === null ? {} : { rows }),
        ...(sqlFile === null ? {} : { sql: sqlFile }),
      })),
    };
    await this.#text('manifest.json', `${JSON.stringify(manifest, null, 2)}\n`);
    await this.#text('README.md', evidenceReadme(manifest, views, described));
    const sums = await EvidenceFile.create(join(this.#directory, 'SHA256SUMS'));
    await sums.write(sumsText(this.#parts));
    const { sha256 } = await sums.close();
    return { manifest, verification, sumsSha256: sha256 };
  }

  /** A view as CSV, and the SQL that made it. */
  async #view({ name, sql }: EvidenceView): Promise<void> {
    const sqlFile = `views/${name}.sql`;
    await this.#text(sqlFile, `-- ${SETTINGS}\n${sql};\n`);
    const file = `views/${name}.csv`;
    await this.#client.query('SAVEPOINT view');
    try {
      await this.#csv(file, sql, sqlFile);
    } catch (error) {
      // A row that a view cannot read must not keep everything else from an auditor.
      if (!(error instanceof pg.DatabaseError) || !UNREADABLE.test(error.code ?? '')) throw error;
      await this.#client.query('ROLLBACK TO view');
      await rm(join(this.#directory, file));
      this.#failed.push({ file, sql: sqlFile, error: error.message });
    }
    await this.#client.query('RELEASE view');
  }

  async #csv(file: string, sql: string, sqlFile: string | null): Promise<void> {
    let texts: boolean[] = [];
    await this.#part(file, sqlFile, async (written) => {
      let rows = 0;
      await eachPage<(string | null)[]>(
        this.#client,
        sql,
        true,
        async (fields) => {
          texts = fields.map(({ dataTypeID }) => !PLAIN_TYPES.has(dataTypeID));
          await written.write(csvLine(fields.map((field) => field.name)));
        },
        async (page) => {
          for (const row of page) await written.write(csvLine(row, texts));
          rows += page.length;
        },
      );
      return rows;
    });
  }

  /** A part of the raw log as lines of JSON. */
  async #log(name: string, sql: string): Promise<void> {
    const sqlFile = `log/${name}.sql`;
    await this.#text(sqlFile, `-- ${SETTINGS}\n${sql};\n`);
    let names: string[] = [];
    await this.#part(`log/${name}.jsonl`, sqlFile, async (written) => {
      let rows = 0;
      await eachPage<unknown[]>(
        this.#client,
        sql,
        false,
        async (fields) => {
          names = fields.map((field) => field.name);
        },
        async (page) => {
          for (const row of page) await written.write(rowLine(names, row));
          rows += page.length;
        },
      );
      return rows;
    });
  }

  /** What the schema's own verify() says, with the same keys and checkpoint. */
  async #verifySql(jwks: Jwks): Promise<void> {
    const { schema, checkpoint, period } = this.#options;
    const literal = (text: string) => this.#client.escapeLiteral(text);
    const sql = [
      `SELECT * FROM ${quoteName(schema)}.verify("from" => '${period.from.toISOString()}', "to" => '${period.to.toISOString()}',`,
      `  keys => ${literal(JSON.stringify(jwks))}${checkpoint === undefined ? '' : `,\n  checkpoint => ${literal(checkpoint.note)}`})`,
    ].join('\n');
    await this.#text('verification/sql.sql', `${sql};\n`);
    await this.#csv('verification/sql.csv', sql, 'verification/sql.sql');
  }

  async #newestCheckpoint(): Promise<string | null> {
    const { rows } = await this.#client.query<{ note: string }>(
      `SELECT note FROM ${quoteName(this.#options.schema)}.checkpoints ORDER BY size DESC LIMIT 1`,
    );
    return rows[0]?.note ?? null;
  }

  /** What each view is, in the words of its own comment. */
  async #comments(): Promise<ReadonlyMap<string, string>> {
    const { rows } = await this.#client.query<{ name: string; comment: string }>(
      `SELECT c.relname AS name, obj_description(c.oid, 'pg_class') AS comment FROM pg_class c
        WHERE c.relnamespace = $1::regnamespace AND obj_description(c.oid, 'pg_class') IS NOT NULL`,
      [quoteName(this.#options.schema)],
    );
    return new Map(rows.map(({ name, comment }) => [name, comment.replace(/\s+/g, ' ')]));
  }

  async #value(sql: string): Promise<string> {
    const { rows } = await this.#client.query<string[]>({ text: sql, rowMode: 'array' });
    return rows[0]?.[0] ?? '';
  }

  /** Null: it could not be made. */
  #rowsOf(file: string): number | null {
    return this.#parts.find((part) => part.file === file)?.rows ?? null;
  }

  async #text(file: string, text: string): Promise<void> {
    await this.#part(file, null, async (written) => {
      await written.write(text);
      return null;
    });
  }

  async #part(
    file: string,
    sqlFile: string | null,
    fill: (written: EvidenceFile) => Promise<number | null>,
  ): Promise<void> {
    const written = await EvidenceFile.create(join(this.#directory, file));
    let rows: number | null = null;
    let done: Awaited<ReturnType<EvidenceFile['close']>>;
    try {
      rows = await fill(written);
    } finally {
      done = await written.close();
    }
    this.#parts.push({ file, rows, sqlFile, ...done });
  }
}

async function mustBeFree(path: string): Promise<void> {
  const there = await lstat(path).then(
    () => true,
    () => false,
  );
  if (there)
    throw new EvidenceRefused(`${path} exists: evidence is never written over something; give another --out`);
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function verificationText({ findings, ...result }: VerifyResult): string {
  const shown = (finding: Finding) => ({
    ...finding,
    seq: finding.seq === null ? null : String(finding.seq),
  });
  return [...findings.map(shown), result].map((one) => `${JSON.stringify(one)}\n`).join('');
}

/** Whatever the role's own settings are: names mean pg_catalog's, and values have one form. */
const SETTINGS = `SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL bytea_output = 'hex'; SET LOCAL statement_timeout = 0`;

/** Codes of data that cannot be read: classes 21, 22 and 54 (cardinality, data, program limits). */
const UNREADABLE = /^(?:21|22|54)/;

/** Types whose text is never one that others chose: boolean, numbers, bytes, times and intervals. */
const PLAIN_TYPES = new Set([16, 17, 20, 21, 23, 26, 700, 701, 1700, 1082, 1083, 1114, 1184, 1186, 1266]);
