/**
 * What is read from pg_catalog, in one REPEATABLE READ snapshot. Valid on PostgreSQL 14 to 18. Every name is qualified
 * and `search_path` is pinned before the first of them (`OPENING`), so that nothing in the database can stand in for a
 * catalog, a function or an operator. OIDs from 16384 on are user-defined (FirstNormalObjectId in access/transam.h).
 *
 * Temporary relations are left out everywhere: a session's own are never known here.
 */

/** First of all, one by one; then the queries; then ROLLBACK. Nothing here can wait for a lock longer than a second. */
export const OPENING: readonly string[] = [
  'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY',
  'SET LOCAL search_path = pg_catalog, pg_temp',
  "SET LOCAL lock_timeout = '1s'",
  "SET LOCAL statement_timeout = '60s'",
  // Plans over catalogs of 100,000 rows gain nothing from workers or JIT, and both take time to start.
  'SET LOCAL jit = off',
  'SET LOCAL max_parallel_workers_per_gather = 0',
];

export const SERVER = `
SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('block_size')`;

/**
 * Relations with their columns as JSON: [name, type, typmod, not null, length, collation, generated, number].
 * `pages` is the file's size now; it is not asked (null) where somebody holds or awaits ACCESS EXCLUSIVE, because
 * pg_relation_size would wait for it.
 */
export function relations(withSizes: boolean): string {
  const pages = withSizes
    ? `CASE WHEN c.relkind IN ('r', 'm') AND c.oid NOT IN (SELECT relation FROM locked)
         THEN pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint END`
    : 'NULL';
  return `
WITH locked AS MATERIALIZED (
  SELECT l.relation FROM pg_catalog.pg_locks l WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
     AND l.relation IS NOT NULL
), columns AS (
  SELECT a.attrelid, pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, a.atttypid::bigint, a.atttypmod,
           a.attnotnull, a.attlen, a.attcollation::bigint, a.attgenerated, a.attnum) ORDER BY a.attnum)::text AS list
    FROM pg_catalog.pg_attribute a WHERE a.attnum > 0 AND NOT a.attisdropped GROUP BY a.attrelid
)
SELECT c.oid, n.nspname, c.relname, c.relkind, c.reltuples, c.relpages, ${pages}, c.relrowsecurity,
       COALESCE(m.amname, ''), CASE WHEN c.relkind IN ('i', 'I') THEN NULL ELSE k.list END
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam
  LEFT JOIN columns k ON k.attrelid = c.oid
 WHERE c.relpersistence <> 't'
 ORDER BY c.oid`;
}

export const TYPE_NAMES = `
SELECT t.atttypid, t.atttypmod, pg_catalog.format_type(t.atttypid, t.atttypmod)
  FROM (SELECT DISTINCT a.atttypid, a.atttypmod FROM pg_catalog.pg_attribute a
         WHERE a.attnum > 0 AND NOT a.attisdropped) t`;

export const INDEXES = `
SELECT i.indexrelid, i.indrelid, ic.relname, i.indisunique AND i.indisvalid AND i.indisready AND i.indimmediate
         AND NOT i.indisexclusion AND i.indpred IS NULL AND i.indexprs IS NULL,
       i.indnkeyatts, i.indkey::text, i.indclass::text, i.indcollation::text,
       pg_catalog.concat(i.indexprs::text, i.indpred::text)
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid AND ic.relpersistence <> 't'
 ORDER BY i.indexrelid`;

export const TYPES = `
SELECT t.oid, n.nspname, t.typname, t.typtype, t.typelem, t.typbasetype, t.typrelid,
       t.typinput::oid, t.typoutput::oid, t.typreceive::oid, t.typsend::oid, t.typmodin::oid, t.typmodout::oid,
       COALESCE(r.rngsubtype, 0), COALESCE(r.rngsubopc, 0), COALESCE(r.rngcanonical::oid, 0),
       COALESCE(r.rngsubdiff::oid, 0), COALESCE(rm.rngtypid, 0), t.typdefaultbin::text
  FROM pg_catalog.pg_type t
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
  LEFT JOIN pg_catalog.pg_range rm ON rm.rngmultitypid = t.oid
 WHERE t.oid >= 16384 AND n.nspname !~ '^pg_(toast_)?temp_' AND n.nspname <> 'pg_toast'
 ORDER BY t.oid`;

