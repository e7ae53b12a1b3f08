import { createHash } from 'node:crypto';
import type { Entry, EventEntry, IntentEntry, OutcomeEntry, SessionFacts } from '../../../src/audit/entry.ts';
import { keyEntry, type StreamKey } from '../../../src/audit/shipping/stream-key.ts';
import { append, checkpoint, fixedKey, type Log, started, streamOf } from './log-model.ts';

/** Keys of the installation: one that was followed by another, and one that was revoked. */
export const OLD = fixedKey('installation, first');
export const NEW = fixedKey('installation, second');
export const LOST = fixedKey('installation, revoked');
/** Seconds since 1970 UTC. */
export const LOST_REVOKED_AT = Date.parse('2026-03-02T00:01:00Z') / 1000;
/**
 * What the reviewer's device signed: the digest of the approved request, at https://countersign.example.com; `weak`
 * without having verified its user. Made once: ECDSA is not the same each time.
 */
const ASSERTION = {
  clientDataJSON:
    'eyJ0eXBlIjoid2ViYXV0aG4uZ2V0IiwiY2hhbGxlbmdlIjoiZ1BjS191ODhxbGRrYjlJSy01Vy1uRDhzQTlPT0NSa0czakdEaUJQY3dpNCIsIm9yaWdpbiI6Imh0dHBzOi8vY291bnRlcnNpZ24uZXhhbXBsZS5jb20iLCJjcm9zc09yaWdpbiI6ZmFsc2V9',
  authenticatorData: 'CzlZoNZw6e9TZILtBfKBZaXsMRSHwNN2Fgv1JWfWfHYFAAAACQ',
  signature:
    'MEUCIQC-ABkIaazVU_-_xelSx5JSITfX9OzLCawnQB_SW6N7DwIgGU1OZ4Gpzwok7a_N6y7slJIZvwk-XusOJm_weGFHM8w',
};
export const WEAK = {
  authenticatorData: 'CzlZoNZw6e9TZILtBfKBZaXsMRSHwNN2Fgv1JWfWfHYBAAAACQ',
  signature:
    'MEUCIQDk-mnygrVI11XN4sZ1oSgXuPZMopOmVOue4he8hnqkeAIgf0cTMqLI9UTzrcjPsQBYx2fGycb4jFUqD4AI-Z19s3A',
};
const PASSKEY = {
  kty: 'EC',
  crv: 'P-256',
  x: 'fG_j9vU63Ixmq7TL480VXvFM3Ly7Y27soffsskcTuR0',
  y: 'lxxJYE0RCNIl5owF2zp01n02B9foSySIHg2gxvIsldU',
};
const PASSKEY_KID = createHash('sha256')
  .update(`{"crv":"P-256","kty":"EC","x":"${PASSKEY.x}","y":"${PASSKEY.y}"}`)
  .digest('base64url');

/** What an outsider has. */
export const KEYS = {
  keys: [
    OLD.publicJwk,
    NEW.publicJwk,
    { ...PASSKEY, kid: PASSKEY_KID, use: 'sig', countersign_person: 'reviewer' },
  ],
  revoked: [{ ...LOST.publicJwk, revoked: { revoked_at: LOST_REVOKED_AT, reason: 'a copy was found' } }],
};

/**
 * `main`: one process' statements, over midnight. `requests`: what the same process wrote with the changes of requests.
 * `crashed`: of a process that was killed; `next`, which names the end of `main`, ended it.
 */
export const STREAMS = {
  main: '20260301T235800Z-aaaaaaaaaaaaaaaa',
  requests: '20260301T235801Z-bbbbbbbbbbbbbbbb',
  crashed: '20260301T235802Z-cccccccccccccccc',
  next: '20260302T000300Z-dddddddddddddddd',
} as const;
export type StreamName = keyof typeof STREAMS;
export const STREAM_KEYS: Record<StreamName, StreamKey> = {
  main: fixedKey('stream main'),
  requests: fixedKey('stream requests'),
  crashed: fixedKey('stream crashed'),
  next: fixedKey('stream next'),
};
export const APPROVED = 'req_approved00000000000001';
export const DENIED = 'req_denied0000000000000002';

