import type { Hono } from 'hono';
import * as z from 'zod';
import {
  type AuditSearch,
  type FoundStatement,
  type LogReader,
  SearchTooLong,
  type StatementPlace,
} from '../../audit/port.ts';
import type { Caller } from './credentials.ts';
import { addressOf, type GatePorts } from './gate.ts';
import { type Gate, type Operation, serveOperation } from './operation.ts';
import { problem } from './problem.ts';
import { auditPage, type auditStatement, cursor } from './schemas.ts';

const text = z.string().min(1).max(256);
const time = z.iso.datetime({ offset: true }).transform((given) => new Date(given));

const searchStatements = {
  id: 'searchStatements',
  method: 'get',
  path: '/api/audit/statements',
  summary: 'Statements of the audit log, newest first',
  description:
    'Of the last 24 hours, unless `from` says otherwise. For what this does not find there is SQL, as the auditor. Each search is itself an entry of the log.',
  scopes: ['audit'],
  query: z.strictObject({
    from: time.optional(),
    to: time.optional(),
    agent: text.optional(),
    class: text.optional(),
    decision: z.literal(['allow', 'hold', 'deny']).optional(),
    outcome: z
      .literal(['executed', 'failed', 'denied', 'expired', 'withdrawn', 'unknown', 'running'])
      .optional(),
    request: text.optional().describe('Id of a request.'),
    text: text.optional().describe('Part of the statement, in whatever case.'),
    limit: z.coerce.number().int().min(1).max(200).default(50),
    cursor: cursor.optional(),
  }),
  answer: auditPage,
  answerType: 'application/json',
  problems: ['audit_not_configured', 'search_too_long'],
} as const satisfies Operation;

export const AUDIT_OPERATIONS: readonly Operation[] = [searchStatements];

const DAY_MS = 86_400_000;

/** `search` null: the configuration names no role that may read the log. */
export function auditRoutes(
  app: Hono,
  gate: Gate,
  search: AuditSearch | null,
  ports: Pick<GatePorts, 'clientAddress'>,
): void {
  serveOperation(app, gate, searchStatements, async ({ c, query, caller }) => {
    if (search === null)
      return problem(
        c,
        'audit_not_configured',
        'The configuration has no audit.readUrl, as whom to read the log.',
      );
    const after = query.cursor === undefined ? undefined : placeOf(query.cursor);
    if (after === null) return problem(c, 'invalid_query', 'cursor: expected `next` of the page before');
    const { limit, from, to, request, cursor: _, ...equal } = query;
    try {
      const filter = {
        ...given(equal),
        ...(request === undefined ? {} : { requestId: request }),
        ...(after === undefined ? {} : { after }),
        from: from ?? new Date(Date.now() - DAY_MS),
        to: to ?? null,
        limit,
      };
      const page = await search.statements(filter, readerOf(caller, addressOf(c, ports)));
      const last = page.length < limit ? undefined : page.at(-1);
      return { statements: page.map(statementJson), next: last === undefined ? null : cursorOf(last) };
    } catch (error) {
      if (!(error instanceof SearchTooLong)) throw error;
      return problem(c, 'search_too_long', 'This takes too long: ask for a shorter time, or for less.');
    }
  });
}

function readerOf({ identities, name, facts }: Caller, address: string | null): LogReader {
  const people = identities.map(({ kind, value }) =>
    (kind === 'person' ? value : `${kind}:${value}`).replaceAll('\0', ''),
  );
  // Two keys of one person are two credentials.
  const { key } = facts;
  return { people, credential: key === undefined ? name : `key:${key}`, address };
}

function statementJson({
  atUs,
  seq,
  rows,
  bytes,
  durationUs,
  ...rest
}: FoundStatement): z.input<typeof auditStatement> {
  const decimal = (value: bigint | null) => (value === null ? null : String(value));
  return {
    ...rest,
    at: timeText(atUs),
    seq: String(seq),
    rows: decimal(rows),
    bytes: decimal(bytes),
    durationUs: decimal(durationUs),
  };
}

/** ISO 8601 to the microsecond. */
function timeText(us: bigint): string {
  const whole = new Date(Number(us / 1000n)).toISOString();
  return `${whole.slice(0, -1)}${String(us % 1000n).padStart(3, '0')}Z`;
}

const place = z.tuple([z.string().regex(/^\d{1,18}$/), z.string().max(256), z.string().regex(/^\d{1,18}$/)]);

function cursorOf({ atUs, stream, seq }: StatementPlace): string {
  return Buffer.from(JSON.stringify([String(atUs), stream, String(seq)])).toString('base64url');
}

function placeOf(given: string): StatementPlace | null {
  try {
    const [atUs, stream, seq] = place.parse(JSON.parse(Buffer.from(given, 'base64url').toString('utf8')));
    return stream.includes('\0') ? null : { atUs: BigInt(atUs), stream, seq: BigInt(seq) };
  } catch {
    return null;
  }
}

/** Without what was not given. */
function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
