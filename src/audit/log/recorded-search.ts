import type { AuditLog } from '../entry.ts';
import type { AuditSearch, LogReader, StatementFilter } from '../port.ts';

/**
 * A search whose every use is an entry of the log, `audit_read`, before anything is read: what cannot be recorded is not
 * shown. `nowUs`: microseconds since 1970 UTC.
 */
export function recordedSearch(
  search: AuditSearch,
  log: Pick<AuditLog, 'append' | 'write'>,
  nowUs: () => bigint,
): AuditSearch {
  return {
    statements: async (filter, reader) => {
      log.append({
        kind: 'audit_read',
        at: nowUs(),
        session: null,
        requestId: null,
        people: reader.people,
        receipt: null,
        detail: detailOf(filter, reader),
      });
      log.write();
      return await search.statements(filter, reader);
    },
  };
}

/** The filter is attacker-controlled, and short: each of its texts has a limit. */
function detailOf(filter: StatementFilter, { credential, address }: LogReader): Record<string, string> {
  const text = JSON.stringify(filter, (_, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value,
  );
  return {
    operation: 'searchStatements',
    credential,
    address: address ?? '',
    filter: text.replaceAll('\\u0000', ''),
  };
}
