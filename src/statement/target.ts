import type { LockMode, TableWork } from './locks.ts';
import { bodyOf, flag, list, nameParts, type Tree, text } from './tree.ts';

/**
 * What a command of DDL or privileges is aimed at, as it stands in the text: what has to be looked up so that people can
 * be told what it would touch. For people alone: no decision rests on it. Names are attacker-controlled.
 */
export type Target =
  | {
      readonly kind: 'drop';
      readonly objects: readonly ObjectName[];
      readonly cascade: boolean;
      /** DROP INDEX CONCURRENTLY. */
      readonly concurrently: boolean;
    }
  /** A column or constraint that is dropped. */
  | {
      readonly kind: 'drop_part';
      readonly table: ObjectName;
      readonly part: TablePart;
      readonly cascade: boolean;
    }
  /** A column that gets another type: what depends on it must be rebuilt, or speaks against it. */
  | { readonly kind: 'retype'; readonly table: ObjectName; readonly column: string }
  | TableTarget
  | { readonly kind: 'truncate'; readonly tables: readonly ObjectName[]; readonly cascade: boolean }
  | { readonly kind: 'refresh'; readonly view: ObjectName }
  | GrantTarget
  | {
      readonly kind: 'membership';
      readonly roles: readonly string[];
      readonly grantees: readonly RoleName[];
      readonly revoke: boolean;
    }
  /** An object, or all that a role has, gets another owner. */
  | { readonly kind: 'owner'; readonly objects: readonly ObjectName[]; readonly owner: RoleName }
  | {
      readonly kind: 'owned';
      readonly roles: readonly RoleName[];
      readonly to: RoleName | null;
      readonly cascade: boolean;
    }
  | { readonly kind: 'drop_role'; readonly roles: readonly RoleName[] }
  | { readonly kind: 'act_as'; readonly role: string; readonly session: boolean }
  | { readonly kind: 'write'; readonly relation: ObjectName; readonly access: 'update' | 'delete' }
  /** Nobody can know beforehand. */
  | { readonly kind: 'unknown'; readonly why: string };

export type TablePart = { readonly kind: 'column' | 'constraint'; readonly name: string };

export type TableTarget = {
  readonly kind: 'table';
  readonly relation: ObjectName;
  readonly lock: LockMode;
  readonly work: readonly TableWork[];
  /** Its partitions and children get the same. */
  readonly children: boolean;
};

export type GrantTarget = {
  readonly kind: 'grant';
  readonly revoke: boolean;
  readonly privileges: readonly string[];
  readonly grantOption: boolean;
  readonly grantees: readonly RoleName[];
  readonly on:
    | { readonly kind: 'objects'; readonly objects: readonly ObjectName[] }
    | { readonly kind: 'all_in_schema'; readonly what: string; readonly schemas: readonly string[] }
    | { readonly kind: 'later'; readonly what: string; readonly schemas: readonly string[] };
  readonly cascade: boolean;
};

export type ObjectName = {
  /** As the grammar has it: OBJECT_TABLE … */
  readonly type: string;
  /** From the outermost; a trigger, policy or rule comes after its table. */
  readonly names: readonly string[];
  /** Input types of a function; null: not given. */
  readonly args: readonly TypeRef[] | null;
};
export type TypeRef = { readonly names: readonly string[]; readonly array: boolean };
/** `word`: PUBLIC, CURRENT_USER … */
export type RoleName = { readonly kind: 'name' | 'word'; readonly name: string };

/** The name of an object in any of the forms that the grammar gives it. */
export function objectName(type: string, item: unknown): ObjectName {
  const range = bodyOf(item, 'RangeVar');
  if (range !== null) return rangeName(range, type);
  const typed = bodyOf(item, 'TypeName');
  if (typed !== null) return { type, names: nameParts(list(typed, 'names')), args: null };
  const callable = bodyOf(item, 'ObjectWithArgs');
  if (callable !== null)
    return {
      type,
      names: nameParts(list(callable, 'objname')),
      args: flag(callable, 'args_unspecified') ? null : list(callable, 'objargs').map(typeRef),
    };
  const listed = bodyOf(item, 'List');
  if (listed === null) return { type, names: nameParts([item]), args: null };
  // ALTER TYPE … and COMMENT name a type within a list.
  const parts = list(listed, 'items');
  const inner = bodyOf(parts[0], 'TypeName');
  return { type, names: nameParts(inner === null ? parts : list(inner, 'names')), args: null };
}

function typeRef(item: unknown): TypeRef {
  const typed = bodyOf(item, 'TypeName');
  return { names: nameParts(list(typed, 'names')), array: list(typed, 'arrayBounds').length > 0 };
}

export function rangeName(range: Tree | null, type = 'OBJECT_TABLE'): ObjectName {
  const schema = text(range, 'schemaname');
  const name = text(range, 'relname');
  return { type, names: schema === '' ? [name] : [schema, name], args: null };
}

export function rolesOf(body: Tree, key: string): readonly RoleName[] {
  return list(body, key).map((item) => roleName(bodyOf(item, 'RoleSpec')));
}

export function roleName(spec: Tree | null): RoleName {
  const kind = text(spec, 'roletype');
  if (kind === 'ROLESPEC_CSTRING') return { kind: 'name', name: text(spec, 'rolename') };
  return { kind: 'word', name: kind.replace('ROLESPEC_', '') };
}
