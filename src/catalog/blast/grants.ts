import type { GrantTarget, Target } from '../../statement/target.ts';
import { describe } from './dependencies.ts';
import type { Address } from './drop-closure.ts';
import { closureFindings, notFoundFinding } from './drops.ts';
import { type Finding, finding, MOST_ITEMS, notKnown, plural } from './finding.ts';
import type { Radius } from './radius.ts';
import { powerFinding, reachFindings, roleOid } from './roles.ts';

/** On what, to whom; and what a REVOKE takes from others besides. */
export async function grantFindings(radius: Radius, target: GrantTarget): Promise<readonly Finding[]> {
  const { on, revoke, privileges, grantOption, grantees } = target;
  const label = revoke ? 'Takes' : 'Gives';
  const what = `${privileges.join(', ')}${grantOption ? (revoke ? ' (the right to grant it)' : ', with the right to hand it on,') : ''}`;
  const reach = await reachFindings(radius.look, grantees);
  if (on.kind === 'later') {
    const where = on.schemas.length === 0 ? '' : ` in schema ${on.schemas.join(', ')}`;
    return [
      finding(label, `${what} on every ${on.what} that is made later${where}; none that is there now`),
      ...reach,
    ];
  }
  if (on.kind === 'all_in_schema') {
    const found = await inSchemas(radius, on.what, on.schemas);
    if (found === null) return [notKnown(`how many objects "all ${on.what}s" are is not known`), ...reach];
    const words = `${what} on every ${on.what} in schema ${on.schemas.join(', ')}: ${plural(found.of, on.what)}`;
    return [
      finding(label, words, found.items, found.of),
      ...(await dependentGrants(radius, target, found.addresses)),
      ...reach,
    ];
  }
  const addresses: Address[] = [];
  const missing = [];
  for (const object of on.objects) {
    const found = await radius.find.object(object);
    if (found === null) missing.push(object);
    else addresses.push(found);
  }
  const items = await tagged(radius, addresses);
  return [
    ...(addresses.length === 0
      ? []
      : [finding(label, `${what} on ${plural(addresses.length, 'object')}`, items)]),
    ...(missing.length === 0 ? [] : [notFoundFinding(missing)]),
    ...(await dependentGrants(radius, target, addresses)),
    ...reach,
  ];
}

const KINDS: Readonly<Record<string, readonly string[]>> = {
  table: ['r', 'v', 'm', 'f', 'p'],
  sequence: ['S'],
};
const CALLABLE: Readonly<Record<string, readonly string[]>> = {
  function: ['f', 'a', 'w'],
  procedure: ['p'],
  routine: ['f', 'a', 'w', 'p'],
};

type InSchemas = {
  readonly addresses: readonly Address[];
  readonly items: readonly string[];
  readonly of: number;
};

async function inSchemas(
  radius: Radius,
  what: string,
  schemas: readonly string[],
): Promise<InSchemas | null> {
  const kinds = KINDS[what];
  const callable = CALLABLE[what];
  if (kinds === undefined && callable === undefined) return null;
  const rows = await radius.look.rows<{ catalog: number; oid: number }>(
    kinds === undefined
      ? `SELECT 1255::float8 AS catalog, x.oid::int8::float8 AS oid FROM pg_catalog.pg_proc x
           JOIN pg_catalog.pg_namespace n ON n.oid = x.pronamespace
         WHERE n.nspname::text = ANY ($1::text[]) AND x.prokind::text = ANY ($2::text[]) ORDER BY x.proname`
      : `SELECT 1259::float8 AS catalog, x.oid::int8::float8 AS oid FROM pg_catalog.pg_class x
           JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
         WHERE n.nspname::text = ANY ($1::text[]) AND x.relkind::text = ANY ($2::text[]) ORDER BY x.relname`,
    [schemas, kinds ?? callable],
  );
  const addresses = rows.map(({ catalog, oid }) => ({ catalog, oid, column: 0 }));
  return { addresses, items: await tagged(radius, addresses), of: rows.length };
}

/** In words, those with tags first: they are what people look for. */
async function tagged({ look, tags }: Radius, addresses: readonly Address[]): Promise<readonly string[]> {
  const described = await describe(look, addresses);
  const named = described.map(({ words, schema, name }) => {
    const found = schema === null || name === null ? [] : tags(schema, name);
    return {
      words: `${words}${found.length === 0 ? '' : ` (tags ${found.join(' ')})`}`,
      tagged: found.length > 0,
    };
  });
  return [...named.filter((one) => one.tagged), ...named.filter((one) => !one.tagged)].map(
    (one) => one.words,
  );
}

