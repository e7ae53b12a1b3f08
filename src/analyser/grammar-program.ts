import { createRequire } from 'node:module';
import type { RawParse } from './parser.ts';
import type { Program } from './worker.ts';

/** Postgres' own grammar (libpg-query), on another thread. */
export const grammarProgram: Program<RawParse> = {
  text: () => TEXT,
  module: () => createRequire(import.meta.url).resolve('libpg-query'),
};

/**
 * The worker's program, as text: it needs no compilation and no file, so it runs the same from TypeScript sources
 * and from the compiled package. It must stay in step with parser.ts.
 */
const TEXT = `
const PLAIN = new Set(['A_Const', 'ParamRef', 'SetToDefault']);
const plain = (node) => node !== null && typeof node === 'object' && Object.keys(node).every((key) => PLAIN.has(key));
// Long lists of constants become many references to one of them: the copy to the other thread is then small.
// Only where no value matters: rows of VALUES, arrays, IN lists of a column.
const alike = (items, same) => {
  let first = null;
  for (let i = 0; i < items.length; i++) {
    if (!same(items[i])) continue;
    if (first === null || !first.fits(items[i])) first = { item: items[i], fits: fitting(items[i]) };
    else items[i] = first.item;
  }
};
const rowItems = (row) => (row && row.List && Array.isArray(row.List.items) ? row.List.items : null);
const fitting = (item) => {
  const width = rowItems(item) ? rowItems(item).length : -1;
  return (other) => (rowItems(other) ? rowItems(other).length : -1) === width;
};
const shrink = (node) => {
  const waiting = [node];
  while (waiting.length > 0) {
    const at = waiting.pop();
    if (at === null || typeof at !== 'object') continue;
    if (Array.isArray(at.valuesLists) && at.valuesLists.length > 100)
      alike(at.valuesLists, (row) => rowItems(row) !== null && rowItems(row).every(plain));
    if (Array.isArray(at.elements) && at.elements.length > 100) alike(at.elements, plain);
    if (at.kind === 'AEXPR_IN' && at.lexpr && at.lexpr.ColumnRef && rowItems(at.rexpr) && rowItems(at.rexpr).length > 100)
      alike(rowItems(at.rexpr), plain);
    let last = null;
    for (const key in at) {
      if (at[key] !== last) waiting.push(at[key]);
      last = at[key];
    }
  }
  return node;
};
const { parentPort, workerData } = require('node:worker_threads');
const parser = require(workerData);
parser.loadModule().then(() => {
  parentPort.on('message', ({ id, sql }) => {
    try {
      parentPort.postMessage({ id, answer: { kind: 'tree', tree: shrink(parser.parseSync(sql)) } });
    } catch (error) {
      if (!(error instanceof parser.SqlError)) throw error;
      const cursor = parser.hasSqlDetails(error) ? error.sqlDetails.cursorPosition ?? null : null;
      parentPort.postMessage({ id, answer: { kind: 'syntax', message: error.message, cursor } });
    }
  });
  parentPort.postMessage({ ready: true });
});
`;