/** User functions with what a proof needs: language, declared volatility, body, settings, extension. */
export const FUNCTIONS = `
SELECT p.oid, n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid), p.prokind, l.lanname,
       p.provolatile, p.prosecdef, p.prosrc, COALESCE(p.probin, ''), COALESCE(p.proconfig::text, ''),
       p.pronargs, p.pronargdefaults, p.provariadic <> 0, COALESCE(pg_catalog.array_length(p.proallargtypes, 1), 0),
       p.proargtypes::text, p.prorettype, COALESCE(x.extname, ''), p.proargdefaults::text,
       p.prosqlbody::text, p.proretset, pg_catalog.pg_get_function_result(p.oid),
       pg_catalog.array_to_json(p.proargnames)::text,
       pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.array_to_string(ARRAY(
         SELECT pg_catalog.format_type(a.type, NULL)
           FROM pg_catalog.unnest(p.proargtypes::pg_catalog.oid[]) WITH ORDINALITY AS a(type, number)
          ORDER BY a.number), ', '))
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
        AND d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
  LEFT JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid
 WHERE p.oid >= 16384 AND n.nspname !~ '^pg_temp_'
 ORDER BY p.oid`;

export const BUILTIN_FUNCTIONS = `
SELECT p.oid, CASE WHEN n.nspname = 'pg_catalog' THEN p.proname ELSE pg_catalog.concat(n.nspname, '.', p.proname) END,
       p.provolatile, p.prosrc
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE p.oid < 16384 ORDER BY p.oid`;

export const AGGREGATES = `
SELECT a.aggfnoid::oid, a.aggtransfn::oid, a.aggfinalfn::oid, a.aggcombinefn::oid, a.aggserialfn::oid,
       a.aggdeserialfn::oid, a.aggmtransfn::oid, a.aggminvtransfn::oid, a.aggmfinalfn::oid, a.aggsortop
  FROM pg_catalog.pg_aggregate a WHERE a.aggfnoid::oid >= 16384 ORDER BY 1`;

export const OPERATORS = `
SELECT o.oid, n.nspname, o.oprname, o.oprcode::oid, o.oprrest::oid, o.oprjoin::oid, o.oprcom, o.oprnegate
  FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
 WHERE o.oid >= 16384 ORDER BY o.oid`;

export const OPERATOR_CLASSES = `
SELECT c.oid, n.nspname, c.opcname, c.opcfamily, c.opcintype, c.opcdefault, c.opckeytype
  FROM pg_catalog.pg_opclass c JOIN pg_catalog.pg_namespace n ON n.oid = c.opcnamespace
 WHERE c.oid >= 16384 ORDER BY c.oid`;

/** Support functions and operators that users put into operator families: [family, left, right, 'p' | 'o', object]. */
export const OPERATOR_FAMILY_MEMBERS = `
SELECT p.amprocfamily, p.amproclefttype, p.amprocrighttype, 'p', p.amproc::oid
  FROM pg_catalog.pg_amproc p WHERE p.amproc::oid >= 16384
UNION ALL
SELECT o.amopfamily, o.amoplefttype, o.amoprighttype, 'o', o.amopopr
  FROM pg_catalog.pg_amop o WHERE o.amopopr >= 16384
 ORDER BY 1, 2, 3, 4, 5`;

export const CASTS = `
SELECT c.oid, c.castsource, c.casttarget, c.castfunc, c.castcontext, c.castmethod,
       pg_catalog.format_type(c.castsource, NULL), pg_catalog.format_type(c.casttarget, NULL)
  FROM pg_catalog.pg_cast c WHERE c.oid >= 16384 ORDER BY c.oid`;

