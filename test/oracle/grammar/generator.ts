import type { Random } from '../random.ts';
import { COMMANDS } from './commands.ts';
import { EXPRESSIONS } from './expressions.ts';
import { CALM, type ColumnType, RELATIONS, TABLES, type TableModel } from './model.ts';
import { QUERIES } from './queries.ts';
import { WRITES } from './writes.ts';

/** How deep rules nest before only their first, final alternatives are taken. */
const DEEPEST = 4;
/** Alternatives at the start of an expression rule that end the recursion. */
const FINAL = 3;
/** How often a trap is taken when it is picked. */
const TRAP = 0.35;

const RULES: Readonly<Record<string, readonly string[]>> = {
  ...EXPRESSIONS,
  ...QUERIES,
  ...WRITES,
  ...COMMANDS,
};

type Source = { readonly alias: string; readonly columns: TableModel['columns'] };

/** Expands rules into SQL. What a `FROM` names comes into scope for the columns that follow. */
export class Generator {
  readonly #random: Random;
  /** Sources of each query around, the innermost last. */
  #scopes: Source[][] = [[]];
  #names = 0;
  #depth = 0;
  /** The share of traps; lower in a calm statement. */
  #trap = TRAP;
  #table: TableModel;

  constructor(random: Random) {
    this.#random = random;
    this.#table = random.pick(TABLES);
  }

  /** One statement of a kind (a rule's name). */
  statement(kind: string): string {
    this.#scopes = [[]];
    this.#depth = 0;
    this.#names = 0;
    this.#table = this.#random.pick(this.#random.chance(0.6) ? CALM : TABLES);
    // Half of the statements are ordinary work.
    this.#trap = this.#random.chance(0.5) ? 0 : TRAP;
    return this.#rule(kind);
  }

  /** One statement for each alternative of every rule, traps and all. */
  sweep(): string[] {
    const made: string[] = [];
    for (const [rule, place] of PLACES)
      for (const alternative of RULES[rule] ?? []) {
        this.statement('session');
        this.#trap = TRAP;
        const [template = ''] = (alternative.startsWith('!') ? alternative.slice(1) : alternative).split(
          ' :: ',
        );
        made.push(
          this.#ordered(
            place
              .replaceAll('%', () => template)
              .replaceAll('{alias}', 'al')
              .replace('{LIST}', '1'),
          ),
        );
      }
    return made;
  }

  #rule(name: string): string {
    const alternatives = RULES[name];
    if (alternatives === undefined) throw new RangeError(`no rule ${name}`);
    this.#depth += 1;
    const deep = this.#depth > DEEPEST && name in EXPRESSIONS;
    const made = this.#expand(this.#pick(deep ? alternatives.slice(0, FINAL) : alternatives));
    this.#depth -= 1;
    return made;
  }

  /** One of them; a trap only now and then. */
  #pick(alternatives: readonly string[]): string {
    for (;;) {
      const chosen = this.#random.pick(alternatives);
      if (!chosen.startsWith('!')) return chosen;
      if (this.#random.chance(this.#trap)) return chosen.slice(1);
    }
  }

  #expand(template: string): string {
    let text = template;
    // Innermost optional parts first.
    while (text.includes('⟦'))
      text = text.replace(/⟦([^⟦⟧]*)⟧/, (_, inner: string) => (this.#random.chance(0.5) ? inner : ''));
    const parts = text.split(/(\{[a-zA-Z][a-zA-Z.]*\})/);
    return parts
      .map((part) => (/^\{[a-zA-Z]/.test(part) && part.endsWith('}') ? this.#one(part.slice(1, -1)) : part))
      .join('');
  }

  #one(name: string): string {
    const [head = '', type = ''] = name.split('.');
    switch (head) {
      case 'col':
        return this.#column(type as ColumnType | 'any');
      case 'one':
        return `(${this.#query(`{list.${type}} `, true)} LIMIT 1)`;
      case 'rows':
        return this.#query(`{list.${type}} `, true);
      case 'list':
        return this.#rule(type);
      case 'q':
        return this.#query('', false);
      case 'new':
        return `n${++this.#names}`;
      case 'old':
        return `n${Math.max(1, this.#names)}`;
      case 'T':
        return this.#target(this.#table, false);
      case 'anyT':
        this.#table = this.#random.pick(RELATIONS);
        return this.#target(this.#table, false);
      case 'target':
        return this.#target(this.#table, true);
      case 'from':
        return this.#from(type);
      case 'tcol':
        return this.#random.pick(this.#table.columns)[0];
      case 'values':
        return this.#row();
      case 'cols':
        return this.#table.columns.map(([column]) => column).join(', ');
      case 'set':
        return this.#assignments();
      case 'scope':
        this.#scopes.push([]);
        return '';
      case 'end':
        this.#scopes.pop();
        return '';
      default:
        return this.#rule(name);
    }
  }

  #query(list: string, single: boolean): string {
    this.#scopes.push([]);
    this.#depth += 1;
    const shape = this.#pick(
      RULES[single ? 'query.single' : this.#depth > DEEPEST ? 'query.plain' : 'query'] ?? [],
    );
    // FROM is expanded first: the list before it needs to know its columns.
    const made = this.#ordered(shape.replace('{LIST}', list));
    this.#depth -= 1;
    this.#scopes.pop();
    return made;
  }

  /** As #expand, but `{from…}` before everything else. */
  #ordered(template: string): string {
    let text = template;
    while (text.includes('⟦'))
      text = text.replace(/⟦([^⟦⟧]*)⟧/, (_, inner: string) => (this.#random.chance(0.5) ? inner : ''));
    const sources: string[] = [];
    text = text.replace(/\{from(?:\.[a-z]+)?\}/g, (found) => {
      sources.push(this.#one(found.slice(1, -1)));
      return `\u0001${sources.length - 1}\u0001`;
    });
    return this.#expand(text).replace(/\u0001(\d+)\u0001/g, (_, at: string) => sources[Number(at)] ?? '');
  }

  #column(type: ColumnType | 'any'): string {
    const inner = this.#scopes.at(-1) ?? [];
    const sources = this.#random.chance(0.9) || inner.length === 0 ? inner : this.#scopes.flat();
    const found: string[] = [];
    for (const { alias, columns } of sources)
      for (const [column, kind] of columns)
        if (type === 'any' || kind === type) found.push(alias === '' ? column : `${alias}.${column}`);
    if (found.length > 0) return this.#random.pick(found);
    return type === 'any' ? 'NULL' : this.#rule(FALLBACK[type] ?? 'number');
  }

  #name(table: TableModel): string {
    return this.#random.chance(0.7) ? `lab.${table.name}` : table.name;
  }

  #target(table: TableModel, scoped: boolean): string {
    const name = this.#name(table);
    if (!scoped || this.#random.chance(0.6)) {
      this.#scopes.at(-1)?.push({ alias: '', columns: table.columns });
      return name;
    }
    this.#scopes.at(-1)?.push({ alias: 'tt', columns: table.columns });
    return `${name} AS tt`;
  }

  #from(kind: string): string {
    const sources = this.#scopes.at(-1);
    const table = this.#random.pick(
      this.#trap === 0 || this.#random.chance(0.5) ? CALM : this.#random.chance(0.5) ? TABLES : RELATIONS,
    );
    const alias = `a${++this.#names}`;
    if (kind === 'simple' || this.#random.chance(0.6)) {
      sources?.push({ alias, columns: table.columns });
      return `${this.#random.chance(0.1) ? 'ONLY ' : ''}${this.#name(table)} ${alias}`;
    }
    this.#depth += 1;
    const shape = this.#pick(RULES[this.#depth > DEEPEST ? 'from.plain' : 'from.item'] ?? []);
    const [template = '', columns = ''] = shape.split(' :: ');
    const made = this.#expand(template.replaceAll('{alias}', alias));
    this.#depth -= 1;
    for (const spec of columns.split(' ').filter((one) => one !== '')) {
      const [name = '', type = 'other'] = spec.split(':');
      sources?.push({ alias, columns: [[name, type as ColumnType]] });
    }
    return made;
  }

  #row(): string {
    return this.#table.columns
      .map(([name, type]) =>
        this.#random.chance(0.1)
          ? 'DEFAULT'
          : name === 'id'
            ? String(4000 + this.#random.below(5000))
            : name.endsWith('_id') || name === 'owner' || name === 'up'
              ? String(1 + this.#random.below(5))
              : this.#rule(VALUE[type] ?? 'other'),
      )
      .join(', ');
  }

  #assignments(): string {
    const columns = this.#table.columns.filter(([name]) => name !== 'id' || this.#random.chance(0.1));
    const [name, type] = this.#random.pick(columns.length > 0 ? columns : this.#table.columns);
    const value = this.#random.chance(0.1) ? 'DEFAULT' : this.#rule(type === 'other' ? 'other' : type);
    return `${name} = ${value}`;
  }
}

