import { bodyOf, child, flag, list, type Tree, text } from './tree.ts';

/** Table-level lock modes, weakest first (manual, "Explicit Locking", 13.3.1). */
export const LOCK_MODES = [
  'ACCESS SHARE',
  'ROW SHARE',
  'ROW EXCLUSIVE',
  'SHARE UPDATE EXCLUSIVE',
  'SHARE',
  'SHARE ROW EXCLUSIVE',
  'EXCLUSIVE',
  'ACCESS EXCLUSIVE',
] as const;
export type LockMode = (typeof LOCK_MODES)[number];

export function strongerLock(a: LockMode, b: LockMode): LockMode {
  return LOCK_MODES.indexOf(a) >= LOCK_MODES.indexOf(b) ? a : b;
}

/** What others cannot do meanwhile, for people. */
export function lockWords(mode: LockMode): string {
  if (mode === 'ACCESS EXCLUSIVE') return 'nobody else reads or writes it meanwhile';
  if (mode === 'EXCLUSIVE' || mode === 'SHARE ROW EXCLUSIVE' || mode === 'SHARE')
    return 'others read it, their writes wait';
  if (mode === 'SHARE UPDATE EXCLUSIVE') return 'others read and write it; other changes of its form wait';
  return 'others read and write it';
}

/** What a command does to the whole of a table, beside taking a lock. */
export type TableWork =
  /** Writes a new copy of it, with its indexes. */
  | 'rewrite'
  /** Does, if types or the default's volatility ask for it, or unless it is so already. */
  | 'maybe_rewrite'
  /** Reads all of it to check that a rule holds. */
  | 'scan'
  /** Reads all of it to build an index. */
  | 'index'
  /** Changes no stored row. */
  | 'none';

export type TableEffect = { readonly lock: LockMode; readonly work: TableWork };

/**
 * Lock of each form of ALTER TABLE, as AlterTableGetLockLevel has it (tablecmds.c) and the manual; what is not here takes
 * ACCESS EXCLUSIVE, which is the default there and the strongest, and its work is not known.
 */
const FORMS: Readonly<Record<string, TableEffect>> = {
  AT_ColumnDefault: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_DropNotNull: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_SetNotNull: { lock: 'ACCESS EXCLUSIVE', work: 'scan' },
  AT_SetExpression: { lock: 'ACCESS EXCLUSIVE', work: 'rewrite' },
  AT_DropExpression: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_SetStatistics: { lock: 'SHARE UPDATE EXCLUSIVE', work: 'none' },
  AT_SetOptions: { lock: 'SHARE UPDATE EXCLUSIVE', work: 'none' },
  AT_ResetOptions: { lock: 'SHARE UPDATE EXCLUSIVE', work: 'none' },
  AT_SetStorage: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_SetCompression: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_DropColumn: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_AlterConstraint: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_ValidateConstraint: { lock: 'SHARE UPDATE EXCLUSIVE', work: 'scan' },
  AT_DropConstraint: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_AlterColumnType: { lock: 'ACCESS EXCLUSIVE', work: 'maybe_rewrite' },
  AT_ChangeOwner: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_ClusterOn: { lock: 'SHARE UPDATE EXCLUSIVE', work: 'none' },
  AT_DropCluster: { lock: 'SHARE UPDATE EXCLUSIVE', work: 'none' },
  AT_SetLogged: { lock: 'ACCESS EXCLUSIVE', work: 'maybe_rewrite' },
  AT_SetUnLogged: { lock: 'ACCESS EXCLUSIVE', work: 'maybe_rewrite' },
  AT_SetAccessMethod: { lock: 'ACCESS EXCLUSIVE', work: 'maybe_rewrite' },
  AT_SetTableSpace: { lock: 'ACCESS EXCLUSIVE', work: 'maybe_rewrite' },
  AT_EnableTrig: { lock: 'SHARE ROW EXCLUSIVE', work: 'none' },
  AT_EnableAlwaysTrig: { lock: 'SHARE ROW EXCLUSIVE', work: 'none' },
  AT_EnableReplicaTrig: { lock: 'SHARE ROW EXCLUSIVE', work: 'none' },
  AT_DisableTrig: { lock: 'SHARE ROW EXCLUSIVE', work: 'none' },
  AT_EnableTrigAll: { lock: 'SHARE ROW EXCLUSIVE', work: 'none' },
  AT_DisableTrigAll: { lock: 'SHARE ROW EXCLUSIVE', work: 'none' },
  AT_EnableTrigUser: { lock: 'SHARE ROW EXCLUSIVE', work: 'none' },
  AT_DisableTrigUser: { lock: 'SHARE ROW EXCLUSIVE', work: 'none' },
  AT_EnableRule: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_EnableAlwaysRule: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_EnableReplicaRule: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_DisableRule: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_AddInherit: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_DropInherit: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_ReplicaIdentity: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_EnableRowSecurity: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_DisableRowSecurity: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_ForceRowSecurity: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_NoForceRowSecurity: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_AttachPartition: { lock: 'SHARE UPDATE EXCLUSIVE', work: 'none' },
  AT_DetachPartition: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_DetachPartitionFinalize: { lock: 'SHARE UPDATE EXCLUSIVE', work: 'none' },
  AT_AddIdentity: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_SetIdentity: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
  AT_DropIdentity: { lock: 'ACCESS EXCLUSIVE', work: 'none' },
};

