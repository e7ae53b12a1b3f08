/** Source files by their path below src, e.g. `session/state.ts`. */
export type Files = ReadonlyMap<string, string>;

export type Import = { readonly target: string; readonly typeOnly: boolean };

/** A part of the program: files by prefix. The longest prefix that fits says to which part a file belongs. */
export type Parts = Readonly<Record<string, readonly string[]>>;
/** From part to the parts that it may import; itself is always allowed. */
export type Arrows = Readonly<Record<string, readonly string[]>>;

/** What a file imports, statically or not. Relative ones are resolved to paths below src. */
export function importsOf(path: string, source: string): readonly Import[] {
  const code = withoutComments(source);
  const found: Import[] = [];
  const statics = /\b(?:import|export)\s+(type\s+)?(?:[\w*\s{},$]*?\bfrom\s*)?['"]([^'"\n]+)['"]/g;
  for (const [, type, target = ''] of code.matchAll(statics))
    found.push({ target: resolveTarget(path, target), typeOnly: type !== undefined });
  for (const [, target = ''] of code.matchAll(/\b(?:import|require)\s*\(\s*['"`]([^'"`\n]+)['"`]/g))
    found.push({ target: resolveTarget(path, target), typeOnly: false });
  return found;
}

/** Imports against the arrows, and files that no part claims. */
export function forbiddenImports(files: Files, parts: Parts, arrows: Arrows): readonly string[] {
  const found: string[] = [];
  for (const [path, source] of files) {
    const from = partOf(path, parts);
    if (from === null) {
      found.push(`${path}: belongs to no part`);
      continue;
    }
    const allowed = arrows[from] ?? [];
    for (const { target } of importsOf(path, source)) {
      if (!target.endsWith('.ts')) continue;
      const to = partOf(target, parts);
      if (to !== null && (to === from || allowed.includes(to))) continue;
      found.push(`${path}: ${from} must not import ${to ?? 'unknown'} (${target})`);
    }
  }
  return found;
}

/** Parts whose arrows lead back to them. */
export function cyclicParts(arrows: Arrows): readonly string[] {
  return cycles(new Map(Object.entries(arrows)));
}

/** Cycles of imports between files; type imports count, because they bind designs as much as values do. */
export function cyclicImports(files: Files): readonly string[] {
  const graph = new Map(
    [...files].map(([path, source]) => [
      path,
      importsOf(path, source)
        .map(({ target }) => target)
        .filter((target) => files.has(target)),
    ]),
  );
  return cycles(graph);
}

const IMPURE_MODULES =
  /^(?:node:)?(?:net|fs|fs\/promises|tls|timers|timers\/promises|worker_threads|child_process|http|https|http2|dgram|dns|dns\/promises|cluster|os|process|async_hooks|events|stream|readline|perf_hooks)$/;
const IMPURE_PACKAGES = /^(?:pg|pino|prom-client|hono|@hono\/.*|@slack\/.*|undici|ws)$/;

const IMPURE_CODE: readonly (readonly [pattern: RegExp, what: string])[] = [
  [/\bDate\.now\b/, 'Date.now'],
  [/\bnew Date\s*(?:\(\s*\)|(?!\s*\())/, 'new Date()'],
  [/\bperformance\.now\b/, 'performance.now'],
  [/\bhrtime\b/, 'hrtime'],
  [/\bMath\.random\b/, 'Math.random'],
  [/\brandom(?:Bytes|UUID|Int|FillSync|Fill)\b/, 'randomness'],
  [/\bset(?:Timeout|Interval|Immediate)\b/, 'a timer'],
  [/\bqueueMicrotask\b/, 'queueMicrotask'],
  [/\basync\b/, 'async'],
  [/\bawait\b/, 'await'],
  [/\bPromise\b/, 'Promise'],
  [/(?<![.\w])process\s*[.[]/, 'process'],
  [/\bconsole\./, 'console'],
];

/** What makes a file impure: input, output, time, randomness, waiting. */
export function impurities(files: Files, isPure: (path: string) => boolean): readonly string[] {
  const found: string[] = [];
  for (const [path, source] of files) {
    if (!isPure(path)) continue;
    for (const { target, typeOnly } of importsOf(path, source))
      if (IMPURE_MODULES.test(target) || (!typeOnly && IMPURE_PACKAGES.test(target)))
        found.push(`${path}: imports ${target}`);
    const code = codeOnly(source);
    for (const [pattern, what] of IMPURE_CODE) if (pattern.test(code)) found.push(`${path}: uses ${what}`);
  }
  return found;
}

/** Files that use a pattern in code (not in comments or strings) and are not among those that may. */
export function usesOutside(
  files: Files,
  pattern: RegExp,
  mayUse: (path: string) => boolean,
): readonly string[] {
  return [...files]
    .filter(([path, source]) => !mayUse(path) && pattern.test(codeOnly(source)))
    .map(([path]) => path);
}

/** Files that import a package and are not among those that may. */
export function importersOutside(
  files: Files,
  name: string,
  mayImport: (path: string) => boolean,
): readonly string[] {
  return [...files]
    .filter(
      ([path, source]) =>
        !mayImport(path) &&
        importsOf(path, source).some(({ target }) => target === name || target.startsWith(`${name}/`)),
    )
    .map(([path]) => path);
}

export function partOf(path: string, parts: Parts): string | null {
  const fits = Object.entries(parts)
    .flatMap(([part, prefixes]) => prefixes.map((prefix) => ({ part, prefix })))
    .filter(({ prefix }) => path === prefix || (prefix.endsWith('/') && path.startsWith(prefix)))
    .sort((a, b) => b.prefix.length - a.prefix.length);
  return fits[0]?.part ?? null;
}

/** Depth first; each cycle is told once, as `a > b > a`. */
function cycles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (node: string, trail: readonly string[]): void => {
    const at = trail.indexOf(node);
    if (at >= 0) {
      found.push([...trail.slice(at), node].join(' > '));
      return;
    }
    if (done.has(node)) return;
    for (const next of graph.get(node) ?? []) visit(next, [...trail, node]);
    done.add(node);
  };
  for (const node of graph.keys()) visit(node, []);
  return found;
}

function resolveTarget(path: string, target: string): string {
  return target.startsWith('.') ? new URL(target, `file:///${path}`).pathname.slice(1) : target;
}

/** Comments, strings, templates and regular expressions, in this order of being looked for. */
const TOKENS =
  /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\[\s\S])*`|(?<=[=(,:!&|?{};[\n]\s*|return\s+)\/(?![*/])(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/g;

function withoutComments(source: string): string {
  return source.replace(TOKENS, (token) => (/^\/[/*]/.test(token) ? ' ' : token));
}

/** What stands in a template's `${}` is code and stays. */
function codeOnly(source: string): string {
  return source.replace(TOKENS, (token) =>
    token.startsWith('`')
      ? [...token.matchAll(/\$\{([^}]*)\}/g)].map(([, code]) => ` ${code} `).join('')
      : ' ',
  );
}
