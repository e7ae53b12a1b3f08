import { higherClass, type StatementClass } from './analysis.ts';
import {
  BUILTIN_FUNCTIONS,
  BUILTIN_OPERATORS,
  BUILTIN_TYPES,
  SYSTEM_RELATIONS,
} from './builtins.generated.ts';
import type { Boundary, Volatility } from './details.ts';

/** A function of Postgres itself, as it was judged. */
export type BuiltinFunction = {
  readonly name: string;
  /** The most volatile of its overloads. */
  readonly volatile: boolean;
  readonly volatility: Volatility;
  /** What a call crosses to; null: nothing. */
  readonly boundary: Boundary | null;
  readonly returnsSet: boolean;
  /** Aggregates, so that a call makes one row of many (unless it has OVER). */
  readonly aggregate: boolean;
  /** Puts its whole input into one value. */
  readonly folds: boolean;
  /** Turns values into JSON, by the casts that users may have made for their types. */
  readonly makesJson: boolean;
  /** What a call does, beyond computing; null: nothing. */
  readonly effect: { readonly class: StatementClass; readonly reason: string } | null;
};

const words = (text: string): string[] => text.trim().split(/\s+/);

/** Volatile, and yet harmless: they only look, or touch nothing but the session. Reviewed by hand. */
const HARMLESS_VOLATILE = new Set(
  words(`
  array_sample array_shuffle clock_timestamp current_query currtid2 currval gen_random_uuid lastval
  pg_available_wal_summaries pg_blocking_pids pg_collation_actual_version pg_control_checkpoint pg_control_init
  pg_control_recovery pg_control_system pg_current_logfile pg_current_wal_flush_lsn pg_current_wal_insert_lsn
  pg_current_wal_lsn pg_database_collation_actual_version pg_database_size pg_get_aios pg_get_backend_memory_contexts
  pg_get_loaded_modules pg_get_multixact_members pg_get_sequence_data pg_get_shmem_allocations
  pg_get_shmem_allocations_numa pg_get_wait_events pg_get_wal_replay_pause_state pg_get_wal_resource_managers
  pg_get_wal_summarizer_state pg_indexes_size pg_is_in_recovery pg_is_wal_replay_paused
  pg_is_in_backup pg_isolation_test_session_is_blocked pg_jit_available pg_last_committed_xact pg_last_wal_receive_lsn
  pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_lock_status pg_notification_queue_usage
  pg_partition_ancestors pg_partition_tree pg_prepared_xact pg_relation_size pg_replication_origin_progress
  pg_replication_origin_session_is_setup pg_replication_origin_session_progress pg_safe_snapshot_blocking_pids
  pg_sequence_last_value pg_show_replication_origin_status pg_stat_clear_snapshot pg_stat_force_next_flush
  pg_stat_get_backend_io pg_stat_get_backend_wal pg_stat_get_io pg_stat_get_recovery_prefetch
  pg_stat_get_xact_blocks_fetched pg_stat_get_xact_blocks_hit pg_stat_get_xact_function_calls
  pg_stat_get_xact_function_self_time pg_stat_get_xact_function_total_time pg_stat_get_xact_numscans
  pg_stat_get_xact_tuples_deleted pg_stat_get_xact_tuples_fetched pg_stat_get_xact_tuples_hot_updated
  pg_stat_get_xact_tuples_inserted pg_stat_get_xact_tuples_newpage_updated pg_stat_get_xact_tuples_returned
  pg_stat_get_xact_tuples_updated pg_stat_have_stats pg_table_size pg_tablespace_size pg_total_relation_size
  pg_wal_summary_contents pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_xact_status random
  random_normal timeofday timezone txid_status uuidv4 uuidv7
  pg_try_advisory_lock pg_try_advisory_lock_shared pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared
  pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_advisory_unlock pg_advisory_unlock_all
  pg_advisory_unlock_shared setseed`),
);

const USES_FILES = 'reads or writes files of the server';