/** Null: a form that nobody has looked at; it counts as ACCESS EXCLUSIVE. */
export function alterForm(command: Tree): TableEffect | null {
  const subtype = text(command, 'subtype');
  const def = child(command, 'def');
  if (subtype === 'AT_AddColumn') return addColumn(bodyOf(def, 'ColumnDef'));
  if (subtype === 'AT_AddConstraint') return addConstraint(bodyOf(def, 'Constraint'));
  if (
    subtype === 'AT_SetRelOptions' ||
    subtype === 'AT_ResetRelOptions' ||
    subtype === 'AT_ReplaceRelOptions'
  )
    return { lock: optionsLock(list(child(def, 'List'), 'items')), work: 'none' };
  if (subtype === 'AT_DetachPartition' && flag(bodyOf(def, 'PartitionCmd'), 'concurrent'))
    return { lock: 'SHARE UPDATE EXCLUSIVE', work: 'none' };
  return FORMS[subtype] ?? null;
}

/** A default that may be volatile, a generated or identity column and a serial type are computed for every row. */
function addColumn(column: Tree | null): TableEffect {
  const lock = 'ACCESS EXCLUSIVE';
  const typeName = list(child(column, 'typeName'), 'names').map((part) =>
    text(bodyOf(part, 'String'), 'sval'),
  );
  if (/^(?:small|big)?serial[248]?$/.test(typeName.at(-1) ?? '')) return { lock, work: 'rewrite' };
  let work: TableWork = typeName[0] === 'pg_catalog' ? 'none' : 'maybe_rewrite';
  for (const item of list(column, 'constraints')) {
    const constraint = bodyOf(item, 'Constraint');
    const kind = text(constraint, 'contype');
    if (kind === 'CONSTR_IDENTITY') return { lock, work: 'rewrite' };
    if (kind === 'CONSTR_GENERATED') return { lock, work: 'maybe_rewrite' };
    if (kind === 'CONSTR_DEFAULT' && !isConstant(child(constraint, 'raw_expr'))) work = 'maybe_rewrite';
    if ((kind === 'CONSTR_PRIMARY' || kind === 'CONSTR_UNIQUE') && work === 'none') work = 'index';
    if (
      (kind === 'CONSTR_CHECK' || kind === 'CONSTR_FOREIGN' || kind === 'CONSTR_NOTNULL') &&
      work === 'none'
    )
      work = 'scan';
  }
  return { lock, work };
}

function isConstant(expression: Tree | null): boolean {
  const cast = bodyOf(expression, 'TypeCast');
  if (cast !== null) return isConstant(child(cast, 'arg'));
  return bodyOf(expression, 'A_Const') !== null;
}

function addConstraint(constraint: Tree | null): TableEffect {
  const valid = !flag(constraint, 'skip_validation');
  switch (text(constraint, 'contype')) {
    case 'CONSTR_FOREIGN':
      return { lock: 'SHARE ROW EXCLUSIVE', work: valid ? 'scan' : 'none' };
    case 'CONSTR_CHECK':
    case 'CONSTR_NOTNULL':
      return { lock: 'ACCESS EXCLUSIVE', work: valid ? 'scan' : 'none' };
    case 'CONSTR_PRIMARY':
    case 'CONSTR_UNIQUE':
      return { lock: 'ACCESS EXCLUSIVE', work: text(constraint, 'indexname') === '' ? 'index' : 'none' };
    default:
      return { lock: 'ACCESS EXCLUSIVE', work: 'index' };
  }
}

/** Storage parameters of tables and of their TOAST tables that need no more (reloptions.c); others take the strongest. */
const LIGHT_OPTIONS =
  /^(?:fillfactor|toast_tuple_target|parallel_workers|vacuum_[a-z_]+|log_autovacuum_min_duration|autovacuum_[a-z_]+|deduplicate_items|gin_pending_list_limit|fastupdate|buffering|pages_per_range|autosummarize|n_distinct|n_distinct_inherited)$/;

function optionsLock(options: readonly unknown[]): LockMode {
  let lock: LockMode = 'SHARE UPDATE EXCLUSIVE';
  for (const option of options)
    if (!LIGHT_OPTIONS.test(text(bodyOf(option, 'DefElem'), 'defname'))) lock = 'ACCESS EXCLUSIVE';
  return options.length === 0 ? 'ACCESS EXCLUSIVE' : lock;
}
