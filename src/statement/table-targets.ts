import { alterForm, type LockMode, strongerLock, type TableWork } from './locks.ts';
import { type ObjectName, rangeName, roleName, type Target } from './target.ts';
import { bodyOf, child, flag, integer, list, type Tree, text } from './tree.ts';

/** Commands that lock and change a relation: which one, how, and what has to be looked up besides. */
export function tableTargets(type: string, body: Tree): readonly Target[] {
  return COMMANDS[type]?.(body) ?? [];
}

const COMMANDS: Readonly<Record<string, (body: Tree) => readonly Target[]>> = {
  AlterTableStmt: alterTable,
  RenameStmt: (body) => {
    const relation = child(body, 'relation');
    if (relation === null) return [];
    // A partition has the columns of its parent, and an index is renamed while others use it.
    const index = text(body, 'renameType') === 'OBJECT_INDEX';
    const lock = index ? 'SHARE UPDATE EXCLUSIVE' : 'ACCESS EXCLUSIVE';
    return [table(relation, lock, 'none', text(body, 'renameType') === 'OBJECT_COLUMN')];
  },
  AlterObjectSchemaStmt: (body) => of(child(body, 'relation'), 'ACCESS EXCLUSIVE', 'none'),
  IndexStmt: (body) =>
    of(
      child(body, 'relation'),
      flag(body, 'concurrent') ? 'SHARE UPDATE EXCLUSIVE' : 'SHARE',
      'index',
      !flag(body, 'concurrent'),
    ),
  ReindexStmt: (body) => {
    const concurrent = optionOn(body, 'params', 'concurrently');
    const lock = concurrent ? 'SHARE UPDATE EXCLUSIVE' : 'SHARE';
    const index = text(body, 'kind') === 'REINDEX_OBJECT_INDEX';
    const relation = child(body, 'relation');
    if (relation === null)
      return [
        {
          kind: 'unknown',
          why: 'every index of a schema or database is built again: which ones is not listed',
        },
      ];
    return index && !concurrent
      ? [table(relation, 'ACCESS EXCLUSIVE', 'index', true, 'OBJECT_INDEX')]
      : [table(relation, lock, 'index', true, index ? 'OBJECT_INDEX' : 'OBJECT_TABLE')];
  },
  ClusterStmt: (body) => of(child(body, 'relation'), 'ACCESS EXCLUSIVE', 'rewrite'),
  VacuumStmt: (body) => {
    if (!flag(body, 'is_vacuumcmd')) return [];
    const full = optionOn(body, 'options', 'full');
    return list(body, 'rels').flatMap((item) =>
      of(
        child(bodyOf(item, 'VacuumRelation'), 'relation'),
        full ? 'ACCESS EXCLUSIVE' : 'SHARE UPDATE EXCLUSIVE',
        full ? 'rewrite' : 'none',
        true,
      ),
    );
  },
  RefreshMatViewStmt: (body) =>
    of(child(body, 'relation'), flag(body, 'concurrent') ? 'EXCLUSIVE' : 'ACCESS EXCLUSIVE', 'rewrite'),
  CreateTrigStmt: (body) => of(child(body, 'relation'), 'SHARE ROW EXCLUSIVE', 'none', true),
  CreatePolicyStmt: (body) => of(child(body, 'table'), 'ACCESS EXCLUSIVE', 'none'),
  AlterPolicyStmt: (body) => of(child(body, 'table'), 'ACCESS EXCLUSIVE', 'none'),
  RuleStmt: (body) => of(child(body, 'relation'), 'ACCESS EXCLUSIVE', 'none'),
  CreateStatsStmt: (body) =>
    list(body, 'relations').flatMap((item) => of(bodyOf(item, 'RangeVar'), 'SHARE UPDATE EXCLUSIVE', 'none')),
  LockStmt: (body) => {
    const mode = MODES[integer(body, 'mode') - 1] ?? 'ACCESS EXCLUSIVE';
    return list(body, 'relations').flatMap((item) => of(bodyOf(item, 'RangeVar'), mode, 'none', true));
  },
  CreateStmt: createTable,
};

/** As LockStmt numbers them (lockdefs.h), from 1. */
const MODES: readonly LockMode[] = [
  'ACCESS SHARE',
  'ROW SHARE',
  'ROW EXCLUSIVE',
  'SHARE UPDATE EXCLUSIVE',
  'SHARE',
  'SHARE ROW EXCLUSIVE',
  'EXCLUSIVE',
  'ACCESS EXCLUSIVE',
];

function of(relation: Tree | null, lock: LockMode, work: TableWork, children = false): readonly Target[] {
  return relation === null ? [] : [table(relation, lock, work, children)];
}