/** Triggers but those of foreign keys and deferred uniqueness, which are the server's own (their function is). */
export const TRIGGERS = `
SELECT t.oid, t.tgrelid, t.tgname, t.tgfoid, t.tgtype, t.tgenabled, t.tgqual::text, t.tgdeferrable
  FROM pg_catalog.pg_trigger t
 WHERE t.tgenabled <> 'D' AND (t.tgfoid >= 16384 OR NOT t.tgisinternal OR t.tgqual IS NOT NULL)
 ORDER BY t.oid`;

/**
 * Built-in functions and relations are read out of the tree, because pg_depend does not know them; subLinkType 6 is
 * ARRAY_SUBLINK. `nothing`: every query of the action is CMD_NOTHING (nodes.h: 6 before MERGE was added in 15, then 7).
 */
export const RULES = `
SELECT r.oid, r.ev_class, r.rulename, r.ev_type,
       r.ev_type <> '1' AND r.ev_action::text !~ CASE WHEN pg_catalog.current_setting('server_version_num')::integer
         >= 150000 THEN ':commandType [0-6]' ELSE ':commandType [0-5]' END, r.ev_enabled,
       ARRAY(SELECT DISTINCT m[1] FROM pg_catalog.regexp_matches(
             pg_catalog.concat(r.ev_action::text, r.ev_qual::text),
             ':(?:funcid|aggfnoid|winfnoid) ([0-9]+)', 'g') m ORDER BY 1)::text,
       ARRAY(SELECT DISTINCT m[1] FROM pg_catalog.regexp_matches(r.ev_action::text, ':relid ([0-9]+)', 'g') m
              WHERE m[1]::bigint BETWEEN 1 AND 16383 ORDER BY 1)::text,
       pg_catalog.strpos(r.ev_action::text, ':subLinkType 6 ') > 0
  FROM pg_catalog.pg_rewrite r
 WHERE r.oid >= 16384 OR r.ev_type <> '1'
 ORDER BY r.oid`;

export const POLICIES = `
SELECT p.oid, p.polrelid, p.polname, pg_catalog.concat(p.polqual::text, p.polwithcheck::text)
  FROM pg_catalog.pg_policy p ORDER BY p.oid`;

export const CONSTRAINTS = `
SELECT c.oid, c.conname, c.contype, c.conrelid, c.contypid, c.confrelid, c.confdeltype, c.confupdtype,
       CASE WHEN pg_catalog.strpos(c.conbin::text, 'FUNCEXPR') > 0 OR EXISTS (
         SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
            AND d.objid = c.oid AND d.refobjid >= 16384
            AND d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass) THEN c.conbin::text END,
       CASE WHEN c.contype = 'f' THEN c.conkey::text END
  FROM pg_catalog.pg_constraint c WHERE c.contype IN ('c', 'f', 'x') ORDER BY c.oid`;

export const DEFAULTS = `
SELECT d.oid, d.adrelid, d.adnum,
       CASE WHEN pg_catalog.strpos(d.adbin::text, 'FUNCEXPR') > 0 THEN d.adbin::text END
  FROM pg_catalog.pg_attrdef d ORDER BY d.oid`;

export const INHERITANCE = `
SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i
  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'p', 'f') ORDER BY 1, 2`;

export const PARTITION_KEYS = `
SELECT p.partrelid, p.partclass::text, p.partexprs::text FROM pg_catalog.pg_partitioned_table p ORDER BY 1`;

export const STATISTICS = `
SELECT s.oid, s.stxrelid, s.stxname, s.stxexprs::text
  FROM pg_catalog.pg_statistic_ext s WHERE s.stxexprs IS NOT NULL ORDER BY s.oid`;

