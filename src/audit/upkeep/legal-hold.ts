import { asOwner, type Upkeep, UpkeepRefused, upkeepId } from './upkeep.ts';

/** What a hold covers: rows that all of these fit; none: everything. */
export type HoldScope = {
  readonly agent?: string | undefined;
  /** Owner, on whose behalf, approver. */
  readonly person?: string | undefined;
  readonly from?: Date | undefined;
  readonly to?: Date | undefined;
};

/** Adds a hold, as a signed entry; returns its name. While it is in force, what it covers is not dropped or redacted. */
export function addHold(
  options: Upkeep & { readonly scope: HoldScope; readonly reason: string },
): Promise<string> {
  const { scope, reason } = options;
  return asOwner(options, async ({ append }) => {
    const hold = upkeepId('hold');
    const detail = { event: 'added', hold, reason, ...scopeDetail(scope) };
    await append([{ kind: 'legal_hold', detail }]);
    return hold;
  });
}

/** Releases a hold, as a signed entry. Throws `UpkeepRefused` (`no_hold`) when there is none of that name in force. */
export function releaseHold(
  options: Upkeep & { readonly hold: string; readonly reason: string },
): Promise<void> {
  const { hold, reason } = options;
  return asOwner(options, async ({ client, schema, append }) => {
    const { rowCount } = await client.query(
      `SELECT FROM ${schema}.legal_holds WHERE hold = $1 AND in_force`,
      [hold],
    );
    if (rowCount === 0) throw new UpkeepRefused('no_hold', `no legal hold ${hold} is in force`);
    await append([{ kind: 'legal_hold', detail: { event: 'released', hold, reason } }]);
  });
}

function scopeDetail({ agent, person, from, to }: HoldScope): Record<string, string> {
  return {
    ...(agent === undefined ? {} : { agent }),
    ...(person === undefined ? {} : { person }),
    ...(from === undefined ? {} : { from: from.toISOString() }),
    ...(to === undefined ? {} : { to: to.toISOString() }),
  };
}
