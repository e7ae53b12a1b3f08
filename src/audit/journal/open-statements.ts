import type { Entry, OutcomeEntry, SessionFacts } from '../entry.ts';

/** A statement whose intent is recorded and whose outcome is not. */
export type OpenStatement = {
  readonly session: SessionFacts;
  readonly statementNo: number;
  readonly requestId: string | null;
};

/** Follows a stream's entries and knows which statements have no outcome yet. */
export class OpenStatements {
  readonly #open = new Map<string, OpenStatement>();

  constructor(open: readonly OpenStatement[] = []) {
    for (const statement of open) this.#open.set(keyOf(statement), statement);
  }

  get size(): number {
    return this.#open.size;
  }

  follow(entry: Entry): void {
    if (entry.kind === 'intent') {
      const { session, statementNo, requestId } = entry;
      this.begin({ session, statementNo, requestId });
    } else if (entry.kind === 'outcome') this.end(entry);
  }

  begin(statement: OpenStatement): void {
    this.#open.set(keyOf(statement), statement);
  }

  end(statement: Pick<OpenStatement, 'session' | 'statementNo'>): void {
    this.#open.delete(keyOf(statement));
  }

  list(): OpenStatement[] {
    return [...this.#open.values()];
  }
}

/** What is recorded where the process that knew the outcome is gone. */
export function unknownOutcome(statement: OpenStatement, at: bigint): OutcomeEntry {
  return {
    kind: 'outcome',
    at,
    session: statement.session,
    statementNo: statement.statementNo,
    requestId: statement.requestId,
    outcome: 'unknown',
    tag: null,
    rows: 0n,
    bytes: 0n,
    durationUs: 0n,
    sqlstate: null,
    approvers: [],
  };
}

/** The form in which open statements outlive the segments that their intents were in. */
export function openToJson(seq: bigint, open: readonly OpenStatement[]): unknown {
  return { seq: String(seq), open };
}

/** Nothing where the value is not such a form. */
export function openFromJson(value: unknown): { readonly seq: bigint; readonly open: OpenStatements } {
  const kept = value as
    | { readonly seq?: string; readonly open?: readonly OpenStatement[] }
    | null
    | undefined;
  if (typeof kept?.seq !== 'string' || !Array.isArray(kept.open))
    return { seq: 0n, open: new OpenStatements() };
  return { seq: BigInt(kept.seq), open: new OpenStatements(kept.open) };
}

function keyOf(statement: { readonly session: SessionFacts; readonly statementNo: number }): string {
  return `${statement.statementNo}/${statement.session.sessionId}`;
}
