import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  type Arrows,
  cyclicImports,
  cyclicParts,
  type Files,
  forbiddenImports,
  importersOutside,
  importsOf,
  impurities,
  type Parts,
  usesOutside,
} from './architecture/checker.ts';

/** Folders, and within three of them the files that are pure or that others are written against. */
const PARTS: Parts = {
  protocol: ['protocol/'],
  statement: ['statement/'],
  policy: ['policy/'],
  'config types': ['config/config.ts', 'config/limits.ts'],
  'audit port': [
    'audit/entry.ts',
    'audit/port.ts',
    'audit/logger.ts',
    'audit/quote-name.ts',
    'audit/iso-dates.ts',
  ],
  'audit chain': ['audit/chain/'],
  'audit journal': ['audit/journal/'],
  'audit shipping': ['audit/shipping/'],
  'audit log': ['audit/log/'],
  'audit checkpoints': ['audit/checkpoints/'],
  'audit verify': ['audit/verify/'],
  'audit evidence': ['audit/evidence/'],
  'audit upkeep': ['audit/upkeep/'],
  'approval port': ['approval/port.ts', 'approval/guard.ts'],
  'approval core': [
    'approval/machine.ts',
    'approval/eligibility.ts',
    'approval/look-alikes.ts',
    'approval/digest.ts',
    'approval/canonical-json.ts',
  ],
  budget: ['budget/'],
  session: ['session/'],
  analyser: ['analyser/'],
  catalog: ['catalog/'],
  config: ['config/'],
  signing: ['signing/'],
  audit: ['audit/'],
  approval: ['approval/'],
  channels: ['channels/'],
  telemetry: ['telemetry/'],
  proxy: ['proxy/'],
  embedded: ['embedded/'],
  cli: ['cli/'],
  main: ['main.ts'],
};

/** DESIGN.md, section 4: arrows go one way. What is not here is forbidden. */
const ARROWS: Arrows = {
  protocol: [],
  statement: [],
  policy: ['statement'],
  'config types': ['policy'],
  'audit port': [],
  'approval port': ['policy', 'audit port'],
  'approval core': ['policy', 'config types', 'audit port', 'approval port'],
  budget: ['statement', 'config types'],
  session: ['protocol', 'statement', 'policy', 'budget', 'config types', 'audit port', 'approval port'],
  analyser: ['statement', 'config types'],
  catalog: ['statement', 'analyser', 'config types'],
  config: ['config types', 'statement', 'policy', 'budget', 'approval core', 'signing'],
  telemetry: ['statement'],
  signing: ['config types', 'audit port', 'approval port', 'approval core'],
  // What verifies leans on nothing that writes.
  'audit chain': [],
  'audit journal': ['audit port', 'audit chain'],
  'audit shipping': ['audit port', 'audit chain', 'audit journal'],
  'audit log': ['config types', 'audit port', 'audit chain', 'audit journal', 'audit shipping'],
  'audit checkpoints': ['config types', 'audit port', 'audit chain'],
  'audit verify': ['audit port', 'audit chain', 'audit checkpoints'],
  'audit evidence': ['audit port', 'audit chain', 'audit checkpoints', 'audit verify'],
  'audit upkeep': ['audit port', 'audit log'],
  audit: ['audit port'],
  approval: ['policy', 'budget', 'config types', 'audit port', 'approval port', 'approval core', 'signing'],
  channels: [
    'config types',
    'audit port',
    'approval port',
    'approval core',
    'approval',
    'signing',
    'telemetry',
  ],
  proxy: [
    'protocol',
    'statement',
    'policy',
    'budget',
    'session',
    'analyser',
    'catalog',
    'config types',
    'config',
    'audit port',
    'approval port',
    'signing',
    'telemetry',
  ],
  embedded: ['config types', 'config'],
  // The composition root.
  cli: Object.keys(PARTS).filter((part) => part !== 'cli' && part !== 'main'),
  main: ['cli'],
};

/** Functional core: no sockets, files, timers, clock, randomness, waiting. */
const PURE = [
  'protocol/',
  'statement/',
  'policy/',
  'budget/',
  'session/',
  'approval/machine.ts',
  'approval/eligibility.ts',
  'approval/look-alikes.ts',
  'approval/digest.ts',
  'approval/canonical-json.ts',
  'audit/chain/',
  'audit/verify/verify.ts',
];

const isPure = (path: string) =>
  PURE.some((one) => path === one || (one.endsWith('/') && path.startsWith(one)));
const under =
  (...folders: string[]) =>
  (path: string) =>
    folders.some((folder) => path.startsWith(folder));

/** Making, reading and using keys. Hashes and HMACs are not among them, nor verifying with a key that was given. */
const KEY_FUNCTIONS =
  /\b(?:createPrivateKey|createPublicKey|createSecretKey|generateKeyPair(?:Sync)?|generateKey(?:Sync)?|createSign|createVerify|importJWK|importPKCS8|importSPKI|exportJWK|SignJWT|CompactSign|FlattenedSign|GeneralSign)\b/;

const ROOT = new URL('../src/', import.meta.url);
const files: Files = new Map(
  readdirSync(ROOT, { recursive: true, encoding: 'utf8' })
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => path.endsWith('.ts'))
    .map((path) => [path, readFileSync(new URL(path, ROOT), 'utf8')]),
);

describe('the source', () => {
  it('is there', () => {
    expect(files.size).toBeGreaterThan(50);
    expect([...files].flatMap(([path, source]) => importsOf(path, source)).length).toBeGreaterThan(150);
  });

  it('has arrows that go one way', () => {
    expect(cyclicParts(ARROWS)).toEqual([]);
    expect(forbiddenImports(files, PARTS, ARROWS)).toEqual([]);
  });

  it('has no cycles', () => {
    expect(cyclicImports(files)).toEqual([]);
  });

  it('has a core without input, output, time or randomness', () => {
    expect(impurities(files, isPure)).toEqual([]);
  });

  it('loads the parsers in one place', () => {
    expect(importersOutside(files, 'libpg-query', under('analyser/'))).toEqual([]);
    expect(importersOutside(files, 'node-sql-parser', under('analyser/'))).toEqual([]);
    // A thread's program is given as text, with its parser by name.
    const naming = [...files].filter(([, source]) => /['"](?:node-sql-parser|libpg-query)[/'"]/.test(source));
    expect(naming.map(([path]) => path).sort()).toEqual([
      'analyser/grammar-program.ts',
      'analyser/parser.ts',
      'analyser/second-program.ts',
    ]);
  });

  it('uses keys in one place, and in the audit log, whose streams have their own', () => {
    expect(usesOutside(files, KEY_FUNCTIONS, under('signing/', 'audit/'))).toEqual([]);
    expect(importersOutside(files, 'jose', under('signing/'))).toEqual([]);
  });

  it('reads the environment in the command line alone', () => {
    expect(usesOutside(files, /\bprocess\.env\b/, under('cli/', 'embedded/launcher.ts'))).toEqual([]);
  });

  it('has no any', () => {
    expect(usesOutside(files, /(?:[:<|]|\bas|=>)\s*any\b/, () => false)).toEqual([]);
  });

  it('has files that can be read at one sitting', () => {
    const long = [...files].filter(
      ([path, source]) => !path.endsWith('.generated.ts') && source.split('\n').length > 400,
    );
    expect(long.map(([path]) => path)).toEqual([]);
  });
});
