import { createRequire } from 'node:module';
import type { Limits } from '../config/limits.ts';
import type { RawParse } from './parser.ts';
import type { Program } from './worker.ts';

export type GrammarAnswer = RawParse | { readonly kind: 'nodes' };

/** Postgres' own grammar (libpg-query), on another thread; a tree that is too large stays there. */
export function grammarProgram(
  limits: Pick<Limits, 'statementNodes' | 'textNodes' | 'listElements'>,
): Program<GrammarAnswer> {
  const { statementNodes, textNodes, listElements } = limits;
  const most = `const MOST = ${statementNodes}; const MOST_IN_ALL = ${textNodes}; const LONGEST = ${listElements};`;
  return {
    text: () => `${most}${TEXT}`,
    module: () => createRequire(import.meta.url).resolve('libpg-query'),
  };
}

/**
 * The worker's program, as text: it needs no compilation and no file, so it runs the same from TypeScript sources
 * and from the compiled package. It must stay in step with parser.ts.
 */
const TEXT = `
const PLAIN = new Set(['A_Const', 'ParamRef', 'SetToDefault']);
// What a constant is, as far as it counts: a cast with its type. Null: not a constant.
const constant = (node) => {
  if (node === null || typeof node !== 'object') return null;
  const keys = Object.keys(node);
  if (keys.every((key) => PLAIN.has(key))) return 'c';
  if (keys.length !== 1 || keys[0] !== 'TypeCast') return null;
  const { arg, typeName } = node.TypeCast;
  if (!arg || !arg.A_Const) return null;
  const names = Array.isArray(typeName && typeName.names) ? typeName.names : [];
  return 'cast ' + JSON.stringify([names, typeName], (key, value) => (key === 'location' ? undefined : value));
};
const rowItems = (row) => (row && row.List && Array.isArray(row.List.items) ? row.List.items : null);
const constantRow = (row) => {
  const items = rowItems(row);
  if (items === null) return null;
  let all = '';
  for (const item of items) {
    const one = constant(item);
    if (one === null) return null;
    all += one + ';';
  }
  return all;
};
const FORMS = 20;
// Long lists of constants are sent as one of each form, and how many more there are: looking at them is then cheap.
// Only where no value and no order matters: rows of VALUES, arrays, IN lists of a column.
const alike = (items, formOf, longer) => {
  const forms = new Map();
  let kept = 0;
  for (const item of items) {
    const form = formOf(item);
    const known = form === null ? undefined : forms.get(form);
    if (known !== undefined) known.more++;
    else {
      if (form !== null && forms.size < FORMS) forms.set(form, { items, like: item, more: 0 });
      items[kept++] = item;
    }
  }
  items.length = kept;
  for (const form of forms.values()) if (form.more > 0) longer.push(form);
};
const shrink = (node, longer) => {
  const waiting = [node];
  while (waiting.length > 0) {
    const at = waiting.pop();
    if (at === null || typeof at !== 'object') continue;
    if (Array.isArray(at.valuesLists) && at.valuesLists.length > 100) alike(at.valuesLists, constantRow, longer);
    if (Array.isArray(at.elements) && at.elements.length > 100) alike(at.elements, constant, longer);
    if (at.kind === 'AEXPR_IN' && at.lexpr && at.lexpr.ColumnRef && rowItems(at.rexpr) && rowItems(at.rexpr).length > 100)
      alike(rowItems(at.rexpr), constant, longer);
    for (const key in at) waiting.push(at[key]);
  }
};
// Deeper trees cannot be copied to the other thread, and the walk does not go half as deep.
const DEEPEST = 2000;
// Objects, lists included, up to one more than may be; Infinity for what is too deep.
const nodesIn = (node, most) => {
  let nodes = 0;
  const waiting = [node];
  const depths = [0];
  while (waiting.length > 0 && nodes <= most) {
    const at = waiting.pop();
    const depth = depths.pop();
    if (at === null || typeof at !== 'object') continue;
    if (depth > DEEPEST) return Infinity;
    nodes++;
    for (const key in at) {
      waiting.push(at[key]);
      depths.push(depth + 1);
    }
  }
  return nodes;
};
const isTooLarge = (statements) => {
  let inAll = 0;
  for (const statement of statements || []) {
    const nodes = nodesIn(statement, MOST);
    inAll += nodes;
    if (nodes > MOST || inAll > MOST_IN_ALL) return true;
  }
  return false;
};
const read = (sql) => {
  const tree = parser.parseSync(sql);
  const longer = [];
  shrink(tree, longer);
  const tooLong = longer.some(({ more }) => more > LONGEST);
  return tooLong || isTooLarge(tree.stmts) ? { kind: 'nodes' } : { kind: 'tree', tree, longer };
};
const { parentPort, workerData } = require('node:worker_threads');
const parser = require(workerData);
parser.loadModule().then(() => {
  parentPort.on('message', ({ id, sql }) => {
    try {
      parentPort.postMessage({ id, answer: read(sql) });
    } catch (error) {
      if (!(error instanceof parser.SqlError)) throw error;
      const cursor = parser.hasSqlDetails(error) ? error.sqlDetails.cursorPosition ?? null : null;
      parentPort.postMessage({ id, answer: { kind: 'syntax', message: error.message, cursor } });
    }
  });
  parentPort.postMessage({ ready: true });
});
`;
