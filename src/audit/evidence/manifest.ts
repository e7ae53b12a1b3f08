/** What an evidence folder says of itself, and the sums of its files. */
export const FORM = 'countersign evidence v1';

export type EvidenceManifest = {
  readonly form: typeof FORM;
  readonly program: string;
  readonly schema: string;
  /** ISO 8601; `from` is in it, `to` is not. */
  readonly from: string;
  readonly to: string;
  /** The moment of the snapshot, by the database's clock. */
  readonly snapshot_at: string;
  /** Rows of the views that must have none; null: see `failed`. */
  readonly must_be_empty: Readonly<Record<string, number | null>>;
  /** Views that the database could not read, because of a row that no writer of ours writes. */
  readonly failed: readonly { readonly file: string; readonly sql: string; readonly error: string }[];
  /** What `countersign verify` said of the whole log in that snapshot. */
  readonly verification: {
    readonly whole: boolean;
    readonly altered: boolean;
    readonly keysFromLog: boolean;
    readonly rows: number;
    readonly streams: number;
  };
  readonly files: readonly {
    readonly file: string;
    readonly sha256: string;
    readonly rows?: number;
    /** The file with the SQL that made it. */
    readonly sql?: string;
  }[];
};

export type WrittenPart = {
  readonly file: string;
  readonly rows: number | null;
  readonly sqlFile: string | null;
  readonly bytes: number;
  readonly sha256: string;
};

/** As `sha256sum -c` reads it. */
export function sumsText(parts: readonly Pick<WrittenPart, 'file' | 'sha256'>[]): string {
  return parts.map(({ file, sha256 }) => `${sha256}  ${file}\n`).join('');
}

/** Files and their sums. Attacker-controlled: names that would leave the folder are none. Null: it is no such list. */
export function parseSums(text: string): ReadonlyMap<string, string> | null {
  const sums = new Map<string, string>();
  const lines = text.split('\n');
  if (lines.pop() !== '') return null;
  for (const line of lines) {
    const [, sha256, file] = /^([0-9a-f]{64}) {2}((?:[a-z]+\/)?[A-Za-z0-9][A-Za-z0-9._-]*)$/.exec(line) ?? [];
    if (sha256 === undefined || file === undefined || sums.has(file)) return null;
    sums.set(file, sha256);
  }
  return sums;
}

/** What checks take from a manifest. */
export type ReadManifest = {
  readonly period: { readonly from: Date; readonly to: Date };
  /** What was found of the whole log when the folder was made; null: it does not say. */
  readonly found: 'whole' | 'altered' | 'not checked' | null;
  /** Files that could not be made, with the reason. */
  readonly failed: ReadonlyMap<string, string>;
};

/** Attacker-controlled. Null: it is none of this form. */
export function parseManifest(text: string): ReadManifest | null {
  try {
    const value: unknown = JSON.parse(text);
    const time = (name: string) => new Date(String(member(value, name)));
    const [from, to] = [time('from'), time('to')];
    if (member(value, 'form') !== FORM || !(from.getTime() < to.getTime())) return null;
    return {
      period: { from, to },
      found: foundIn(member(value, 'verification')),
      failed: failedIn(member(value, 'failed')),
    };
  } catch {
    return null;
  }
}

function foundIn(verification: unknown): ReadManifest['found'] {
  const [altered, whole] = [member(verification, 'altered'), member(verification, 'whole')];
  if (typeof altered !== 'boolean' || typeof whole !== 'boolean') return null;
  return altered ? 'altered' : whole ? 'whole' : 'not checked';
}

function failedIn(failed: unknown): ReadonlyMap<string, string> {
  const list = Array.isArray(failed) ? failed : [];
  const told = list.map((one): [string, string] => [
    String(member(one, 'file')),
    String(member(one, 'error')),
  ]);
  return new Map(told.filter(([file]) => /^views\/[a-z_]+\.csv$/.test(file)));
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
