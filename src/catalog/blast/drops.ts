import { type LockMode, lockWords } from '../../statement/locks.ts';
import type { ObjectName, Target } from '../../statement/target.ts';
import { type Described, dependenciesOf, describe } from './dependencies.ts';
import { type Address, type DropClosure, dropClosure } from './drop-closure.ts';
import { type Finding, finding, notKnown, plural } from './finding.ts';
import { nameText, type Radius } from './radius.ts';
import { familyOf, sizeInWords, sizesOf } from './sizes.ts';

/** What goes first in lists: what holds data, then what lets data out or keeps it in. */
const RANK: readonly RegExp[] = [
  /^(?:table|partitioned table|foreign table|materialized view) /,
  /^column /,
  /^(?:sequence|large object) /,
  /^(?:policy|trigger) /,
  /^constraint /,
  /^(?:view|function|procedure|aggregate|type) /,
];

export async function dropFindings(
  radius: Radius,
  { objects, cascade, concurrently }: Extract<Target, { kind: 'drop' }>,
): Promise<readonly Finding[]> {
  const targets: Address[] = [];
  const missing: string[] = [];
  for (const object of objects) {
    const found = await radius.find.object(object);
    if (found === null) missing.push(nameText(object));
    else targets.push(found);
  }
  const absent = missing.length === 0 ? [] : [notFound(missing)];
  return [...(await closureFindings(radius, targets, cascade, 'Drops', concurrently)), ...absent];
}

export async function dropPartFindings(
  radius: Radius,
  { table, part, cascade }: Extract<Target, { kind: 'drop_part' }>,
): Promise<readonly Finding[]> {
  const relation = await radius.find.relation(table);
  if (relation === null) return [notFound([nameText(table)])];
  const targets: Address[] = [];
  for (const oid of part.kind === 'column' ? await familyOf(radius.look, relation.oid) : [relation.oid]) {
    const found = await (part.kind === 'column'
      ? radius.find.column(oid, part.name)
      : radius.find.constraint(oid, part.name));
    if (found !== null) targets.push(found);
  }
  if (targets.length === 0) return [notFound([`${part.kind} ${part.name} of ${nameText(table)}`])];
  return closureFindings(radius, targets, cascade, 'Drops');
}

/** What a new type of a column speaks to: views, rules and policies refuse it, the rest is built again. */
export async function retypeFindings(
  radius: Radius,
  { table, column }: Extract<Target, { kind: 'retype' }>,
): Promise<readonly Finding[]> {
  const relation = await radius.find.relation(table);
  const found = relation === null ? null : await radius.find.column(relation.oid, column);
  if (found === null) return [notFound([`column ${column} of ${nameText(table)}`])];
  const { rows } = await dependenciesOf(radius.look, [found]);
  const direct = rows.filter(
    ({ on }) => on.oid === found.oid && on.catalog === found.catalog && on.column === found.column,
  );
  const all = await describe(
    radius.look,
    direct.map(({ dependent }) => dependent),
  );
  const against = all.filter(({ words }) => /^(?:rule|policy|trigger|function|view)/.test(words));
  const rebuilt = all.filter((one) => !against.includes(one));
  return [
    ...(against.length === 0
      ? []
      : [
          finding(
            'Fails',
            `the column is used by ${plural(against.length, 'object')}, so the server may refuse another type`,
            words(against),
          ),
        ]),
    ...(rebuilt.length === 0
      ? []
      : [
          finding(
            'Depends on the column',
            `${plural(rebuilt.length, 'object')}, which the server changes or builds again`,
            words(rebuilt),
          ),
        ]),
  ];
}

/** The findings about dropping these objects. */
export async function closureFindings(
  { look }: Radius,
  targets: readonly Address[],
  cascade: boolean,
  label: string,
  concurrently = false,
): Promise<readonly Finding[]> {
  if (targets.length === 0) return [];
  const { rows, complete } = await dependenciesOf(look, targets);
  const closure = dropClosure(targets, rows);
  const own = await describe(look, targets);
  const data = await sizesOf(
    look,
    own.flatMap(({ oid, kind }) => (kind === null ? [] : [oid])),
  );
  const out: Finding[] = [
    finding(label, `${plural(own.length, 'object')}${sizeInWords(data)}`, words(own)),
    ...(await refusal(look, closure)),
    ...(await others(look, closure, cascade)),
  ];
  const gone = [...targets, ...closure.cascade, ...closure.parts];
  out.push(...(await lockFindings(look, gone, concurrently ? 'SHARE UPDATE EXCLUSIVE' : 'ACCESS EXCLUSIVE')));
  if (!complete)
    out.push(
      notKnown('so much depends on it that not all of it was looked at: it takes more than is listed here'),
    );
  return out;
}

type Looks = Radius['look'];

