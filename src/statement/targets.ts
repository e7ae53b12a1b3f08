import { objectWords } from './commands.ts';
import { tableTargets } from './table-targets.ts';
import { type GrantTarget, objectName, rangeName, roleName, rolesOf, type Target } from './target.ts';
import { bodyOf, child, flag, list, nameParts, type Tree, text, typeOf } from './tree.ts';

/** More targets of one string are not looked up. */
export const MOST_TARGETS = 100;

/** The targets of one statement. `node`: wrapped, as the parser gives it. */
export function targetsOf(node: unknown): readonly Target[] {
  const type = typeOf(node);
  const body = child(node, type);
  if (body === null) return [];
  return COMMANDS[type]?.(body) ?? tableTargets(type, body);
}

const COMMANDS: Readonly<Record<string, (body: Tree) => readonly Target[]>> = {
  DropStmt: (body) => [
    {
      kind: 'drop',
      objects: list(body, 'objects').map((item) => objectName(text(body, 'removeType'), item)),
      cascade: cascades(body),
      concurrently: flag(body, 'concurrent'),
    },
  ],
  TruncateStmt: (body) => [
    {
      kind: 'truncate',
      tables: list(body, 'relations').map((item) => rangeName(bodyOf(item, 'RangeVar'))),
      cascade: cascades(body),
    },
  ],
  RefreshMatViewStmt: (body) => [
    { kind: 'refresh', view: rangeName(child(body, 'relation'), 'OBJECT_MATVIEW') },
    ...tableTargets('RefreshMatViewStmt', body),
  ],
  GrantStmt: (body) => [grant(body, [])],
  AlterDefaultPrivilegesStmt: (body) => {
    const action = child(body, 'action');
    return action === null ? [] : [grant(action, defaultSchemas(body))];
  },
  GrantRoleStmt: (body) => [
    {
      kind: 'membership',
      roles: list(body, 'granted_roles').map((item) => text(bodyOf(item, 'AccessPriv'), 'priv_name')),
      grantees: rolesOf(body, 'grantee_roles'),
      revoke: !flag(body, 'is_grant'),
    },
  ],
  AlterOwnerStmt: (body) => [
    {
      kind: 'owner',
      objects: [objectName(text(body, 'objectType'), ownedObject(body))],
      owner: roleName(child(body, 'newowner')),
    },
  ],
  ReassignOwnedStmt: (body) => [
    { kind: 'owned', roles: rolesOf(body, 'roles'), to: roleName(child(body, 'newrole')), cascade: false },
  ],
  DropOwnedStmt: (body) => [
    { kind: 'owned', roles: rolesOf(body, 'roles'), to: null, cascade: cascades(body) },
  ],
  DropRoleStmt: (body) => [{ kind: 'drop_role', roles: rolesOf(body, 'roles') }],
  VariableSetStmt: actAs,
  UpdateStmt: (body) => written(body, 'update'),
  DeleteStmt: (body) => written(body, 'delete'),
  ExplainStmt: (body) => (analyzes(body) ? targetsOf(body['query']) : []),
  PrepareStmt: (body) => targetsOf(body['query']),
  DoStmt: () => [{ kind: 'unknown', why: 'a block of code: what it does is known only when it runs' }],
  CallStmt: () => [{ kind: 'unknown', why: 'a procedure: what it does is known only when it runs' }],
};

function written(body: Tree, access: 'update' | 'delete'): readonly Target[] {
  const relation = child(body, 'relation');
  return relation === null ? [] : [{ kind: 'write', relation: rangeName(relation), access }];
}

function analyzes(body: Tree): boolean {
  return list(body, 'options').some((item) => text(bodyOf(item, 'DefElem'), 'defname') === 'analyze');
}

/** SET ROLE and SET SESSION AUTHORIZATION. */
function actAs(body: Tree): readonly Target[] {
  const name = text(body, 'name').toLowerCase();
  const session = name === 'session_authorization';
  if ((name !== 'role' && !session) || text(body, 'kind') !== 'VAR_SET_VALUE') return [];
  const role = text(child(bodyOf(list(body, 'args')[0], 'A_Const'), 'sval'), 'sval');
  return role === 'none' && !session ? [] : [{ kind: 'act_as', role, session }];
}

function ownedObject(body: Tree): unknown {
  const relation = child(body, 'relation');
  return relation === null ? body['object'] : { RangeVar: relation };
}

function defaultSchemas(body: Tree): readonly string[] {
  for (const item of list(body, 'options')) {
    const option = bodyOf(item, 'DefElem');
    if (text(option, 'defname') === 'schemas')
      return nameParts(list(bodyOf(child(option, 'arg'), 'List'), 'items'));
  }
  return [];
}

function grant(body: Tree, schemas: readonly string[]): GrantTarget {
  const type = text(body, 'objtype');
  const what = objectWords(type).toLowerCase();
  const kind = text(body, 'targtype');
  const privileges = list(body, 'privileges').map((item) => {
    const privilege = bodyOf(item, 'AccessPriv');
    const columns = nameParts(list(privilege, 'cols'));
    const name = text(privilege, 'priv_name').toUpperCase() || 'ALL';
    return columns.length === 0 ? name : `${name} (${columns.join(', ')})`;
  });
  return {
    kind: 'grant',
    revoke: !flag(body, 'is_grant'),
    privileges: privileges.length === 0 ? ['ALL'] : privileges,
    grantOption: flag(body, 'grant_option'),
    grantees: rolesOf(body, 'grantees'),
    cascade: cascades(body),
    on:
      kind === 'ACL_TARGET_ALL_IN_SCHEMA'
        ? { kind: 'all_in_schema', what, schemas: nameParts(list(body, 'objects')) }
        : kind === 'ACL_TARGET_DEFAULTS'
          ? { kind: 'later', what, schemas }
          : { kind: 'objects', objects: list(body, 'objects').map((item) => objectName(type, item)) },
  };
}

function cascades(body: Tree): boolean {
  return text(body, 'behavior') === 'DROP_CASCADE';
}
