import { quoteName } from '../quote-name.ts';

/** A file of an evidence folder that a query makes. */
export type EvidenceView = {
  /** Of the file, without its ending. */
  readonly name: string;
  /** The view of the audit schema that it reads, whose comment describes it. */
  readonly view: string;
  /** Rows there mean that something is wrong. */
  readonly mustBeEmpty?: true;
  readonly sql: string;
};

/** `from` is in it, `to` is not. */
export type Period = { readonly from: Date; readonly to: Date };

/** What an auditor gets of a period: populations, exceptions, access, and what the log says of itself. */
export function evidenceViews(schemaName: string, { from, to }: Period): readonly EvidenceView[] {
  const since = `'${from.toISOString()}'`;
  const until = `'${to.toISOString()}'`;
  const within = (column: string) => `${column} >= ${since} AND ${column} < ${until}`;
  /** Something that lasts, and whose end may be open. */
  const during = (begin: string, end: string) =>
    `${begin} < ${until} AND (${end} IS NULL OR ${end} >= ${since})`;
  const made = (name: string, condition: string | null, order: string, view = name): EvidenceView => ({
    name,
    view,
    sql: [
      `SELECT * FROM ${quoteName(schemaName)}.${view}`,
      ...(condition === null ? [] : [` WHERE ${condition}`]),
      ` ORDER BY ${order}`,
    ].join('\n'),
  });
  const empty = (one: EvidenceView): EvidenceView => ({ ...one, mustBeEmpty: true });
  const byPlace = 'at, stream, seq';
  return [
    // In the order of the log's entries, so that one can be held against the other.
    made('statements', within('at'), 'stream COLLATE "C", seq'),
    made('approvals', during('asked_at', 'decided_at'), 'asked_at, request_id', 'signed_approvals'),
    made('exports', within('at'), byPlace),
    made('schema_changes', within('at'), byPlace),
    made('privilege_changes', within('at'), byPlace),
    made('interrupted', within('at'), byPlace),
    made('denials', within('at'), byPlace),
    empty(made('executed_without_approval', within('at'), `${byPlace}, problem`)),
    empty(made('segregation_of_duties', within('at'), `${byPlace}, problem, person, detail`)),
    empty(made('request_differences', within('at'), 'at, request_id, problem, person, stream, seq')),
    made('observed', within('at'), byPlace),
    made('agents', during('first_seen', 'last_seen'), 'agent, owner'),
    made('sessions', during('started_at', 'ended_at'), 'started_at, stream, seq'),
    made('refused_logins', within('at'), byPlace),
    made(
      'approver_load',
      `day >= (timestamptz ${since} AT TIME ZONE 'UTC')::date AND day <= (timestamptz ${until} AT TIME ZONE 'UTC')::date`,
      'day, person',
    ),
    made('policies', during('first_at', 'last_at'), 'first_at, digest'),
    made('configuration_changes', within('at'), byPlace),
    made('key_events', within('at'), byPlace),
    made('signing_keys', null, 'valid_from, kid'),
    made('retentions', within('at'), byPlace),
    made('redactions', within('at'), byPlace),
    made('legal_holds', during('added_at', 'released_at'), 'added_at, stream, seq'),
    made('log_reads', within('at'), byPlace),
    made('log_access', null, 'role'),
    made(
      'gaps',
      `from_at < ${until} AND (to_at IS NULL OR to_at >= ${since})`,
      'gap, stream, from_seq, from_at',
    ),
    made('integrity', null, 'started_at, stream'),
    made('events', within('at'), byPlace),
  ];
}
