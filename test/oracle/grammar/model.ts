/** What the generator knows about fixtures/statements/oracle-schema.sql. */

export type ColumnType =
  | 'int'
  | 'text'
  | 'bool'
  | 'num'
  | 'ts'
  | 'date'
  | 'json'
  | 'texts'
  | 'uuid'
  | 'other';

export type TableModel = {
  readonly name: string;
  readonly columns: readonly (readonly [string, ColumnType])[];
  readonly kind: 'table' | 'view' | 'matview';
};

function model(kind: TableModel['kind'], text: string): TableModel {
  const [name = '', ...columns] = text.split(/\s+/);
  return {
    name,
    kind,
    columns: columns.map((column) => {
      const [column_ = '', type = 'other'] = column.split(':');
      return [column_, type as ColumnType];
    }),
  };
}

export const TABLES: readonly TableModel[] = [
  'plain id:int n:int big:int name:text mark:text at:ts d:date amt:num flag:bool data:json tags:texts u:uuid',
  'small id:int plain_id:int qty:int note:text',
  'grand id:int small_id:int v:text',
  'large id:int k:int mark:text v:text',
  'owner_of id:int name:text',
  'owned id:int owner:int mark:text',
  'hooked_parent id:int v:text',
  'hooked id:int up:int',
  'parts id:int v:text',
  'parts_a id:int v:text',
  'parts_b id:int v:text',
  'calm id:int v:text mark:text',
  'calm_a id:int v:text mark:text',
  'listed id:int v:text',
  'parent id:int v:text',
  'kid id:int v:text extra:int',
  'trig id:int v:text',
  'trig_stmt id:int v:text',
  'touched id:int v:text at:ts',
  'logged id:int v:text',
  'log at:ts what:text',
  'ruled id:int v:text',
  'domained id:int v:text w:int',
  'domrow id:int v:other arr:other',
  'defaulted id:int v:int',
  'ranges id:int r:other',
  'named id:int v:text m:other',
  'ranked_key r:other v:text',
  'by_rank r:other v:text',
  'arrays id:int marks:texts j:json',
  'gen id:int a:int',
  'gen_ok id:int a:int',
  'idx id:int a:int',
  'idx_part id:int a:int',
  'checked id:int a:int',
  'secured id:int v:text',
  'serials id:int v:text g:int',
  'enumed id:int e:other b:other',
  'badged id:int b:other',
  'tokens id:int tok:other',
  'ranked id:int r:other',
  'ordered id:int s:other p:other o:int',
  'excluded id:int s:other',
  'doc id:int body:text x:other',
].map((text) => model('table', text));

export const VIEWS: readonly TableModel[] = [
  'v_plain id:int n:int name:text mark:text',
  'v_check id:int n:int name:text',
  'v_trip v:int',
  'v_over v:int one:int',
  'v_hidden id:int n:int',
  'v_join id:int name:text qty:int',
  'v_large id:int k:int mark:text',
  'v_fold k:int marks:text',
  'v_trig id:int v:text',
  'v_rule id:int v:text',
  'v_instead id:int v:text',
  'v_rank id:int r:other',
].map((text) => model('view', text));

export const MATVIEWS: readonly TableModel[] = [model('matview', 'mv k:int c:int')];

/** Tables that ordinary work is about: named more often than the traps. */
export const CALM: readonly TableModel[] = TABLES.filter(({ name }) =>
  /^(plain|small|grand|large|calm|owner_of|owned|touched|logged|gen_ok|serials|parts_a|log|parent|ordered|doc)$/.test(
    name,
  ),
);

export const RELATIONS: readonly TableModel[] = [...TABLES, ...VIEWS, ...MATVIEWS];
