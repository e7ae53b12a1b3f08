import { describe, expect, it } from 'vitest';
import {
  cyclicImports,
  cyclicParts,
  forbiddenImports,
  importersOutside,
  importsOf,
  impurities,
  usesOutside,
} from './checker.ts';

const PARTS = { core: ['core/'], port: ['shell/port.ts'], shell: ['shell/'], top: ['main.ts'] };
const ARROWS = { core: ['port'], port: [], shell: ['core', 'port'], top: ['core', 'port', 'shell'] };
const files = (entries: Record<string, string>) => new Map(Object.entries(entries));
const always = () => true;
const never = () => false;

describe('imports', () => {
  it('are found in every form', () => {
    const source = `import { a } from './a.ts';
import type { B } from '../shell/b.ts';
import {
  c,
  type D,
} from "./c.ts";
import * as e from './e.ts';
import f, { g } from './f.ts';
import './side-effect.ts';
export { h } from './h.ts';
export * from './i.ts';
const j = await import('./j.ts');
const k = require('k');
// import { no } from './comment.ts';
/* import { no } from './comment.ts'; */
const text = "it's"; import { l } from './l.ts';`;
    expect(importsOf('core/x.ts', source).map(({ target }) => target)).toEqual([
      'core/a.ts',
      'shell/b.ts',
      'core/c.ts',
      'core/e.ts',
      'core/f.ts',
      'core/side-effect.ts',
      'core/h.ts',
      'core/i.ts',
      'core/l.ts',
      'core/j.ts',
      'k',
    ]);
  });
});

describe('arrows', () => {
  it('that are allowed pass', () => {
    const good = files({
      'core/a.ts': "import { p } from '../shell/port.ts'; import { b } from './b.ts';",
      'shell/s.ts': "import { a } from '../core/a.ts'; import net from 'node:net';",
      'main.ts': "import { s } from './shell/s.ts';",
    });
    expect(forbiddenImports(good, PARTS, ARROWS)).toEqual([]);
  });

  it.each([
    ['a value', "import { s } from '../shell/s.ts';"],
    ['a type', "import type { S } from '../shell/s.ts';"],
    ['a re-export', "export { s } from '../shell/s.ts';"],
    ['something dynamic', "export const s = () => import('../shell/s.ts');"],
  ])('that lead out of the core are found: %s', (_what, source) => {
    expect(forbiddenImports(files({ 'core/a.ts': source }), PARTS, ARROWS)).toEqual([
      'core/a.ts: core must not import shell (shell/s.ts)',
    ]);
  });

  it('from or to a folder that nobody described are found', () => {
    expect(forbiddenImports(files({ 'new/a.ts': '' }), PARTS, ARROWS)).toEqual([
      'new/a.ts: belongs to no part',
    ]);
    const toNew = files({ 'core/a.ts': "import '../new/a.ts';" });
    expect(forbiddenImports(toNew, PARTS, ARROWS)).toEqual([
      'core/a.ts: core must not import unknown (new/a.ts)',
    ]);
  });

  it('that lead back are found in the table itself', () => {
    expect(cyclicParts(ARROWS)).toEqual([]);
    expect(cyclicParts({ a: ['b'], b: ['c'], c: ['a'] })).toEqual(['a > b > c > a']);
  });
});

describe('cycles of files', () => {
  it('are found, whatever their length', () => {
    expect(
      cyclicImports(files({ 'a.ts': "import './b.ts';", 'b.ts': "import './c.ts';", 'c.ts': '' })),
    ).toEqual([]);
    expect(cyclicImports(files({ 'a.ts': "import './a.ts';" }))).toEqual(['a.ts > a.ts']);
    expect(
      cyclicImports(
        files({
          'a.ts': "import './b.ts';",
          'b.ts': "import type { C } from './c.ts';",
          'c.ts': "export { b } from './b.ts';",
        }),
      ),
    ).toEqual(['b.ts > c.ts > b.ts']);
  });
});

describe('purity', () => {
  it.each([
    ["import net from 'node:net';", 'imports node:net'],
    ["import { readFile } from 'node:fs/promises';", 'imports node:fs/promises'],
    ["import { setTimeout } from 'timers/promises';", 'imports timers/promises'],
    ["import pg from 'pg';", 'imports pg'],
    ['const t = Date.now();', 'uses Date.now'],
    ['const t = new Date();', 'uses new Date()'],
    ['const t = new Date;', 'uses new Date()'],
    ['const r = Math.random();', 'uses Math.random'],
    ["import { randomBytes } from 'node:crypto';", 'uses randomness'],
    ['setTimeout(f, 1);', 'uses a timer'],
    ['const f = async () => 1;', 'uses async'],
    ['type T = Promise<number>;', 'uses Promise'],
    ['const h = process.env;', 'uses process'],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the source of a template
    ['const s = `at ${Date.now()}`;', 'uses Date.now'],
  ])('%s is found', (source, finding) => {
    expect(impurities(files({ 'core/a.ts': source }), always)).toContain(`core/a.ts: ${finding}`);
    expect(impurities(files({ 'core/a.ts': source }), never)).toEqual([]);
  });

  it.each([
    '// Date.now() would be wrong here',
    '/** Resolves a Promise later: await it. */',
    "const text = 'async process.env';",
    'const at = new Date(micros / 1000);',
    "import type pg from 'pg';",
    "import { createHash } from 'node:crypto';",
    'const state = { process: 1 }; const p = row.process.id;',
    "const quote = /'/; const other = text.replace(/\"/g, ''); const word = 'await';",
  ])('%s is not', (source) => {
    expect(impurities(files({ 'core/a.ts': source }), always)).toEqual([]);
  });
});

describe('what only some files may do', () => {
  it('is found elsewhere', () => {
    const all = files({
      'keys/a.ts': 'createPrivateKey(x);',
      'other/b.ts': 'createPrivateKey(x);',
      'other/c.ts': '// createPrivateKey(x)',
    });
    const inKeys = (path: string) => path.startsWith('keys/');
    expect(usesOutside(all, /\bcreatePrivateKey\b/, inKeys)).toEqual(['other/b.ts']);
    const importers = files({ 'keys/a.ts': "import 'jose';", 'b.ts': "import type { J } from 'jose/x';" });
    expect(importersOutside(importers, 'jose', inKeys)).toEqual(['b.ts']);
  });
});
