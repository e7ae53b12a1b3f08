import { ENUM_VALUES, NODE_FIELDS } from './grammar.generated.ts';

/** What a field of a node holds. */
export type FieldKind =
  | { readonly kind: 'scalar' }
  | { readonly kind: 'node' }
  | { readonly kind: 'list' }
  | { readonly kind: 'enum'; readonly values: ReadonlySet<string> }
  | { readonly kind: 'struct'; readonly type: string };

export type NodeShape = ReadonlyMap<string, FieldKind>;

const SCALAR: FieldKind = { kind: 'scalar' };
const NODE: FieldKind = { kind: 'node' };
const LIST: FieldKind = { kind: 'list' };

/** Every node that analysis knows. What is not in it is `unparsed`: a new node, field or value cannot hide. */
export const SHAPES: ReadonlyMap<string, NodeShape> = build();

function build(): ReadonlyMap<string, NodeShape> {
  const enums = new Map<string, FieldKind>();
  for (const [name, values] of Object.entries(ENUM_VALUES)) {
    enums.set(name, { kind: 'enum', values: new Set(values.split(' ')) });
  }
  const shapes = new Map<string, NodeShape>();
  for (const [type, fields] of Object.entries(NODE_FIELDS)) {
    const shape = new Map<string, FieldKind>();
    for (const field of fields === '' ? [] : fields.split(' ')) {
      const at = field.indexOf(':');
      shape.set(field.slice(0, at), fieldKind(field.slice(at + 1), enums));
    }
    shapes.set(type, shape);
  }
  return shapes;
}

function fieldKind(code: string, enums: ReadonlyMap<string, FieldKind>): FieldKind {
  if (code === '-') return SCALAR;
  if (code === '*') return NODE;
  if (code === '[]') return LIST;
  if (code.startsWith('=')) return enums.get(code.slice(1)) ?? { kind: 'enum', values: new Set() };
  return { kind: 'struct', type: code };
}
