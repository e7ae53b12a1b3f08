import type pg from 'pg';
import type { Target } from '../../statement/target.ts';
import { dropFindings, dropPartFindings, retypeFindings } from './drops.ts';
import { Finder } from './find.ts';
import { type Finding, notKnown } from './finding.ts';
import {
  dropRoleFindings,
  grantFindings,
  membershipFindings,
  ownedFindings,
  ownerFindings,
} from './grants.ts';
import { withLook } from './look.ts';
import type { Radius } from './radius.ts';
import { powerFinding } from './roles.ts';
import { refreshFindings, tableFindings, truncateFindings, writeFindings } from './tables.ts';

export type RadiusKnowledge = Pick<Radius, 'tags' | 'cascades'>;

/** Targets, and the schemas that bare names in them are looked up in; null: not known. */
export type Aimed = { readonly targets: readonly Target[]; readonly path: readonly string[] | null };

/**
 * What these would touch, from catalog queries alone: nothing of them is executed or planned. `ms`: for each query.
 * Rejects with what `pg` rejects with.
 */
export function blastRadius(
  client: pg.Client,
  aimed: readonly Aimed[],
  knowledge: RadiusKnowledge,
  ms: number,
): Promise<readonly Finding[]> {
  return withLook(client, ms, async (look) => {
    const found: Finding[] = [];
    for (const { targets, path } of aimed) {
      const radius: Radius = { look, find: new Finder(look, path), ...knowledge };
      for (const target of targets) found.push(...(await findingsOf(radius, target)));
    }
    return found;
  });
}

async function findingsOf(radius: Radius, target: Target): Promise<readonly Finding[]> {
  switch (target.kind) {
    case 'drop':
      return dropFindings(radius, target);
    case 'drop_part':
      return dropPartFindings(radius, target);
    case 'retype':
      return retypeFindings(radius, target);
    case 'table':
      return tableFindings(radius, target);
    case 'truncate':
      return truncateFindings(radius, target);
    case 'refresh':
      return refreshFindings(radius, target);
    case 'write':
      return writeFindings(radius, target);
    case 'unknown':
      return [notKnown(target.why)];
    case 'grant':
      return grantFindings(radius, target);
    case 'membership':
      return membershipFindings(radius, target);
    case 'owner':
      return ownerFindings(radius, target);
    case 'owned':
      return ownedFindings(radius, target);
    case 'drop_role':
      return dropRoleFindings(radius, target);
    case 'act_as':
      return [await powerFinding(radius.look, target.session ? 'Becomes' : 'Acts as', target.role)];
  }
}
