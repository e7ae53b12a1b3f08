import { join } from 'node:path';
import type { Row } from '../chain/canonical.ts';
import type { StoredRow } from '../verify/verify.ts';
import { parseCsv, textOfCell } from './csv.ts';
import { linesOf } from './file.ts';
import type { Period } from './views.ts';

export type StatementProblem = {
  readonly line: number | null;
  readonly stream: string | null;
  readonly seq: bigint | null;
  readonly detail: string;
};

type Cells = ReadonlyMap<string, string | null>;
type Record = { readonly cells: Cells; readonly line: number };

/**
 * Holds `views/statements.csv` against the entries that it was made from, both in the order of streams and rows: a row
 * for each statement of the period, and in it what its entries say. Memory: statements whose outcome has not come yet.
 */
export class EvidenceStatements {
  readonly #records: AsyncGenerator<Record>;
  readonly #fromUs: bigint;
  readonly #toUs: bigint;
  readonly #found: (problem: StatementProblem) => void;
  #next: Record | null = null;
  #ended = false;
  #stream = '';
  readonly #open = new Map<string, Record>();

  constructor(directory: string, { from, to }: Period, found: (problem: StatementProblem) => void) {
    this.#records = recordsOf(join(directory, STATEMENTS));
    this.#fromUs = BigInt(from.getTime()) * 1000n;
    this.#toUs = BigInt(to.getTime()) * 1000n;
    this.#found = found;
  }

  async entry({ row, content }: StoredRow): Promise<void> {
    if (row.stream !== this.#stream) this.#endStream(row.stream);
    const key = `${row.session_id} ${row.statement_no}`;
    if (row.kind === 'outcome') {
      const record = this.#open.get(key);
      this.#open.delete(key);
      if (record !== undefined) this.#compare(record, outcomeCells(row));
    }
    if (row.kind !== 'intent' || row.at < this.#fromUs || row.at >= this.#toUs) return;
    const record = await this.#recordOf(row);
    if (record === null) {
      this.#found({ line: null, stream: row.stream, seq: row.seq, detail: 'this statement is not in it' });
      return;
    }
    this.#compare(record, { ...intentCells(row), sql: content?.sql ?? null });
    this.#open.set(key, record);
  }

  async end(): Promise<void> {
    this.#endStream('');
    for (let record = await this.#peek(); record !== null; record = await this.#peek()) {
      this.#next = null;
      this.#stray(record);
    }
  }

  /** The row for that entry; those before it are of no entry. Null: there is none. */
  async #recordOf({ stream, seq }: Row): Promise<Record | null> {
    for (let record = await this.#peek(); record !== null; record = await this.#peek()) {
      const [inStream = '', at] = [record.cells.get('stream') ?? '', numberOf(record.cells.get('seq'))];
      if (inStream > stream || (inStream === stream && at > seq)) return null;
      this.#next = null;
      if (inStream === stream && at === seq) return record;
      this.#stray(record);
    }
    return null;
  }

  #compare({ cells, line }: Record, wanted: Readonly<{ [name: string]: string | null }>): void {
    for (const [name, value] of Object.entries(wanted)) {
      const shown = cells.get(name) ?? null;
      if ((shown === null ? null : textOfCell(shown)) === value) continue;
      this.#found({ line, ...placeOf(cells), detail: `${name} is not what the entry says` });
    }
  }

  #endStream(stream: string): void {
    for (const { cells, line } of this.#open.values())
      if ((cells.get('outcome') ?? cells.get('outcome_seq') ?? null) !== null)
        this.#found({ line, ...placeOf(cells), detail: 'there is no entry of its outcome' });
    this.#open.clear();
    this.#stream = stream;
  }

  #stray({ cells, line }: Record): void {
    this.#found({ line, ...placeOf(cells), detail: 'there is no entry of this statement in the period' });
  }

  async #peek(): Promise<Record | null> {
    if (this.#next !== null || this.#ended) return this.#next;
    try {
      const { done, value } = await this.#records.next();
      this.#ended = done === true;
      this.#next = done === true ? null : value;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#ended = true;
      this.#found({ line: null, stream: null, seq: null, detail: `it cannot be read: ${error.message}` });
    }
    return this.#next;
  }
}

function intentCells(row: Row): { [name: string]: string | null } {
  const { session_id, agent, owner, on_behalf_of, run, database, role, decision, rule, policy_digest } = row;
  return {
    ...{ session_id, agent, owner, on_behalf_of, run, database, role, decision, rule, policy_digest },
    ...{ class: row.class, application_name: row.application_name, client_address: row.client_address },
    ...{ reasons: arrayText(row.reasons), relations: arrayText(row.relations) },
  };
}

function outcomeCells(row: Row): { [name: string]: string | null } {
  const decimal = (value: bigint | null) => (value === null ? null : String(value));
  return {
    ...{ outcome: row.outcome, tag: row.tag, rows: decimal(row.rows), bytes: decimal(row.bytes) },
    ...{ duration_us: decimal(row.duration_us), sqlstate: row.sqlstate, outcome_seq: String(row.seq) },
    approvers: arrayText(row.people ?? []),
  };
}

/** A list as Postgres shows it (array_out). */
function arrayText(list: readonly (string | null)[] | null): string | null {
  if (list === null) return null;
  const shown = list.map((one) => {
    if (one === null) return 'NULL';
    const plain = one !== '' && !/[{},"\\ \t\n\r\v\f]/.test(one) && one.toUpperCase() !== 'NULL';
    return plain ? one : `"${one.replace(/["\\]/g, '\\$&')}"`;
  });
  return `{${shown.join(',')}}`;
}

/** Rows by the names of the first one. Attacker-controlled. Throws `RangeError`. */
async function* recordsOf(path: string): AsyncGenerator<Record> {
  let names: readonly (string | null)[] | null = null;
  let parts: string[] = [];
  let length = 0;
  let isWithin = false;
  let line = 0;
  for await (const part of linesOf(path)) {
    line += 1;
    parts.push(`${part}\n`);
    length += part.length + 1;
    if (length > LONGEST_ROW) throw new RangeError(`a row is longer than ${LONGEST_ROW} characters`);
    // Within quotes a line end is part of the text. Each line is looked at once: a text may be nothing but lines.
    for (let at = part.indexOf('"'); at >= 0; at = part.indexOf('"', at + 1)) isWithin = !isWithin;
    if (isWithin) continue;
    const [values = []] = parseCsv(parts.join(''));
    if (names === null) names = values;
    else
      yield {
        cells: new Map(names.map((name, i) => [name ?? '', values[i] ?? null])),
        line: line - parts.length + 1,
      };
    parts = [];
    length = 0;
  }
  if (parts.length > 0) throw new RangeError('it ends within quotes');
}

function placeOf(cells: Cells): { stream: string | null; seq: bigint | null } {
  return { stream: cells.get('stream') ?? null, seq: numberOf(cells.get('seq')) };
}

function numberOf(text: string | null | undefined): bigint {
  return /^\d{1,19}$/.test(text ?? '') ? BigInt(text ?? 0) : 0n;
}

/** One statement's text, whose quotes are doubled, and what else is in its row. */
const LONGEST_ROW = 128 * 1024 * 1024;

export const STATEMENTS = 'views/statements.csv';