/** Tables that stay, and that are locked because something of theirs goes. */
async function lockFindings(
  look: Looks,
  gone: readonly Address[],
  lock: LockMode,
): Promise<readonly Finding[]> {
  const rows = await look.rows<{ oid: number }>(LOCKED, [
    gone.map(({ catalog }) => catalog),
    gone.map(({ oid }) => oid),
    gone.map(({ column }) => column),
  ]);
  if (rows.length === 0) return [];
  const sizes = await sizesOf(
    look,
    rows.map(({ oid }) => oid),
  );
  return [
    finding(
      'Lock',
      `${lock} on ${plural(rows.length, 'table')} of which a part goes${sizeInWords(sizes)}: ${lockWords(lock)}`,
      sizes.map((one) => one.words),
      rows.length,
    ),
  ];
}

/** Catalogs by their fixed OIDs: pg_class 1259, pg_attrdef 2604, pg_constraint 2606, pg_rewrite 2618, pg_trigger 2620, pg_policy 3256. */
const LOCKED = `WITH gone AS (SELECT t.c::oid AS c, t.o::oid AS o, t.s::int4 AS s FROM ROWS FROM (
    pg_catalog.unnest($1::int8[]), pg_catalog.unnest($2::int8[]), pg_catalog.unnest($3::int8[])) AS t (c, o, s))
  SELECT DISTINCT c.oid::int8::float8 AS oid FROM gone g CROSS JOIN LATERAL (
      SELECT g.o AS rel WHERE g.c = 1259::oid AND g.s <> 0
      UNION ALL SELECT unnest(ARRAY[k.conrelid, k.confrelid]) FROM pg_catalog.pg_constraint k
        WHERE g.c = 2606::oid AND k.oid = g.o
      UNION ALL SELECT x.tgrelid FROM pg_catalog.pg_trigger x WHERE g.c = 2620::oid AND x.oid = g.o
      UNION ALL SELECT x.polrelid FROM pg_catalog.pg_policy x WHERE g.c = 3256::oid AND x.oid = g.o
      UNION ALL SELECT x.ev_class FROM pg_catalog.pg_rewrite x WHERE g.c = 2618::oid AND x.oid = g.o
      UNION ALL SELECT x.adrelid FROM pg_catalog.pg_attrdef x WHERE g.c = 2604::oid AND x.oid = g.o
      UNION ALL SELECT x.indrelid FROM pg_catalog.pg_index x WHERE g.c = 1259::oid AND x.indexrelid = g.o
      UNION ALL SELECT x.inhparent FROM pg_catalog.pg_inherits x JOIN pg_catalog.pg_class p ON p.oid = x.inhparent
        WHERE g.c = 1259::oid AND g.s = 0 AND x.inhrelid = g.o AND p.relkind = 'p') AS t
    JOIN pg_catalog.pg_class c ON c.oid = t.rel AND c.relkind = ANY (ARRAY['r', 'p', 'm', 'f']::"char"[])
  WHERE NOT EXISTS (SELECT FROM gone d WHERE d.c = 1259::oid AND d.o = c.oid AND d.s = 0)`;

async function others(look: Looks, closure: DropClosure, cascade: boolean): Promise<readonly Finding[]> {
  const taken = inOrder(await describe(look, closure.cascade));
  const parts = inOrder(await describe(look, closure.parts)).filter(({ minor }) => !minor);
  const out: Finding[] = [];
  if (taken.length > 0 && cascade) {
    const sizes = await sizesOf(
      look,
      taken.flatMap(({ oid, kind }) => (kind === null ? [] : [oid])),
    );
    out.push(
      finding(
        'CASCADE',
        `drops ${plural(taken.length, 'other object')} too${sizeInWords(sizes)}`,
        words(taken),
      ),
    );
  } else if (taken.length > 0)
    out.push(
      finding(
        'Fails',
        `without CASCADE the server refuses it: ${plural(taken.length, 'object depends', 'objects depend')} on it`,
        words(taken),
      ),
    );
  else out.push(finding('CASCADE', 'nothing else depends on it'));
  if (parts.length > 0)
    out.push(finding('With it', `${plural(parts.length, 'part')} of its own`, words(parts)));
  return out;
}

async function refusal(look: Looks, { refused }: DropClosure): Promise<readonly Finding[]> {
  if (refused === null) return [];
  const [object] = await describe(look, [refused.object]);
  const [owner] = await describe(look, [refused.owner]);
  return [
    finding(
      'Fails',
      `the server refuses it: ${object?.words ?? 'it'} is a part of ${owner?.words ?? 'another object'}`,
    ),
  ];
}

function notFound(names: readonly string[]): Finding {
  return finding(
    'Not known',
    'not found in the catalog, so what it would touch is not known (it may be temporary, made in this transaction, or not there)',
    names,
  );
}

export function notFoundFinding(names: readonly ObjectName[]): Finding {
  return notFound(names.map(nameText));
}

function words(described: readonly Described[]): readonly string[] {
  return described.map((one) => one.words);
}

function inOrder(described: readonly Described[]): readonly Described[] {
  const rank = ({ words: text }: Described) => {
    const place = RANK.findIndex((pattern) => pattern.test(text));
    return place === -1 ? RANK.length : place;
  };
  return [...described].sort((a, b) => rank(a) - rank(b) || (a.words < b.words ? -1 : 1));
}