/** Privileges that a grantee handed on, which end with its own: without CASCADE the server refuses the REVOKE. */
async function dependentGrants(
  { look }: Radius,
  { revoke, cascade, grantees }: GrantTarget,
  addresses: readonly Address[],
): Promise<readonly Finding[]> {
  const relations = addresses.filter(({ catalog }) => catalog === 1259);
  const names = grantees.flatMap(({ kind, name }) => (kind === 'name' ? [name] : []));
  if (!revoke || relations.length === 0 || names.length === 0) return [];
  const rows = await look.rows<{ words: string }>(
    `SELECT pg_catalog.format('%s on %s, given to %s by %s', a.privilege_type,
       pg_catalog.pg_describe_object(1259::oid, c.oid, 0), coalesce(t.rolname::text, 'PUBLIC'), g.rolname) AS words
     FROM pg_catalog.pg_class c CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
       JOIN pg_catalog.pg_roles g ON g.oid = a.grantor LEFT JOIN pg_catalog.pg_roles t ON t.oid = a.grantee
     WHERE c.oid = ANY ($1::int8[]::oid[]) AND g.rolname::text = ANY ($2::text[]) AND a.grantee <> a.grantor
       AND a.grantor <> c.relowner ORDER BY 1`,
    [relations.map(({ oid }) => oid), names],
  );
  if (rows.length === 0) return [];
  const items = rows.map(({ words }) => words);
  return [
    cascade
      ? finding(
          'CASCADE',
          `takes ${plural(items.length, 'privilege')} that they handed on, where they rest on these`,
          items,
        )
      : finding(
          'Fails',
          `without CASCADE the server refuses it where ${plural(items.length, 'privilege')} that they handed on rest on these`,
          items,
        ),
  ];
}

/** GRANT and REVOKE of roles: what the roles can do, and who is given that, or loses it. */
export async function membershipFindings(
  { look }: Radius,
  { roles, grantees, revoke }: Extract<Target, { kind: 'membership' }>,
): Promise<readonly Finding[]> {
  const out: Finding[] = [];
  for (const role of roles) out.push(await powerFinding(look, revoke ? 'Takes' : 'Gives', role));
  return [...out, ...(await reachFindings(look, grantees))];
}

export async function ownerFindings(
  radius: Radius,
  { objects, owner }: Extract<Target, { kind: 'owner' }>,
): Promise<readonly Finding[]> {
  const addresses: Address[] = [];
  for (const object of objects) {
    const found = await radius.find.object(object);
    if (found !== null) addresses.push(found);
  }
  const items = await tagged(radius, addresses);
  return [
    addresses.length === 0
      ? notFoundFinding(objects)
      : finding('New owner', 'who can do anything with it', items),
    ...(await reachFindings(radius.look, [owner])),
  ];
}

/** REASSIGN OWNED and DROP OWNED. */
export async function ownedFindings(
  radius: Radius,
  { roles, to, cascade }: Extract<Target, { kind: 'owned' }>,
): Promise<readonly Finding[]> {
  const { look } = radius;
  const oids: number[] = [];
  const out: Finding[] = [];
  for (const { kind, name } of roles) {
    const oid = kind === 'name' ? await roleOid(look, name) : null;
    if (oid === null) out.push(notKnown(`what ${name} owns is not known`));
    else oids.push(oid);
  }
  const { owned, granted } = await ownedBy(look, oids);
  if (to !== null) {
    const items = (await describe(look, owned.slice(0, MOST_ITEMS))).map(({ words }) => words);
    out.push(
      finding('New owner', `of ${plural(owned.length, 'object')} in this database`, items, owned.length),
    );
    return [...out, ...(await reachFindings(look, [to]))];
  }
  out.push(...(await closureFindings(radius, owned, cascade, 'Drops')));
  if (granted > 0)
    out.push(finding('Takes', `its privileges on ${plural(granted, 'object')} of this database`));
  return out;
}

export async function dropRoleFindings(
  { look }: Radius,
  { roles }: Extract<Target, { kind: 'drop_role' }>,
): Promise<readonly Finding[]> {
  const out: Finding[] = [];
  for (const { name } of roles) {
    const oid = await roleOid(look, name);
    if (oid === null) out.push(notKnown(`there is no role ${name}`));
    else {
      const { owned, granted, elsewhere } = await ownedBy(look, [oid]);
      const rests = owned.length + granted + elsewhere;
      const items = (await describe(look, owned.slice(0, MOST_ITEMS))).map(({ words }) => words);
      out.push(
        rests === 0
          ? finding('Drops', `role ${name}, which owns nothing and has no privileges`)
          : finding(
              'Fails',
              `role ${name} owns ${plural(owned.length, 'object')} here, has privileges on ${granted}, and ${elsewhere} more in other databases: the server refuses it`,
              items,
              owned.length,
            ),
      );
      out.push(...(await reachFindings(look, [{ kind: 'name', name }])));
    }
  }
  return out;
}

type Owned = { readonly owned: readonly Address[]; readonly granted: number; readonly elsewhere: number };

/** By pg_shdepend. `owned` in this database; `granted`: objects here on which they have privileges or policies. */
async function ownedBy(look: Radius['look'], oids: readonly number[]): Promise<Owned> {
  const rows = await look.rows<{ catalog: number; oid: number; here: boolean; type: string }>(
    `SELECT s.classid::int8::float8 AS catalog, s.objid::int8::float8 AS oid, s.deptype::text AS type,
       s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) AS here
     FROM pg_catalog.pg_shdepend s
     WHERE s.refclassid = 1260::oid AND s.refobjid = ANY ($1::int8[]::oid[]) LIMIT 20000`,
    [oids],
  );
  const here = rows.filter((row) => row.here);
  const owned = here.filter(({ type }) => type === 'o');
  return {
    owned: owned.map(({ catalog, oid }) => ({ catalog, oid, column: 0 })),
    granted: here.length - owned.length,
    elsewhere: rows.length - here.length,
  };
}
