import {
  APPROVED,
  approver,
  assertion,
  at,
  event,
  LOST,
  OLD,
  receipt,
  released,
  STREAM_KEYS,
  STREAMS,
  signedJws,
  WEAK,
} from './base-log.ts';
import type { TamperingCase } from './cases.ts';
import { append, entryOf, fixedKey, type Log, rechain, resign } from './log-model.ts';

const { requests } = STREAMS;
const OTHER = fixedKey('of somebody else');
/** The row after the stream's last. */
const NEXT = 11;

/** A row that the proxy's own process wrote (or somebody with its key), with that receipt. */
function written(token: string, requestId = APPROVED) {
  return (log: Log) =>
    append(
      log,
      requests,
      [released({ at: at('00:02:00', 2), requestId, receipt: token })],
      STREAM_KEYS.requests,
    );
}

function forged(name: string, token: string, more: Partial<TamperingCase> = {}): TamperingCase {
  return {
    name,
    has: 'stream key',
    change: written(token),
    finds: [['receipt', 'requests', NEXT]],
    ...more,
  };
}

/** Receipts and verdicts: what was approved, by whom. */
export function receiptCases(): TamperingCase[] {
  const [header = '', , signature = ''] = receipt(OLD).split('.');
  const otherClaims = receipt(OLD, { approvers: [approver({ person: 'owner' })] }).split('.')[1];
  return [
    forged('a receipt with other claims', `${header}.${otherClaims}.${signature}`),
    forged('a receipt for another request', receipt(OLD, { request: 'req_other00000000000000001' })),
    forged('a receipt signed with another key', receipt(OTHER)),
    forged("a receipt signed with the stream's key", receipt(STREAM_KEYS.requests)),
    forged(
      'a receipt that names a key of ours and is signed with another',
      signedJws({ alg: 'EdDSA', typ: 'countersign-receipt+jws', kid: OLD.kid }, { request: APPROVED }, OTHER),
    ),
    forged(
      'a receipt that is a token of another kind',
      signedJws({ alg: 'EdDSA', typ: 'JWT', kid: OLD.kid }, { request: APPROVED }, OLD),
    ),
    forged(
      'a receipt without a signature',
      `${Buffer.from(JSON.stringify({ alg: 'none', typ: 'countersign-receipt+jws', kid: OLD.kid })).toString('base64url')}.${otherClaims}.`,
    ),
    forged('a receipt that is none', 'approved'),
    forged('a receipt cut', receipt(OLD).slice(0, -4)),
    forged('a receipt signed with a key after it was revoked', receipt(LOST), {
      has: 'installation key',
    }),
    ...passkeys(),
    {
      name: 'a receipt moved to another request',
      has: 'stream key',
      change: written(receipt(OLD), 'req_other00000000000000001'),
      finds: [['receipt', 'requests', NEXT]],
    },
    {
      name: 'a receipt removed from its row',
      change: (log) => {
        entryOf(log, requests, 5).row.receipt = null;
      },
      finds: [['row_hash', 'requests', 5]],
    },
    {
      name: 'a receipt removed from a release and signed so',
      has: 'stream key',
      change: (log) => {
        append(
          log,
          requests,
          [event('released', at('00:02:00', 2), { requestId: APPROVED, people: ['reviewer'] })],
          STREAM_KEYS.requests,
        );
      },
      finds: [['receipt', 'requests', NEXT]],
    },
    {
      name: 'a receipt moved to another row',
      change: (log) => {
        const { row } = entryOf(log, requests, 10);
        row.receipt = entryOf(log, requests, 5).row.receipt;
      },
      finds: [['row_hash', 'requests', 10]],
    },
    {
      name: 'a verdict changed from deny to approve',
      change: (log) => {
        const { row } = entryOf(log, requests, 9);
        row.detail = (row.detail ?? []).map((part) => (part === 'deny' ? 'approve' : part));
        rechain(log, requests, 9n);
      },
      finds: [
        ['batch_signature', 'requests', 8],
        ['tree', 'requests', 8],
      ],
    },
    {
      name: "a verdict given somebody else's name, signed with the stream's key",
      has: 'stream key',
      change: (log) => {
        entryOf(log, requests, 9).row.people = ['owner'];
        rechain(log, requests, 9n);
        resign(log, requests, STREAM_KEYS.requests, 8n);
      },
      finds: [['tree', 'requests', 8]],
    },
  ];
}

/** By whoever has the installation's key: what the approver's own device did not sign. */
function passkeys(): TamperingCase[] {
  const claimed = (name: string, facts: Record<string, string>, change: Record<string, unknown> = {}) =>
    forged(name, receipt(OLD, { approvers: [approver({ facts, ...change })] }), {
      has: 'installation key',
      finds: [['passkey', 'requests', NEXT]],
    });
  return [
    claimed("a passkey's assertion removed", {}),
    claimed("a passkey's signature removed", assertion({ signature: '' })),
    claimed("a passkey's signature altered", assertion({ signature: WEAK.signature })),
    claimed("a passkey's data altered: it says that its user was verified", {
      ...assertion(WEAK),
      authenticatorData: assertion()['authenticatorData'] ?? '',
    }),
    claimed('a passkey that did not verify its user', assertion(WEAK)),
    claimed('a passkey that nobody knows', assertion({ passkey: OTHER.kid })),
    claimed("somebody else's passkey", assertion(), { person: 'owner' }),
    claimed("a passkey's challenge altered", {
      ...assertion(),
      clientDataJSON: Buffer.from(
        '{"type":"webauthn.get","challenge":"AAAA","origin":"https://countersign.example.com"}',
      ).toString('base64url'),
    }),
    forged("a passkey's assertion moved to another request", receipt(OLD, { digest: '00'.repeat(32) }), {
      has: 'installation key',
      finds: [['passkey', 'requests', NEXT]],
    }),
  ];
}