/**
 * Which user objects an expression, a rule, a constraint or a function's defaults use. Columns' types and arguments'
 * types are left out (columns are read from pg_attribute), and so is what an object belongs to (internal).
 */
export const DEPENDENCIES = `
SELECT d.classid::regclass::text, d.objid, d.refclassid::regclass::text, d.refobjid
  FROM pg_catalog.pg_depend d
 WHERE d.refobjid >= 16384 AND d.deptype IN ('n', 'a')
   AND CASE d.refclassid
       WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN d.classid IN (
         'pg_catalog.pg_rewrite'::pg_catalog.regclass, 'pg_catalog.pg_policy'::pg_catalog.regclass,
         'pg_catalog.pg_proc'::pg_catalog.regclass)
       WHEN 'pg_catalog.pg_type'::pg_catalog.regclass THEN d.classid IN (
         'pg_catalog.pg_rewrite'::pg_catalog.regclass, 'pg_catalog.pg_policy'::pg_catalog.regclass,
         'pg_catalog.pg_constraint'::pg_catalog.regclass, 'pg_catalog.pg_attrdef'::pg_catalog.regclass,
         'pg_catalog.pg_trigger'::pg_catalog.regclass)
       WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN true
       WHEN 'pg_catalog.pg_operator'::pg_catalog.regclass THEN true
       ELSE false END
 ORDER BY 1, 2, 3, 4`;

/** Comments that hold a word `countersign:<tag>`: [relation, column's name or null, comment]. */
export const TAG_COMMENTS = `
SELECT d.objoid, a.attname, d.description
  FROM pg_catalog.pg_description d
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid AND d.objsubid > 0
 WHERE d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
   AND pg_catalog.strpos(d.description, 'countersign:') > 0
   AND (d.objsubid = 0 OR NOT a.attisdropped)
 ORDER BY d.objoid, d.objsubid`;

/**
 * Which columns of which relations a view reads: [view, relation, columns as JSON]. A column's own number 0 stands for
 * the whole row: no column is named by the dependency, or (varattno 0) the body has such a reference.
 */
export const VIEW_COLUMNS = `
SELECT r.ev_class, d.refobjid, pg_catalog.json_agg(DISTINCT COALESCE(a.attname, ''))::text,
       pg_catalog.bool_or(d.refobjsubid = 0 OR pg_catalog.strpos(r.ev_action::text, ':varattno 0 ') > 0)
  FROM pg_catalog.pg_rewrite r
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
   AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'n'
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND d.refobjsubid <> 0
 WHERE r.ev_type = '1' AND r.oid >= 16384 AND d.refobjid <> r.ev_class AND d.refobjid >= 16384
 GROUP BY 1, 2 ORDER BY 1, 2`;

/** Relations on which somebody holds or awaits ACCESS EXCLUSIVE: pg_get_viewdef would wait for them. */
export const LOCKED = `
SELECT DISTINCT l.relation FROM pg_catalog.pg_locks l
 WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.relation IS NOT NULL`;

export const VIEW_DEFINITIONS = `
SELECT v.oid, pg_catalog.pg_get_viewdef(v.oid)
  FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS v(oid)`;

/**
 * Commonest share and number of values of the columns of bigger relations, as far as the role may see them: [relation,
 * column number, n_distinct, null share, commonest share]. With children where there are any.
 */
export const COLUMN_STATISTICS = `
SELECT DISTINCT ON (c.oid, a.attnum) c.oid, a.attnum, s.n_distinct, s.null_frac, s.most_common_freqs[1]
  FROM pg_catalog.pg_stats s
  JOIN pg_catalog.pg_namespace n ON n.nspname = s.schemaname
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = s.tablename AND c.relkind IN ('r', 'm', 'p')
   AND c.oid >= 16384 AND c.relpersistence <> 't' AND (c.reltuples > 500 OR c.relkind = 'p')
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = s.attname
 ORDER BY c.oid, a.attnum, s.inherited DESC`;