/** A boolean option: on where it is only named. */
function optionOn(body: Tree, key: string, name: string): boolean {
  return list(body, key).some((item) => {
    const option = bodyOf(item, 'DefElem');
    if (text(option, 'defname') !== name) return false;
    const arg = child(option, 'arg');
    const word = text(bodyOf(arg, 'String'), 'sval').toLowerCase();
    if (bodyOf(arg, 'Integer') !== null) return integer(bodyOf(arg, 'Integer'), 'ival') !== 0;
    return word !== 'false' && word !== 'off' && word !== '0';
  });
}

function table(
  relation: Tree,
  lock: LockMode,
  work: TableWork,
  children = false,
  type = 'OBJECT_TABLE',
): Target {
  return {
    kind: 'table',
    relation: rangeName(relation, type),
    lock,
    work: [work],
    // `inh` is left out for ONLY.
    children: children && flag(relation, 'inh'),
  };
}

/** A new table locks those that it refers to or becomes a part of. */
function createTable(body: Tree): readonly Target[] {
  const partition = child(body, 'partbound') !== null;
  const parents = list(body, 'inhRelations').flatMap((item) =>
    of(bodyOf(item, 'RangeVar'), partition ? 'ACCESS EXCLUSIVE' : 'SHARE UPDATE EXCLUSIVE', 'none'),
  );
  const referred = list(body, 'tableElts').flatMap((item) => [
    ...referredTo(bodyOf(item, 'Constraint')),
    ...list(bodyOf(item, 'ColumnDef'), 'constraints').flatMap((one) => referredTo(bodyOf(one, 'Constraint'))),
  ]);
  return [...parents, ...referred];
}

function referredTo(constraint: Tree | null): readonly Target[] {
  return of(child(constraint, 'pktable'), 'SHARE ROW EXCLUSIVE', 'none');
}

/** One lock for all forms in the statement: the strongest. */
function alterTable(body: Tree): readonly Target[] {
  const relation = child(body, 'relation');
  if (relation === null) return [];
  const type = text(body, 'objtype');
  const name = rangeName(relation, type);
  const commands = list(body, 'cmds').flatMap((item) => {
    const command = bodyOf(item, 'AlterTableCmd');
    return command === null ? [] : [command];
  });
  let lock: LockMode = 'ACCESS SHARE';
  const work: TableWork[] = [];
  const more: Target[] = [];
  for (const command of commands) {
    const form = alterForm(command);
    lock = strongerLock(lock, form?.lock ?? 'ACCESS EXCLUSIVE');
    if (form !== null && !work.includes(form.work)) work.push(form.work);
    more.push(...besides(name, command));
  }
  const children =
    flag(relation, 'inh') && commands.some((command) => GOES_DOWN.has(text(command, 'subtype')));
  return [{ kind: 'table', relation: name, lock, work, children }, ...more];
}

/** Forms that are carried out on partitions and children, too. */
const GOES_DOWN = new Set([
  'AT_AddColumn',
  'AT_DropColumn',
  'AT_AlterColumnType',
  'AT_ColumnDefault',
  'AT_SetNotNull',
  'AT_DropNotNull',
  'AT_AddConstraint',
  'AT_DropConstraint',
  'AT_ValidateConstraint',
  'AT_SetStorage',
  'AT_SetExpression',
  'AT_DropExpression',
]);

function besides(name: ObjectName, command: Tree): readonly Target[] {
  const def = child(command, 'def');
  const partition = child(bodyOf(def, 'PartitionCmd'), 'name');
  const cascade = text(command, 'behavior') === 'DROP_CASCADE';
  switch (text(command, 'subtype')) {
    case 'AT_DropColumn':
      return [
        { kind: 'drop_part', table: name, part: { kind: 'column', name: text(command, 'name') }, cascade },
      ];
    case 'AT_DropConstraint':
      return [
        {
          kind: 'drop_part',
          table: name,
          part: { kind: 'constraint', name: text(command, 'name') },
          cascade,
        },
      ];
    case 'AT_AlterColumnType':
      return [{ kind: 'retype', table: name, column: text(command, 'name') }];
    case 'AT_ChangeOwner':
      return [{ kind: 'owner', objects: [name], owner: roleName(child(command, 'newowner')) }];
    case 'AT_AddConstraint':
      return referredTo(bodyOf(def, 'Constraint'));
    case 'AT_AddColumn':
      return list(bodyOf(def, 'ColumnDef'), 'constraints').flatMap((item) =>
        referredTo(bodyOf(item, 'Constraint')),
      );
    case 'AT_AddInherit':
      return of(bodyOf(def, 'RangeVar'), 'SHARE UPDATE EXCLUSIVE', 'none');
    case 'AT_AttachPartition':
      return of(partition, 'ACCESS EXCLUSIVE', 'scan');
    case 'AT_DetachPartition':
      return of(partition, 'ACCESS EXCLUSIVE', 'none');
    default:
      return [];
  }
}
