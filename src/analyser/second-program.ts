import { createRequire } from 'node:module';
import type { SecondReading } from '../statement/second-opinion.ts';
import type { Program } from './worker.ts';

/** node-sql-parser on another thread: a grammar by other people, which also says what tables it sees. */
export const secondProgram: Program<SecondReading> = {
  text: () => TEXT,
  module: () => createRequire(import.meta.url).resolve('node-sql-parser/build/postgresql.js'),
};

/** As text, so that it runs the same from TypeScript sources and from the compiled package. */
const TEXT = `
const { parentPort, workerData } = require('node:worker_threads');
const { Parser } = require(workerData);
const parser = new Parser();
const nameOf = (name) => (typeof name === 'string' ? name : name && typeof name.value === 'string' ? name.value : null);
const commonTableExpressions = (node) => {
  const found = new Set();
  const waiting = [node];
  while (waiting.length > 0) {
    const at = waiting.pop();
    if (at === null || typeof at !== 'object') continue;
    if (Array.isArray(at.with)) for (const one of at.with) found.add(nameOf(one && one.name));
    for (const key in at) waiting.push(at[key]);
  }
  found.delete(null);
  return [...found];
};
const table = (entry) => {
  const parts = entry.split('::');
  if (parts.length !== 3) throw new Error('not a table');
  return { operation: parts[0], schema: parts[1] === 'null' ? null : parts[1], name: parts[2] };
};
const read = (sql) => {
  const { ast, tableList } = parser.parse(sql, { database: 'PostgreSQL' });
  // A lone semicolon is a statement without a type.
  const statements = (Array.isArray(ast) ? ast : [ast]).filter((one) => one && one.type).map((one) => String(one.type));
  return { kind: 'read', statements, tables: tableList.map(table), commonTableExpressions: commonTableExpressions(ast) };
};
parentPort.on('message', ({ id, sql }) => {
  let answer;
  // It keeps nothing from one text to the next: whatever it throws means that it could not read this one.
  try {
    answer = read(sql);
  } catch {
    answer = { kind: 'unread' };
  }
  parentPort.postMessage({ id, answer });
});
parentPort.postMessage({ ready: true });
`;
