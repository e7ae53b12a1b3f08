import { type Document, isMap, isNode, isPair, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { ConfigError, type ConfigErrorCode, type ConfigProblem, throwIfAny } from './errors.ts';
import { nearest } from './nearest.ts';
import { LITERAL_SECRET } from './secret-schema.ts';

export type Path = readonly PropertyKey[];

/** A checked YAML file that still knows where everything stood. */
export type Parsed<T> = {
  readonly value: T;
  readonly problem: (code: ConfigErrorCode, path: Path, problem: string) => ConfigProblem;
};

/**
 * Reads YAML 1.2 and checks it. Throws `ConfigError` with every finding and its line. Messages never quote the file:
 * the YAML library's and zod's own words do, and what they quote may be a secret.
 */
export function parseYaml<S extends z.ZodType>(file: string, text: string, schema: S): Parsed<z.output<S>> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const [broken] = document.errors;
  if (broken !== undefined)
    throw new ConfigError({
      code: 'config_syntax',
      file,
      line: lines.linePos(broken.pos[0]).line,
      key: '',
      problem: `not valid YAML (${broken.code.toLowerCase().replaceAll('_', ' ')})`,
    });

  const lineOf = (path: Path) => lineAt(document, lines, path);
  const problem: Parsed<unknown>['problem'] = (code, path, text) => ({
    code,
    file,
    line: lineOf(path),
    key: formatPath(path),
    problem: text,
  });
  const data = plainValue(document, file);
  const checked = schema.safeParse(data);
  if (checked.success) return { value: checked.data, problem };
  throwIfAny(
    checked.error.issues.flatMap((issue) => findings(issue, data, schema)).map((f) => problem(...f)),
  );
  throw new Error('zod reported a failure without an issue');
}

/** True where the text is YAML with `key` at the top. */
export function hasTopKey(text: string, key: string): boolean {
  const { contents } = parseDocument(text);
  return isMap(contents) && contents.has(key);
}

type Finding = [code: ConfigErrorCode, path: Path, problem: string];

function findings(issue: z.core.$ZodIssue, data: unknown, schema: z.ZodType): Finding[] {
  const { path } = issue;
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => [
        'config_unknown_key',
        [...path, key],
        `unknown key; ${suggestion(key, knownKeys(schema, path))}`,
      ]);
    case 'invalid_union': {
      const inner = issue.errors.find((issues) =>
        issues.some((one) => one.path.length > 0 || one.code !== 'invalid_type'),
      );
      if (inner !== undefined)
        return inner.flatMap((one) => findings({ ...one, path: [...path, ...one.path] }, data, schema));
      return [
        ['config_wrong_type', path, `expected ${expectedAt(schema, path)}, found ${kindOf(at(data, path))}`],
      ];
    }
    case 'invalid_type':
      if (issue.message === LITERAL_SECRET) return [['config_literal_secret', path, LITERAL_SECRET]];
      if (at(data, path) === undefined)
        return [['config_missing_key', path, `missing; expected ${kindName(issue.expected)}`]];
      return [
        ['config_wrong_type', path, `expected ${kindName(issue.expected)}, found ${kindOf(at(data, path))}`],
      ];
    case 'invalid_value': {
      const options = issue.values.map(String);
      const found = at(data, path);
      const hint = typeof found === 'string' ? nearest(found, options) : null;
      const code = found === undefined ? 'config_missing_key' : 'config_invalid_value';
      return [
        [code, path, `expected ${options.join(', ')}${hint === null ? '' : `; did you mean ${hint}?`}`],
      ];
    }
    case 'too_small':
      return [
        ['config_invalid_value', path, `expected at least ${issue.minimum} ${unit(issue.origin)}`.trim()],
      ];
    case 'too_big':
      return [
        ['config_invalid_value', path, `expected at most ${issue.maximum} ${unit(issue.origin)}`.trim()],
      ];
    default:
      return [['config_invalid_value', path, issue.message]];
  }
}

function suggestion(key: string, known: readonly string[]): string {
  const near = nearest(key, known);
  return near === null ? `expected one of ${known.join(', ')}` : `did you mean ${near}?`;
}

/** The keys that the schema has at a path, through lists, defaults and unions. */
function knownKeys(schema: z.ZodType, path: Path): string[] {
  return schemasAt(schema, path).flatMap((one) => (one instanceof z.ZodObject ? Object.keys(one.shape) : []));
}

function expectedAt(schema: z.ZodType, path: Path): string {
  return schemasAt(schema, path)
    .map((one) => (one instanceof z.ZodLiteral ? String(one.value) : kindName(one.type)))
    .join(' or ');
}

function schemasAt(schema: z.core.$ZodType, path: Path): z.ZodType[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault)
    return schemasAt(schema.unwrap(), path);
  if (schema instanceof z.ZodUnion) return schema.options.flatMap((option) => schemasAt(option, path));
  const [key, ...rest] = path;
  if (key === undefined) return schema instanceof z.ZodType ? [schema] : [];
  if (schema instanceof z.ZodArray) return schemasAt(schema.element, rest);
  if (!(schema instanceof z.ZodObject)) return [];
  const inner: z.core.$ZodType | undefined = schema.shape[String(key)];
  return inner === undefined ? [] : schemasAt(inner, rest);
}

/** Aliases are expanded within limits; a bad one is an error without its name, which may be a password after `*`. */
function plainValue(document: Document, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch {
    throw new ConfigError({
      code: 'config_syntax',
      file,
      line: null,
      key: '',
      problem:
        'an alias (*name) has no anchor before it, or aliases expand to too much; put text with * in quotes',
    });
  }
}

/** The line of a key, or of the nearest thing around it that is in the file. */
function lineAt(document: Document, lines: LineCounter, path: Path): number | null {
  for (let length = path.length; length > 0; length -= 1) {
    const key = path[length - 1];
    const parent = document.getIn(path.slice(0, length - 1), true);
    const pair = isMap(parent)
      ? parent.items.find((item) => isPair(item) && isNode(item.key) && String(item.key) === String(key))
      : undefined;
    const node = pair?.key ?? document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
  }
  return null;
}

function formatPath(path: Path): string {
  return path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : `${text}${text && '.'}${String(key)}`),
    '',
  );
}

function at(data: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, key) => (typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined),
    data,
  );
}

const KIND_NAMES: Readonly<Record<string, string>> = {
  object: 'a map',
  array: 'a list',
  string: 'a string',
  int: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
};

function kindName(kind: string): string {
  return KIND_NAMES[kind] ?? kind;
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return kindName(typeof value);
}

function unit(origin: string): string {
  if (origin === 'string') return 'characters';
  return origin === 'array' ? 'entries' : '';
}