/** Where an alternative of a rule stands in a statement of its own. */
const PLACES: readonly (readonly [string, string])[] = [
  ...[
    'session',
    'copy',
    'wrapped',
    'insert',
    'update',
    'delete',
    'merge',
    'updateR',
    'deleteR',
    'mergeR',
    'query',
  ].map((rule) => [rule, '%'] as const),
  ...['ddl.table', 'ddl.other', 'ddl.alter', 'ddl.drop', 'ddl.rare', 'privilege'].map(
    (rule) => [rule, '%'] as const,
  ),
  ['object', "COMMENT ON % IS 'x'"],
  ['coltype', 'CREATE TABLE lab.swept (id %)'],
  ['type', 'CREATE FUNCTION lab.swept(a %) RETURNS int RETURN 1'],
  ['path', 'SET search_path = %; SELECT 1'],
  ['lock', 'LOCK TABLE lab.plain IN % MODE'],
  ['setting.name', 'SHOW %'],
  ['from.item', 'SELECT 1 FROM lab.owner_of o, %'],
  ['from.item', 'SELECT * FROM lab.owner_of o, % LIMIT 5'],
  ...[
    'int',
    'text',
    'bool',
    'num',
    'ts',
    'date',
    'json',
    'xml',
    'texts',
    'uuid',
    'any',
    'aggregate',
    'str',
  ].map((rule) => [rule, 'SELECT % FROM {from.simple} LIMIT 20'] as const),
  ['int', 'UPDATE lab.small SET qty = % WHERE id = 1'],
  ['text', 'INSERT INTO lab.log (what) VALUES (%)'],
  ['bool', 'DELETE FROM lab.grand WHERE id = 1 AND (%)'],
  ['limit', 'SELECT * FROM lab.plain LIMIT %'],
  ['fetch', 'DECLARE c CURSOR FOR SELECT mark FROM lab.large; FETCH % c'],
];

const FALLBACK: Readonly<Partial<Record<ColumnType, string>>> = {
  int: 'number',
  text: 'str',
  bool: 'booltext',
  num: 'number',
  ts: 'ts.plain',
  date: 'date.plain',
  json: 'json.plain',
  texts: 'texts.plain',
  uuid: 'uuid.plain',
};

const VALUE: Readonly<Partial<Record<ColumnType, string>>> = {
  ...FALLBACK,
  int: 'int',
  text: 'text',
  bool: 'bool',
};
