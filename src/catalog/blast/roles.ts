import type { RoleName } from '../../statement/target.ts';
import { type Finding, finding, plural } from './finding.ts';
import type { Look } from './look.ts';

/** Roles listed of one finding; more are counted only. */
const MOST_ROLES = 10_000;

type Member = { readonly name: string; readonly inherits: boolean; readonly login: boolean };

/** Who has what these roles are given: they themselves, their members, and everybody where PUBLIC is among them. */
export async function reachFindings(look: Look, roles: readonly RoleName[]): Promise<readonly Finding[]> {
  const out: Finding[] = [];
  for (const role of roles) {
    if (role.kind === 'word' && role.name === 'PUBLIC') out.push(await everybody(look));
    else if (role.kind === 'word') out.push(finding('Reaches', `the session's own role (${role.name})`));
    else out.push(await reachOf(look, role.name));
  }
  return out;
}

async function everybody(look: Look): Promise<Finding> {
  const [row] = await look.rows<{ roles: number; logins: number }>(
    `SELECT count(*)::float8 AS roles, (count(*) FILTER (WHERE r.rolcanlogin))::float8 AS logins
     FROM pg_catalog.pg_roles r WHERE r.oid >= 16384::oid`,
    [],
  );
  const roles = plural(row?.roles ?? 0, 'role');
  return finding(
    'Reaches',
    `PUBLIC: every role of this server, now ${roles} (${row?.logins ?? 0} can log in), and all that are made later`,
  );
}

async function reachOf(look: Look, name: string): Promise<Finding> {
  const oid = await roleOid(look, name);
  if (oid === null)
    return finding('Not known', `there is no role ${name} (yet), so whom it reaches is not known`);
  const members = await membersOf(look, oid);
  if (members.length === 0) return finding('Reaches', `role ${name}, which has no members`);
  return finding(
    'Reaches',
    `role ${name} and ${plural(members.length, 'member')} of it`,
    members.map((one) => `${one.name}${one.inherits ? '' : ' (by SET ROLE)'}`),
  );
}

export async function roleOid(look: Look, name: string): Promise<number | null> {
  const [row] = await look.rows<{ oid: number }>(
    'SELECT r.oid::int8::float8 AS oid FROM pg_catalog.pg_roles r WHERE r.rolname = $1::name',
    [name],
  );
  return row?.oid ?? null;
}

/** Since 16 a membership itself says whether it inherits, before that the member's role does. */
const INHERITS = `coalesce((pg_catalog.to_jsonb(m) ->> 'inherit_option')::boolean, r.rolinherit)`;

/** Direct and through others. `inherits`: it has the privileges without SET ROLE, on at least one way. */
function membersOf(look: Look, oid: number): Promise<readonly Member[]> {
  return look.rows<Member>(
    `WITH RECURSIVE f (oid, inherits) AS (SELECT $1::int8::oid, true UNION
       SELECT m.member, f.inherits AND ${INHERITS} FROM f
         JOIN pg_catalog.pg_auth_members m ON m.roleid = f.oid JOIN pg_catalog.pg_roles r ON r.oid = m.member)
     SELECT r.rolname::text AS name, pg_catalog.bool_or(f.inherits) AS inherits, r.rolcanlogin AS login
     FROM f JOIN pg_catalog.pg_roles r ON r.oid = f.oid WHERE f.oid <> $1::int8::oid
     GROUP BY r.rolname, r.rolcanlogin ORDER BY 1 LIMIT ${MOST_ROLES}`,
    [oid],
  );
}

type Power = {
  readonly attributes: readonly string[];
  readonly through: readonly string[];
  readonly owns: number;
  readonly reads: number;
  readonly writes: number;
};

/** What a role can do, which whoever is given membership or acts as it can. */
export async function powerFinding(look: Look, label: string, name: string): Promise<Finding> {
  const oid = await roleOid(look, name);
  if (oid === null)
    return finding('Not known', `there is no role ${name} (yet), so what it can do is not known`);
  const [row] = await look.rows<Power>(POWER, [oid]);
  if (row === undefined) return finding('Not known', `what role ${name} can do is not known`);
  const { attributes, through, owns, reads, writes } = row;
  const parts = [
    ...(attributes.length === 0 ? [] : [attributes.join(', ')]),
    `owns ${plural(owns, 'relation')}, may read ${reads.toLocaleString('en-US')} and write ${writes.toLocaleString('en-US')} in this database`,
    ...(through.length === 0 ? [] : [`also a member of ${through.join(', ')}`]),
  ];
  return finding(label, `role ${name}: ${parts.join('; ')}`);
}

const POWER = `WITH RECURSIVE up (oid) AS (SELECT $1::int8::oid UNION
    SELECT m.roleid FROM up JOIN pg_catalog.pg_auth_members m ON m.member = up.oid),
  rel AS (SELECT c.oid, c.relowner FROM pg_catalog.pg_class c
    WHERE c.oid >= 16384::oid AND c.relkind = ANY (ARRAY['r', 'p', 'v', 'm', 'f']::"char"[])
      AND c.relpersistence <> 't'::"char" LIMIT 20000)
  SELECT ARRAY(SELECT a.word FROM pg_catalog.pg_roles r CROSS JOIN LATERAL (VALUES (1, r.rolsuper, 'SUPERUSER'),
      (2, r.rolbypassrls, 'BYPASSRLS'), (3, r.rolcreaterole, 'CREATEROLE'), (4, r.rolcreatedb, 'CREATEDB'),
      (5, r.rolreplication, 'REPLICATION')) AS a (place, has, word) WHERE r.oid = $1::int8::oid AND a.has
      ORDER BY a.place) AS attributes,
    ARRAY(SELECT r.rolname::text FROM up JOIN pg_catalog.pg_roles r ON r.oid = up.oid
      WHERE up.oid <> $1::int8::oid ORDER BY 1 LIMIT 20) AS through,
    (SELECT count(*)::float8 FROM rel WHERE rel.relowner IN (SELECT up.oid FROM up)) AS owns,
    (SELECT count(*)::float8 FROM rel WHERE pg_catalog.has_table_privilege($1::int8::oid, rel.oid, 'SELECT')) AS reads,
    (SELECT count(*)::float8 FROM rel
      WHERE pg_catalog.has_table_privilege($1::int8::oid, rel.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) AS writes`;
