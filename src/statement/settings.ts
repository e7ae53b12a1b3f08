import type { StatementClass } from './analysis.ts';

/** What giving a setting a value means. */
export type SettingJudgement = {
  readonly class: StatementClass;
  readonly reason: string;
  /** A pinned setting gets another value than the pinned one. */
  readonly pinned: boolean;
};

const words = (text: string): string[] => text.trim().split(/\s+/);

/** Settings of the session that change how fast, how long, or how shown; never what, by whom, or how it is recorded. */
const HARMLESS = new Set(
  words(`
  application_name backend_flush_after bytea_output check_function_bodies client_connection_check_interval
  client_min_messages commit_siblings constraint_exclusion cpu_index_tuple_cost cpu_operator_cost cpu_tuple_cost
  cursor_tuple_fraction datestyle deadlock_timeout default_statistics_target default_table_access_method
  default_tablespace default_text_search_config default_toast_compression default_transaction_deferrable
  default_transaction_isolation default_transaction_read_only default_with_oids effective_cache_size
  effective_io_concurrency enable_async_append enable_bitmapscan enable_distinct_reordering enable_gathermerge
  enable_group_by_reordering enable_hashagg enable_hashjoin enable_incremental_sort enable_indexonlyscan
  enable_indexscan enable_material enable_memoize enable_mergejoin enable_nestloop enable_parallel_append
  enable_parallel_hash enable_partition_pruning enable_partitionwise_aggregate enable_partitionwise_join
  enable_presorted_aggregate enable_self_join_elimination enable_seqscan enable_sort enable_tidscan
  escape_string_warning exit_on_error extra_float_digits force_parallel_mode debug_parallel_query from_collapse_limit
  geqo geqo_effort geqo_generations geqo_pool_size geqo_seed geqo_selection_bias geqo_threshold gin_fuzzy_search_limit
  gin_pending_list_limit hash_mem_multiplier icu_validation_level idle_in_transaction_session_timeout
  idle_session_timeout intervalstyle jit jit_above_cost jit_inline_above_cost jit_optimize_above_cost
  join_collapse_limit lc_monetary lc_numeric lc_time lock_timeout logical_decoding_work_mem maintenance_io_concurrency
  maintenance_work_mem max_parallel_maintenance_workers max_parallel_workers max_parallel_workers_per_gather
  min_parallel_index_scan_size min_parallel_table_scan_size parallel_leader_participation parallel_setup_cost
  parallel_tuple_cost plan_cache_mode quote_all_identifiers random_page_cost recursive_worktable_factor
  restrict_nonsystem_relation_kind row_security search_path seed seq_page_cost ssl_renegotiation_limit
  statement_timeout stats_fetch_consistency synchronize_seqscans synchronous_commit tcp_keepalives_count
  tcp_keepalives_idle tcp_keepalives_interval tcp_user_timeout temp_buffers temp_tablespaces timezone
  timezone_abbreviations transaction_deferrable transaction_isolation transaction_read_only transaction_timeout
  vacuum_buffer_usage_limit vacuum_cost_delay vacuum_cost_limit vacuum_cost_page_dirty vacuum_cost_page_hit
  vacuum_cost_page_miss vacuum_freeze_min_age vacuum_freeze_table_age work_mem xmlbinary xmloption`),
);

const PRIVILEGED: ReadonlyMap<string, string> = new Map([
  ['role', 'changes the current role'],
  ['session_authorization', 'changes the session user'],
  ['session_replication_role', 'switches triggers and constraints off'],
  ['createrole_self_grant', 'changes which roles a new role is granted to'],
  ['lo_compat_privileges', 'switches the privileges of large objects off'],
]);

/** Dotted names that belong to extensions and change what they record, load or allow; other dotted names are free. */
const EXTENSION_PREFIXES = new Set(
  words(`
  anon auth_delay auto_explain basebackup_to_shell citus countersign cron isn passwordcheck pg_prewarm
  pg_stat_statements pgaudit pgcrypto pglogical plperl plpgsql plpython plpython3u plrust pltcl plv8 postgres_fdw
  safeupdate sepgsql set_user supautils timescaledb`),
);

const FREE: SettingJudgement = { class: 'session', reason: 'changes a harmless setting', pinned: false };

/**
 * Judges `SET name = value` (also RESET, set_config, startup). `value` null: the default, or not known to be constant
 * (`constant` false).
 */
export function judgeSetting(name: string, value: string | null, constant = true): SettingJudgement {
  const key = name.toLowerCase();
  if (key === 'client_encoding' || key === 'names') return pinned(key, constant, isUtf8Name(value));
  if (key === 'standard_conforming_strings') return pinned(key, constant, value === null || isOn(value));
  const privileged = PRIVILEGED.get(key);
  if (privileged !== undefined) return { class: 'privilege', reason: `${key}: ${privileged}`, pinned: false };
  if (HARMLESS.has(key)) return FREE;
  const dot = key.indexOf('.');
  if (dot > 0 && !EXTENSION_PREFIXES.has(key.slice(0, dot))) return FREE;
  return { class: 'admin', reason: `the setting ${key} is not listed as harmless`, pinned: false };
}

/** Settings under which the server would read another text than the parser does. */
function pinned(key: string, constant: boolean, same: boolean): SettingJudgement {
  if (constant && same) return FREE;
  return { class: 'admin', reason: `changes the pinned setting ${key}`, pinned: true };
}

/** As pg_char_to_encoding compares names: only letters and digits count. The default is what the session started with. */
function isUtf8Name(value: string | null): boolean {
  if (value === null) return true;
  const cleaned = value.toLowerCase().replace(/[^a-z0-9]/g, '');
  return cleaned === 'utf8' || cleaned === 'unicode';
}

/** As Postgres' parse_bool: any prefix that is not ambiguous. */
export function isOn(value: string): boolean {
  const word = value.trim().toLowerCase();
  return word !== '' && ('true'.startsWith(word) || 'yes'.startsWith(word) || word === 'on' || word === '1');
}