/** What a call does, whatever its volatility says. Reviewed by hand; checked against the generated names by a test. */
const EFFECTS: readonly (readonly [StatementClass, string, string])[] = [
  ['write', 'moves a sequence', 'nextval setval'],
  ['export', 'reads a large object', 'lo_get loread'],
  [
    'export',
    'returns whole tables as XML',
    `table_to_xml table_to_xml_and_xmlschema schema_to_xml schema_to_xml_and_xmlschema database_to_xml
     database_to_xml_and_xmlschema query_to_xml query_to_xml_and_xmlschema query_to_xmlschema cursor_to_xml
     cursor_to_xmlschema`,
  ],
  ['opaque', 'runs SQL that is given as text', 'ts_stat'],
  [
    'opaque',
    'reads a value of any type, by code that belongs to the type',
    `domain_in record_in array_in range_in multirange_in
     anyarray_in anyrange_in anymultirange_in anycompatiblerange_in anycompatiblemultirange_in anycompatiblearray_in`,
  ],
  [
    'opaque',
    'checks the body of a function',
    'fmgr_sql_validator fmgr_c_validator fmgr_internal_validator plpgsql_validator',
  ],
  [
    'opaque',
    'writes or opens a large object',
    `lo_close lo_creat lo_create lo_from_bytea lo_lseek lo_lseek64 lo_open lo_put lo_tell lo_tell64 lo_truncate
     lo_truncate64 lo_unlink lowrite`,
  ],
  ['opaque', 'takes a lock that lasts as long as the session', 'pg_advisory_lock pg_advisory_lock_shared'],
  [
    'admin',
    USES_FILES,
    `lo_import lo_export pg_read_file pg_read_binary_file pg_read_file_old pg_ls_dir pg_ls_archive_statusdir
     pg_ls_logdir pg_ls_logicalmapdir pg_ls_logicalsnapdir pg_ls_replslotdir pg_ls_summariesdir pg_ls_tmpdir
     pg_ls_waldir pg_stat_file pg_hba_file_rules pg_ident_file_mappings pg_show_all_file_settings pg_config
     pg_export_snapshot`,
  ],
  [
    'admin',
    'controls the server or other sessions',
    `pg_reload_conf pg_rotate_logfile pg_rotate_logfile_old pg_terminate_backend pg_cancel_backend pg_switch_wal
     pg_promote pg_backup_start pg_backup_stop pg_start_backup pg_stop_backup pg_create_restore_point pg_wal_replay_pause pg_wal_replay_resume
     pg_log_backend_memory_contexts pg_log_standby_snapshot pg_import_system_collations pg_nextoid
     pg_stop_making_pinned_objects pg_extension_config_dump pg_stat_reset pg_stat_reset_backend_stats
     pg_stat_reset_replication_slot pg_stat_reset_shared pg_stat_reset_single_function_counters
     pg_stat_reset_single_table_counters pg_stat_reset_slru pg_stat_reset_subscription_stats
     pg_restore_relation_stats pg_clear_relation_stats pg_restore_attribute_stats pg_clear_attribute_stats
     brin_desummarize_range brin_summarize_new_values brin_summarize_range gin_clean_pending_list`,
  ],
  [
    'admin',
    'uses or changes replication',
    `pg_create_physical_replication_slot pg_create_logical_replication_slot pg_drop_replication_slot
     pg_copy_physical_replication_slot pg_copy_logical_replication_slot pg_replication_slot_advance
     pg_logical_slot_get_changes pg_logical_slot_get_binary_changes pg_logical_slot_peek_changes
     pg_logical_slot_peek_binary_changes pg_logical_emit_message pg_replication_origin_create
     pg_replication_origin_drop pg_replication_origin_advance pg_replication_origin_session_setup
     pg_replication_origin_session_reset pg_replication_origin_xact_setup pg_replication_origin_xact_reset
     pg_sync_replication_slots`,
  ],
];

const FOLDS = new Set(
  words(`
  array_agg json_agg json_agg_strict json_object_agg json_object_agg_strict json_object_agg_unique
  json_object_agg_unique_strict jsonb_agg jsonb_agg_strict jsonb_object_agg jsonb_object_agg_strict
  jsonb_object_agg_unique jsonb_object_agg_unique_strict range_agg string_agg xmlagg`),
);

/** The functions whose effect depends on their arguments; see calls.ts. */
export const JUDGED_BY_ARGUMENTS: ReadonlySet<string> = new Set([
  'set_config',
  'pg_notify',
  'pg_sleep',
  'pg_sleep_for',
  'ts_rewrite',
  'pg_input_is_valid',
  'pg_input_error_info',
]);

const effectOf = new Map<string, { class: StatementClass; reason: string }>();
for (const [effectClass, reason, names] of EFFECTS) {
  for (const name of words(names)) {
    const known = effectOf.get(name);
    if (known === undefined || higherClass(known.class, effectClass) === effectClass)
      effectOf.set(name, { class: effectClass, reason });
  }
}

const FUNCTIONS: ReadonlyMap<string, BuiltinFunction> = new Map(
  words(BUILTIN_FUNCTIONS).map((entry) => {
    const [name = '', flags = 'v'] = entry.split(':');
    return [name, judged(name, flags)];
  }),
);

function judged(name: string, flags: string): BuiltinFunction {
  const volatile = flags.startsWith('v');
  let effect = effectOf.get(name) ?? null;
  if (effect === null && name.startsWith('binary_upgrade_'))
    effect = { class: 'admin', reason: 'belongs to pg_upgrade' };
  if (effect === null && volatile && !HARMLESS_VOLATILE.has(name) && !JUDGED_BY_ARGUMENTS.has(name))
    effect = { class: 'opaque', reason: 'is volatile and not listed as harmless' };
  return {
    name,
    volatile,
    volatility: volatile ? 'volatile' : flags.startsWith('s') ? 'stable' : 'immutable',
    boundary: effect?.reason === USES_FILES ? 'server_files' : null,
    returnsSet: flags.includes('r'),
    aggregate: flags.includes('a'),
    folds: FOLDS.has(name),
    makesJson: /^(to_jsonb?|row_to_json|array_to_json|jsonb?_build_|jsonb?_agg|jsonb?_object_agg)/.test(name),
    effect,
  };
}

/** The built-in function `pg_catalog.<name>` (or `information_schema.<name>`), or undefined. */
export function builtinFunction(name: string): BuiltinFunction | undefined {
  return FUNCTIONS.get(name);
}

/** Names that somebody has judged one by one; the rest is harmless because it was reviewed and is not volatile. */
export function listedByHand(): ReadonlySet<string> {
  return new Set([...HARMLESS_VOLATILE, ...effectOf.keys(), ...FOLDS, ...JUDGED_BY_ARGUMENTS]);
}

/** The names that are listed by hand but that no known server has; a test wants none. */
export function listedButUnknown(): string[] {
  return [...listedByHand()].filter((name) => !FUNCTIONS.has(name));
}

export const BUILTIN_OPERATOR_NAMES: ReadonlySet<string> = new Set(words(BUILTIN_OPERATORS));
const TYPES: ReadonlySet<string> = new Set(words(BUILTIN_TYPES));
export const SYSTEM_RELATION_NAMES: ReadonlySet<string> = new Set(words(SYSTEM_RELATIONS));

/** A type of pg_catalog, or an array of one by its internal name. */
export function isBuiltinType(name: string): boolean {
  return TYPES.has(name) || (name.startsWith('_') && TYPES.has(name.slice(1)));
}
