import type pg from 'pg';
import type { KnownKey, Revocation } from '../signing/key-directory.ts';
import type { Keys } from '../signing/keys.ts';
import { inTransaction, type StoreContext, type Transaction } from './context.ts';
import { parseShown } from './rows.ts';

type KeyContext = Pick<StoreContext, 'pool' | 'appendAudit' | 'log'>;

/** A key as the database knows it, for people. */
export type KeyRow = {
  readonly kid: string;
  readonly not_before: Date | null;
  readonly retired_at: Date | null;
  readonly seen_at: Date;
  readonly revoked_at: Date | null;
  readonly revoked_reason: Revocation['reason'] | null;
  readonly revoked_by: string | null;
};

/** Writes down which keys this process has, so that each of them can be revoked by its name from anywhere. */
export async function registerKeys(
  client: pg.ClientBase | pg.Pool,
  keys: readonly KnownKey[],
): Promise<void> {
  for (const { kid, jwk, notBefore, retiredAt } of keys)
    await client.query(
      `INSERT INTO countersign.signing_key AS k (kid, public_jwk, not_before, retired_at)
       VALUES ($1, $2, to_timestamp($3), to_timestamp($4))
       ON CONFLICT (kid) DO UPDATE SET retired_at = excluded.retired_at
         WHERE k.retired_at IS NULL AND excluded.retired_at IS NOT NULL`,
      [kid, JSON.stringify(jwk), notBefore, retiredAt],
    );
}

/** Believes from now on none of the keys that the database calls revoked. The other way round it says nothing. */
export async function heedRevocations(client: pg.ClientBase | pg.Pool, keys: Keys): Promise<void> {
  const { rows } = await client.query<{ kid: string; at: string; reason: Revocation['reason'] }>(
    `SELECT kid, floor(extract(epoch FROM revoked_at))::bigint AS at, revoked_reason AS reason
     FROM countersign.signing_key WHERE revoked_at IS NOT NULL`,
  );
  for (const { kid, at, reason } of rows) keys.distrust(kid, { at: Number(at), reason });
}

/** What was rotated or revoked a moment ago, on this machine or another: before anything is signed or released. */
export async function learnKeys(client: pg.ClientBase | pg.Pool, keys: Keys): Promise<void> {
  await keys.refresh();
  await heedRevocations(client, keys);
}

export async function listKeys(client: pg.ClientBase | pg.Pool): Promise<readonly KeyRow[]> {
  const { rows } = await client.query<KeyRow>(
    `SELECT kid, not_before, retired_at, seen_at, revoked_at, revoked_reason, revoked_by
     FROM countersign.signing_key ORDER BY coalesce(not_before, seen_at), kid`,
  );
  return rows;
}

/** An entry of the log that brings the new key, in a stream that the one before it has endorsed. */
export async function recordRotation(
  context: KeyContext,
  keys: Keys,
  { before, by }: { readonly before: KnownKey; readonly by: string },
): Promise<void> {
  const { kid, publicJwk } = keys.signer;
  await inTransaction(context, async ({ client, record }) => {
    await registerKeys(client, keys.all());
    record(
      keyEvent({ event: 'rotated', kid, public_jwk: JSON.stringify(publicJwk), previous: before.kid, by }),
    );
  });
}

/** What was approved with a key that is revoked now, and not released: asked anew, not left to fail. */
export type Revoked = { readonly requests: readonly string[] };

/**
 * From the commit on no process releases anything that this key has signed. Requests with such a receipt that wait for
 * release, or with such verdicts for more of them, end as expired, so that the agent's next attempt is a new question. False: the database knows no such key.
 */
export async function recordRevocation(
  context: KeyContext,
  kid: string,
  { at, reason }: Revocation,
  by: string,
): Promise<Revoked | null> {
  return inTransaction(context, async (transaction) => {
    const { rows } = await transaction.client.query<{ revoked_at: Date }>(
      `UPDATE countersign.signing_key SET revoked_at = least(revoked_at, to_timestamp($2)),
         revoked_reason = CASE WHEN revoked_reason = 'compromised' THEN revoked_reason ELSE $3 END,
         revoked_by = coalesce(revoked_by, $4)
       WHERE kid = $1 RETURNING revoked_at`,
      [kid, at, reason, by],
    );
    const [row] = rows;
    if (row === undefined) return null;
    const requests = await expireSignedBy(transaction, kid);
    transaction.record(
      keyEvent({
        event: 'revoked',
        kid,
        revoked_at: row.revoked_at.toISOString(),
        reason,
        by,
        requests: requests.join(' '),
      }),
    );
    return { requests };
  });
}

async function expireSignedBy(transaction: Transaction, kid: string): Promise<readonly string[]> {
  const { client, notify, record } = transaction;
  const { rows: waiting } = await client.query<{ id: string; receipt: string | null; sealed: boolean }>(
    `SELECT id, receipt, EXISTS (SELECT FROM countersign.verdict v
       WHERE v.request_id = r.id AND starts_with(v.seal, $1 || '.')) AS sealed
     FROM countersign.request r WHERE state IN ('open', 'approved') ORDER BY id FOR UPDATE`,
    [kid],
  );
  const ids = waiting
    .filter(({ receipt, sealed }) => sealed || kidOf(receipt ?? '') === kid)
    .map(({ id }) => id);
  const { rows } = await client.query<{ id: string; shown: string }>(
    `UPDATE countersign.request SET state = 'expired', ended_at = clock_timestamp(), attached_by = NULL,
       end_reason = 'the key that signed its receipt or its verdicts was revoked', revision = nextval('countersign.revision'),
       changed_at = clock_timestamp()
     WHERE id = ANY ($1) RETURNING id, shown`,
    [ids],
  );
  for (const row of rows) {
    notify(row.id);
    record({
      kind: 'request_expired',
      session: parseShown(row).session,
      requestId: row.id,
      detail: { reason: 'key revoked', kid },
    });
  }
  return rows.map(({ id }) => id);
}

/** Which key a receipt names; nothing is believed because of it. */
function kidOf(receipt: string): string | null {
  try {
    const header: unknown = JSON.parse(
      Buffer.from(receipt.split('.', 1)[0] ?? '', 'base64url').toString('utf8'),
    );
    const kid: unknown = Reflect.get(Object(header), 'kid');
    return typeof kid === 'string' ? kid : null;
  } catch {
    return null;
  }
}

function keyEvent(detail: Readonly<Record<string, string>>) {
  return {
    kind: 'key',
    session: null,
    requestId: null,
    detail: { purpose: 'installation', ...detail },
  } as const;
}
