/** A process that records statements as fast as it can until it is killed; says on stdout what it has written. */
import { writeSync } from 'node:fs';
import { openAuditLog } from '../../src/audit/log/log.ts';
import { intent, outcome, QUIET, SESSION, signerFromPem } from './support.ts';

const { directory, url, pem, jwk, aheadBytes } = JSON.parse(process.argv[2] ?? '{}');
const log = await openAuditLog({
  directory,
  url,
  schema: 'audit',
  limits: { journalBytes: 8 * 1024 * 1024, journalSyncMs: 50 },
  log: QUIET,
  signer: signerFromPem(pem, jwk),
});
writeSync(1, `stream ${log.stream}\n`);
const session = { ...SESSION, sessionId: `ses_${process.pid}` };
// One long-running statement, whose intent is in a segment that is long gone when the process dies.
log.append(intent(1, { session, sql: 'SELECT pg_sleep(3600)' }));
for (let no = 2; ; no += 1) {
  log.append(intent(no, { session, sql: `SELECT ${no} -- ${'x'.repeat(600)}` }));
  log.append(outcome(no, { session }));
  // Every tenth has no outcome when the bytes leave; it gets it with the next.
  log.append(intent(++no, { session }));
  log.write();
  const written = log.append(outcome(no, { session })) - 1n;
  if (no % 20 < 2) {
    writeSync(1, `written ${written}\n`);
    do await new Promise((resolve) => setImmediate(resolve));
    while (log.stats().journalBytes > aheadBytes);
  }
}