/** The honest log. Each call makes it anew, the same. */
export function honestLog(): Log {
  const log: Log = { entries: [], batches: [], streams: [], keys: [], leaves: [], checkpoints: [] };
  const put = (name: StreamName, entries: readonly Entry[], key = STREAM_KEYS[name]) =>
    append(log, STREAMS[name], entries, key);
  const begin = (name: StreamName, by: StreamKey, at: bigint, facts: Record<string, string>) =>
    put(name, started(STREAMS[name], STREAM_KEYS[name], by, at, facts));

  begin('main', OLD, at('23:58:00'), { purpose: 'log', host: 'db-1', pid: '100' });
  begin('requests', OLD, at('23:58:01'), { purpose: 'requests', host: 'db-1', pid: '100' });
  begin('crashed', OLD, at('23:58:02'), { purpose: 'log', host: 'db-2', pid: '200' });
  put('main', [
    event('session_start', at('23:58:10')),
    intent(1, at('23:58:11')),
    outcome(1, at('23:58:12')),
    intent(2, at('23:58:13'), { parameters: ['a', null, ''] }),
    outcome(2, at('23:58:14'), { transactionStatus: 'I' }),
  ]);
  put('requests', [event('request_opened', at('23:59:00'), { requestId: APPROVED, people: ['reporter'] })]);
  put('requests', [
    verdictEntry(APPROVED, 'approve', at('23:59:30')),
    event('request_approved', at('23:59:31'), {
      requestId: APPROVED,
      people: ['reviewer'],
      receipt: receipt(OLD),
      detail: { digest: DIGEST, kid: OLD.kid },
    }),
    released(),
  ]);
  checkpoint(log, OLD);
  put('main', [
    intent(3, at('23:59:00'), HELD),
    outcome(3, at('00:00:05', 2), { requestId: APPROVED, approvers: ['reviewer'] }),
    intent(4, at('00:00:06', 2), { class: 'admin', decision: 'deny', rule: 'no-files' }),
    outcome(4, at('00:00:07', 2), { outcome: 'denied', sqlstate: '42501', tag: null }),
  ]);
  put('requests', [event('request_ended', at('00:00:05', 2), { requestId: APPROVED })]);
  put('requests', [
    event('request_opened', at('00:01:00', 2), { requestId: DENIED, people: ['reporter'] }),
    verdictEntry(DENIED, 'deny', at('00:01:10', 2)),
    event('request_denied', at('00:01:10', 2), { requestId: DENIED, people: ['reviewer'] }),
  ]);
  put('crashed', [intent(1, at('00:01:00', 2))]);
  put('main', [event('log_stop', at('00:02:00', 2))]);
  const main = streamOf(log, STREAMS.main);
  begin('next', NEW, at('00:03:00', 2), {
    purpose: 'log',
    host: 'db-1',
    pid: '300',
    previous_stream: main.stream,
    previous_seq: String(main.headSeq),
    previous_hash: main.headHash.toString('hex'),
  });
  const recovered = { by_stream: STREAMS.next, by_kid: STREAM_KEYS.next.kid, unknown_outcomes: '1' };
  put(
    'crashed',
    [
      outcome(1, at('00:03:01', 2), { outcome: 'unknown', tag: null }),
      event('log_recovered', at('00:03:01', 2), { detail: recovered }),
    ],
    STREAM_KEYS.next,
  );
  put('next', [revokedKey(), intent(1, at('00:04:00', 2)), outcome(1, at('00:04:00', 2))]);
  checkpoint(log, NEW);
  const passkey = { ...PASSKEY, countersign_person: 'reviewer' };
  put('next', [
    intent(2, at('00:05:00', 2)),
    outcome(2, at('00:05:00', 2)),
    keyEntry(PASSKEY_KID, passkey, 'passkey', at('00:05:01', 2)),
  ]);
  return log;
}

/** Microseconds since 1970 UTC on the first or second of March 2026. */
export function at(time: string, day = 1): bigint {
  return BigInt(Date.parse(`2026-03-0${day}T${time}Z`)) * 1000n;
}

