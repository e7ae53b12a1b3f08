import { type Context, DEEPEST_WALK, unparsed } from './context.ts';
import { type FieldKind, SHAPES } from './grammar.ts';
import { type Tree, typeOf } from './tree.ts';

/** What is done at a node of a type, instead of only visiting its children. */
export type Handler = (context: Context, node: Tree, type: string) => void;

/**
 * Filled by the files that know the nodes (see handlers.ts); a node without a handler is walked through. A registry,
 * because expressions contain queries and queries contain expressions.
 */
export const HANDLERS = new Map<string, Handler>();

/** Visits a wrapped node. */
export function visit(context: Context, wrapped: unknown): void {
  if (wrapped === null || wrapped === undefined) return;
  const type = typeOf(wrapped);
  // An empty object stands for a missing element of a list.
  if (type === '') return;
  visitAs(context, type, (wrapped as Tree)[type] as Tree);
}

export function visitAll(context: Context, nodes: readonly unknown[]): void {
  let last: unknown;
  for (const node of nodes) {
    // The very same again, in a long list of constants: nothing new is in it.
    if (node !== last) visit(context, node);
    last = node;
  }
}

/** Visits the body of a node of that type. */
export function visitAs(context: Context, type: string, node: Tree | null | undefined): void {
  if (node === null || node === undefined) return;
  const { facts } = context;
  const { at } = facts;
  const location = node['location'];
  if (typeof location === 'number' && location >= 0) facts.at = location;
  if (++context.depth > DEEPEST_WALK) {
    unparsed(context, 'the statement is nested too deeply to be read');
  } else {
    const handler = HANDLERS.get(type);
    if (handler !== undefined) handler(context, node, type);
    else visitChildren(context, type, node);
  }
  context.depth--;
  facts.at = at;
}

/** Checks a node's fields against the grammar, and visits everything below it. */
export function visitChildren(context: Context, type: string, node: Tree): void {
  const shape = SHAPES.get(type);
  if (shape === undefined) return unparsed(context, `a part of the statement (${type}) is not known`);
  for (const key in node) {
    const value = node[key];
    const field = shape.get(key);
    if (field === undefined) {
      unparsed(context, `an option of the statement (${type}.${key}) is not known`);
    } else if (field.kind === 'node') {
      visit(context, value);
    } else if (field.kind === 'list') {
      if (Array.isArray(value)) visitAll(context, value);
      else unparsed(context, `a part of the statement (${type}.${key}) has an unknown form`);
    } else if (field.kind === 'struct') {
      visitAs(context, field.type, value as Tree);
    } else if (field.kind === 'enum') {
      if (!field.values.has(value as string))
        unparsed(context, `a value of ${type}.${key} (${String(value)}) is not known`);
    }
  }
}

/** Checks only the node's own fields; the caller visits every child itself. */
export function checkFields(context: Context, type: string, node: Tree): void {
  const shape = SHAPES.get(type);
  if (shape === undefined) return unparsed(context, `a part of the statement (${type}) is not known`);
  for (const key in node) {
    const field = shape.get(key);
    if (field === undefined) unparsed(context, `an option of the statement (${type}.${key}) is not known`);
    else if (!hasForm(field, node[key]))
      unparsed(context, `a value of ${type}.${key} (${String(node[key])}) is not known`);
  }
}

function hasForm(field: FieldKind, value: unknown): boolean {
  if (field.kind === 'scalar' || value === undefined) return true;
  if (field.kind === 'enum') return field.values.has(value as string);
  if (field.kind === 'list') return Array.isArray(value);
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
