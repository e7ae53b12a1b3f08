import type { Random } from './random.ts';

/** A token of SQL, roughly: enough to change a text in places where a change means something. */
type Token = {
  readonly kind: 'space' | 'string' | 'quoted' | 'word' | 'number' | 'other';
  readonly text: string;
};

const TOKENS: readonly (readonly [Token['kind'], RegExp])[] = [
  ['space', /(?:\s+|--[^\r\n]*|\/\*(?:[^*]|\*(?!\/))*\*\/)/y],
  ['string', /(?:[eEbBxXnN]|[uU]&)?'(?:[^']|'')*'|\$([a-zA-Z_]*)\$[\s\S]*?\$\1\$/y],
  ['quoted', /(?:[uU]&)?"(?:[^"]|"")*"/y],
  ['word', /[a-zA-Z_\u0080-\uffff][a-zA-Z0-9_$\u0080-\uffff]*/y],
  ['number', /\d[\w.]*/y],
  ['other', /[+\-*/<>=~!@#%^&|`?]+|[\s\S]/y],
];

export function tokens(sql: string): Token[] {
  const found: Token[] = [];
  for (let at = 0; at < sql.length; ) {
    for (const [kind, pattern] of TOKENS) {
      pattern.lastIndex = at;
      const text = pattern.exec(sql)?.[0];
      if (text === undefined) continue;
      found.push({ kind, text });
      at += text.length;
      break;
    }
  }
  return found;
}

type Mutation = (random: Random, sql: string, other: string) => string;

/** Changes of the text alone: the statement stays what it was. */
const SPELLINGS: readonly Mutation[] = [
  letterCase,
  blanks,
  comments,
  spellStrings,
  quoteNames,
  parentheses,
  semicolons,
];
/** Changes after which it is another statement, or none. */
const CHANGES: readonly Mutation[] = [swap, drop, double, graft, number, wrap, wrap, join];

/** The statement in other words, or another one made of it; `other` gives parts. */
export function mutate(random: Random, sql: string, other: string): string {
  let text = sql;
  if (sql.trim() === '' || places(tokens(sql)).length === 0) return sql;
  if (random.chance(0.55)) text = random.pick(CHANGES)(random, text, other);
  for (let more = random.below(3); more >= 0; more -= 1)
    if (random.chance(0.6)) text = random.pick(SPELLINGS)(random, text, other);
  return text.replaceAll('\0', '');
}

function each(sql: string, change: (token: Token) => string): string {
  return tokens(sql).map(change).join('');
}

function letterCase(random: Random, sql: string): string {
  const upper = random.chance(0.5);
  return each(sql, ({ kind, text }) => {
    if (kind !== 'word') return text;
    return random.chance(0.3) ? text : upper ? text.toUpperCase() : text.toLowerCase();
  });
}

const BLANKS = ['\n', '\t', '  ', '\r', '\f', '\v', ' \n ', '\r\n'];

function blanks(random: Random, sql: string): string {
  return each(sql, ({ kind, text }) => (kind === 'space' && text.trim() === '' ? random.pick(BLANKS) : text));
}

const COMMENTS = [
  '/* x */',
  '/**/',
  '-- x\n',
  '--\r',
  '/* a /* nested */ b */',
  "/* don't */",
  '/* ; DELETE FROM lab.plain; */',
  '-- $$ \n',
  '/*+ SeqScan(x) */',
];

function comments(random: Random, sql: string): string {
  return each(sql, ({ kind, text }) =>
    kind === 'space' && random.chance(0.3) ? ` ${random.pick(COMMENTS)} ` : text,
  );
}

function spellStrings(random: Random, sql: string): string {
  return each(sql, ({ kind, text }) => {
    const inner = /^'((?:[^'\\]|'')*)'$/.exec(text)?.[1];
    if (kind !== 'string' || inner === undefined || random.chance(0.4)) return text;
    switch (random.below(6)) {
      case 0:
        return `E'${inner}'`;
      case 1:
        return `$t$${inner.replaceAll("''", "'")}$t$`;
      case 2:
        return `U&'${[...inner.replaceAll("''", "'")].map(escaped).join('')}'`;
      case 3:
        return `E'${[...inner.replaceAll("''", "'")].map((c) => `\\x${hex(c, 2)}`).join('')}'`;
      case 4:
        return `'' \n '${inner}'`;
      default:
        return `$$${inner.replaceAll("''", "'")}$$`;
    }
  });
}

const hex = (character: string, width: number) =>
  (character.codePointAt(0) ?? 0).toString(16).padStart(width, '0');
const escaped = (character: string) => `\\${hex(character, 4)}`;