const SESSION: SessionFacts = {
  sessionId: 'ses_fixture',
  agent: 'reporter',
  owner: 'deputy',
  onBehalfOf: 'principal',
  run: 'run-7',
  runVerified: true,
  database: 'shop',
  role: 'shop_agent',
  applicationName: 'psql',
  clientAddress: '192.0.2.7',
  tls: true,
};
const HELD = { class: 'export', decision: 'hold', rule: 'default:export', requestId: APPROVED } as const;
const sha256 = (text: string) => createHash('sha256').update(text);
const DIGEST = sha256('binding').digest('hex');

export function intent(no: number, when: bigint, change: Partial<IntentEntry> = {}): IntentEntry {
  const sql = `SELECT * FROM orders WHERE id = ${no}`;
  return {
    kind: 'intent',
    at: when,
    session: SESSION,
    statementNo: no,
    sql,
    sqlSha256: sha256(sql).digest(),
    parameters: null,
    class: 'read',
    decision: 'allow',
    rule: 'default:read',
    reasons: ['reads by key'],
    relations: ['public.orders'],
    requestId: null,
    policyDigest: sha256('policy').digest('base64url'),
    ...change,
  };
}

export function outcome(no: number, when: bigint, change: Partial<OutcomeEntry> = {}): OutcomeEntry {
  return {
    kind: 'outcome',
    at: when,
    session: SESSION,
    statementNo: no,
    requestId: null,
    outcome: 'executed',
    tag: 'SELECT 1',
    rows: 1n,
    bytes: 50n,
    durationUs: 900n,
    sqlstate: null,
    approvers: [],
    ...change,
  };
}

export function event(kind: EventEntry['kind'], when: bigint, change: Partial<EventEntry> = {}): EventEntry {
  const none = { session: null, requestId: null, people: [], receipt: null, detail: {} };
  return { kind, at: when, ...none, ...change };
}

/** A receipt as src/signing/receipt.ts makes them. */
export function receipt(signer: StreamKey, change: Record<string, unknown> = {}): string {
  const claims = {
    iss: 'countersign',
    request: APPROVED,
    digest: DIGEST,
    sqlSha256: sha256('SELECT * FROM orders WHERE id = 3').digest('hex'),
    parametersSha256: sha256('').digest('hex'),
    agent: 'reporter',
    approvers: [approver()],
    policyDigest: sha256('policy').digest('base64url'),
    limits: { rows: 1000, bytes: null },
    nonce: 'fixture',
    iat: Number(at('23:59:31') / 1_000_000n),
    exp: Number(at('00:14:31', 2) / 1_000_000n),
    ...change,
  };
  return signedJws({ alg: 'EdDSA', typ: 'countersign-receipt+jws', kid: signer.kid }, claims, signer);
}

/** The assertion with something else in it. */
export function assertion(change: Record<string, string> = {}): Record<string, string> {
  return { ...ASSERTION, passkey: PASSKEY_KID, ...change };
}

export function approver(change: Record<string, unknown> = {}) {
  return {
    person: 'reviewer',
    channel: 'api',
    ids: ['email:reviewer@example.com'],
    assurance: 3,
    at: Number(at('23:59:30') / 1_000_000n),
    reason: null,
    facts: { ...ASSERTION, passkey: PASSKEY_KID },
    ...change,
  };
}

export function signedJws(header: unknown, claims: unknown, key: StreamKey): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part(header)}.${part(claims)}`;
  return `${text}.${key.sign(Buffer.from(text)).toString('base64url')}`;
}

export function released(change: Partial<EventEntry> = {}): EventEntry {
  const facts = { requestId: APPROVED, people: ['reviewer'], receipt: receipt(OLD) };
  return event('released', at('23:59:32'), { ...facts, detail: { digest: DIGEST }, ...change });
}

function verdictEntry(requestId: string, verdict: string, when: bigint): EventEntry {
  const detail = { verdict, reason: '', channel: 'api', assurance: '1', digest: DIGEST };
  return event('verdict', when, { requestId, people: ['reviewer'], detail });
}

function revokedKey(): EventEntry {
  const { kid, publicJwk } = LOST;
  const entry = keyEntry(kid, publicJwk, 'installation', at('00:03:30', 2));
  const revoked_at = new Date(LOST_REVOKED_AT * 1000).toISOString();
  const facts = { event: 'revoked', revoked_at, reason: 'a copy was found', by: 'owner' };
  return { ...entry, detail: { ...entry.detail, ...facts } };
}
