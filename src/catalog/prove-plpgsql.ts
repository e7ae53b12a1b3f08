import type { NameScope } from '../statement/analysis.ts';
import type { Catalog } from '../statement/catalog.ts';
import { type BodyReader, READS, unproved } from './body-reader.ts';
import type { FunctionProof, UserFunction } from './judgement.ts';
import { type Datums, hiddenInitialValue, type Node, Unproved, unwrap } from './plpgsql-tree.ts';
import { PlpgsqlWalk } from './plpgsql-walk.ts';

/** Longer bodies are not read, characters. */
const LONGEST = 64 * 1024;

/**
 * Proves a PL/pgSQL function by its own parser's tree: what is not on the list of known statements, and every embedded
 * text that does more than read (in triggers: than insert single rows), makes it unproved. Loops are only a matter of
 * time, which statement_timeout bounds; but what is read in them adds up.
 */
export function provePlpgsql(
  reader: BodyReader,
  fn: UserFunction,
  catalog: Catalog,
  scope: NameScope,
): FunctionProof {
  if (fn.body.length > LONGEST) return unproved('its body is too long to be read');
  const definition = definitionOf(reader, fn);
  if (definition === null) return unproved('its definition cannot be put together');
  const parsed = reader.parsePlpgsql(definition, fn.body);
  if (parsed.kind === 'error') return unproved(`its body cannot be read: ${parsed.message}`);
  // #variable_conflict changes what names mean, and the tree does not tell.
  if (parsed.tokens[0]?.startsWith('#')) return unproved('its body begins with a directive');
  const [wrapped, ...others] = parsed.functions;
  const tree = unwrap(wrapped);
  if (tree?.type !== 'PLpgSQL_function' || others.length > 0) return unproved('its body has an unknown form');
  try {
    const datums = variablesOf(tree.body);
    const hidden = hiddenInitialValue(parsed.tokens, datums.records);
    if (hidden !== null) return unproved(hidden);
    const walk = new PlpgsqlWalk(reader, fn, catalog, scope, datums);
    walk.function(tree.body);
    return conclusion(walk, fn, reader.exportRows);
  } catch (error) {
    if (error instanceof Unproved) return unproved(error.message);
    throw error;
  }
}

/** The whole statement, from what the server printed; checked to be read as one function with this very body. */
function definitionOf(reader: BodyReader, fn: UserFunction): string | null {
  let tag = '$body$';
  for (let number = 0; fn.body.includes(tag); number += 1) tag = `$body${number}$`;
  // A tag cannot be completed by the body's last character.
  if (fn.body.endsWith('$')) return null;
  const text = `CREATE FUNCTION f(${fn.arguments}) RETURNS ${fn.result} LANGUAGE plpgsql AS ${tag}${fn.body}${tag}`;
  const parse = reader.parse(text);
  if (parse?.kind !== 'tree' || parse.statements.length !== 1) return null;
  const statement = unwrap(parse.statements[0]?.node);
  if (statement?.type !== 'CreateFunctionStmt') return null;
  const options = statement.body['options'];
  if (!Array.isArray(options) || options.length !== 2) return null;
  const as = options.map((option) => unwrap(option)?.body).find((option) => option?.['defname'] === 'as')?.[
    'arg'
  ];
  const items = unwrap(as)?.body['items'];
  const only = Array.isArray(items) && items.length === 1 ? unwrap(items[0])?.body['sval'] : null;
  return (only ?? '') === fn.body ? text : null;
}

const DATUMS = new Set(['PLpgSQL_var', 'PLpgSQL_rec', 'PLpgSQL_row', 'PLpgSQL_recfield']);

function variablesOf(tree: Node): Datums {
  const names = new Set<string>();
  const records: string[] = [];
  const datums = tree['datums'];
  if (!Array.isArray(datums)) throw new Unproved('its variables are not known');
  for (const wrapped of datums) {
    const datum = unwrap(wrapped);
    if (datum === null || !DATUMS.has(datum.type)) throw new Unproved('a variable has an unknown form');
    const { refname, lineno, datatype } = datum.body;
    if (typeof refname === 'string') names.add(refname);
    if (
      datum.type === 'PLpgSQL_rec' &&
      typeof refname === 'string' &&
      lineno !== undefined &&
      datatype !== undefined
    )
      records.push(refname);
  }
  const aliases = tree['aliases'] ?? [];
  if (!Array.isArray(aliases)) throw new Unproved('an alias has an unknown form');
  for (const alias of aliases) {
    const name = unwrap(alias)?.body['name'];
    if (typeof name !== 'string') throw new Unproved('an alias has an unknown form');
    names.add(name);
  }
  return { names, qualifiers: names, records };
}

function conclusion(walk: PlpgsqlWalk, fn: UserFunction, exportRows: number): FunctionProof {
  const { carried, exports, raises, data } = walk;
  const folded = Number.isFinite(carried) ? `up to ${Math.ceil(carried)} rows` : 'any number of rows';
  const reason = exports ?? (carried > exportRows ? `may fold ${folded} into what it gives back` : null);
  if (raises && (!fn.returnsTrigger || data))
    return unproved('RAISE may tell the client what was read, row by row');
  if (fn.returnsTrigger) {
    if (reason !== null) return unproved(reason);
    return {
      proved: true,
      does: walk.writes ? { class: 'write', reason: 'inserts rows' } : READS,
      size: null,
    };
  }
  const rows = fn.returnsSet ? walk.rows : 1;
  return {
    proved: true,
    does: reason === null ? READS : { class: 'export', reason },
    size: { rows, perRow: Math.max(1, carried, walk.perRow), data },
  };
}