/** Names that are certainly names where they stand: after a dot or before one. */
function quoteNames(random: Random, sql: string): string {
  const all = tokens(sql);
  return all
    .map(({ kind, text }, at) => {
      const isName = all[at - 1]?.text === '.' || all[at + 1]?.text === '.';
      if (kind !== 'word' || !isName || random.chance(0.4)) return text;
      const name = text.toLowerCase();
      const [first = ''] = name;
      if (random.chance(0.5)) return `"${name}"`;
      if (random.chance(0.5)) return `U&"\\${hex(first, 4)}${name.slice(1)}"`;
      return ` U&"!${hex(first, 4)}${name.slice(1)}" UESCAPE '!' `;
    })
    .join('');
}

function parentheses(random: Random, sql: string): string {
  return /^\s*(select|values|table)\b/i.test(sql) && !sql.includes(';')
    ? random.chance(0.5)
      ? `(${sql})`
      : `((${sql}))`
    : sql;
}

function semicolons(random: Random, sql: string): string {
  return random.pick([`${sql};`, `;${sql}`, `${sql} ; ; `, `\n${sql}\n;`]);
}

function places(all: readonly Token[]): number[] {
  return all.flatMap(({ kind }, at) => (kind === 'space' ? [] : [at]));
}

function swap(random: Random, sql: string): string {
  const all = tokens(sql);
  const at = places(all);
  const [a, b] = [random.pick(at), random.pick(at)];
  const [first, second] = [all[a], all[b]];
  if (first === undefined || second === undefined) return sql;
  all[a] = second;
  all[b] = first;
  return all.map(({ text }) => text).join('');
}

function drop(random: Random, sql: string): string {
  const all = tokens(sql);
  all.splice(random.pick(places(all)), 1 + random.below(3));
  return all.map(({ text }) => text).join('');
}

function double(random: Random, sql: string): string {
  const all = tokens(sql);
  const from = random.pick(places(all));
  const piece = all.slice(from, from + 1 + random.below(6));
  all.splice(random.pick(places(all)), 0, ...piece, { kind: 'space', text: ' ' });
  return all.map(({ text }) => text).join('');
}

/** Exchanges a token for one of the same kind of another statement. */
function graft(random: Random, sql: string, other: string): string {
  const all = tokens(sql);
  const donors = tokens(other);
  for (let times = 1 + random.below(2); times > 0; times -= 1) {
    const at = random.pick(places(all));
    const same = donors.filter(({ kind }) => kind === all[at]?.kind);
    if (same.length > 0) all[at] = random.pick(same);
  }
  return all.map(({ text }) => text).join('');
}

function number(random: Random, sql: string): string {
  return each(sql, ({ kind, text }) =>
    kind === 'number' && random.chance(0.5)
      ? random.pick(['0', '1', '2', '5', '100', '1001', '5000', '-1'])
      : text,
  );
}

/** A statement around the statement. */
const WRAPS: readonly string[] = [
  'EXPLAIN %',
  'EXPLAIN (ANALYZE) %',
  'EXPLAIN (ANALYZE, COSTS off, TIMING off) %',
  'PREPARE p AS %; EXECUTE p',
  'PREPARE p AS %; EXPLAIN ANALYZE EXECUTE p',
  'DECLARE c CURSOR FOR %; FETCH ALL FROM c',
  'DECLARE c CURSOR FOR %; FETCH 10 FROM c; CLOSE c',
  'DECLARE c CURSOR WITH HOLD FOR %',
  'COPY (%) TO STDOUT',
  'CREATE TABLE made AS %',
  'CREATE TEMP VIEW made AS %; SELECT * FROM made',
  'WITH w AS (%) SELECT * FROM w',
  'WITH w AS (%) SELECT 1',
  'WITH w AS (%) SELECT * FROM w LIMIT 3',
  'SELECT * FROM (%) w',
  'SELECT (SELECT count(*) FROM (%) w)',
  'SELECT array_agg(w) FROM (%) w',
  'SELECT ARRAY(SELECT w::text FROM (%) w)',
  'SELECT EXISTS (%)',
  'SELECT * FROM (%) w UNION ALL SELECT * FROM (%) w',
  'SELECT * FROM lab.owner_of o, LATERAL (%) w',
  'INSERT INTO lab.log (what) SELECT w::text FROM (%) w',
  'DO $do$ BEGIN %; END $do$',
  'BEGIN; %',
  'SAVEPOINT s; %; ROLLBACK TO s',
  'SET search_path = shadow, lab; %',
  "SELECT set_config('search_path', 'shadow,lab', false); %",
  'SET LOCAL search_path = nope; %',
  'CREATE TEMP TABLE large (id int); %',
];

function wrap(random: Random, sql: string): string {
  const inner = sql.trim().replace(/;\s*$/, '');
  return random.pick(WRAPS).replaceAll('%', () => inner);
}

function join(random: Random, sql: string, other: string): string {
  return random.chance(0.5) ? `${sql}; ${other}` : `${other}; ${sql}`;
}
