/**
 * Every node that a rewritten query tree can hold, with every field that PostgreSQL 14 to 18 print of it (outfuncs.c),
 * and what the field is. Collected from the servers themselves; a test goes over statements of every kind on each major.
 * Nodes have other names up to 15 (RTE, ARRAY, CASE …). What is not here makes a tree unreadable.
 */

/**
 * `function`, `operator`, `relation`: an OID, 0 for none. `operators`: several. `flows`: the type of a value that is
 * passed on, compared or printed. `made`: the type of a value that is made here (read from text, cast, checked, bound,
 * returned by a function). `flows*`, `made*`: several types. `builtin`: an OID that must be the server's own, or 0.
 * `plain`: anything without a node in it. `nodes`: nodes, lists of them, nothing. `datum`: a constant's bytes.
 * `nothing`: must be empty.
 */
export type FieldMeaning =
  | 'function'
  | 'operator'
  | 'operators'
  | 'relation'
  | 'flows'
  | 'flows*'
  | 'made'
  | 'made*'
  | 'builtin'
  | 'plain'
  | 'nodes'
  | 'datum'
  | 'nothing';

type Shape = Partial<Record<FieldMeaning, string>>;

const RANGE_TABLE_ENTRY: Shape = {
  relation: 'relid',
  'flows*': 'coltypes',
  nodes: `alias eref tablesample subquery joinaliasvars join_using_alias functions tablefunc values_lists securityQuals
    groupexprs`,
  plain: `rtekind relkind rellockmode perminfoindex lateral inh inFromCl requiredPerms checkAsUser selectedCols
    insertedCols updatedCols extraUpdatedCols jointype joinmergedcols joinleftcols joinrightcols security_barrier
    ctename ctelevelsup self_reference coltypmods colcollations funcordinality`,
};
const ARRAY: Shape = {
  flows: 'array_typeid element_typeid',
  nodes: 'elements',
  plain: 'array_collid multidims location list_start list_end',
};
const CASE: Shape = { flows: 'casetype', nodes: 'arg args defresult', plain: 'casecollid location' };
const WHEN: Shape = { nodes: 'expr result', plain: 'location' };
const COALESCE: Shape = { flows: 'coalescetype', nodes: 'args', plain: 'coalescecollid location' };
const COLLATE: Shape = { nodes: 'arg', plain: 'collOid location' };
const MIN_MAX: Shape = { flows: 'minmaxtype', nodes: 'args', plain: 'minmaxcollid inputcollid op location' };
const ROW: Shape = { flows: 'row_typeid', nodes: 'args colnames', plain: 'row_format location' };
const ROW_COMPARE: Shape = {
  operators: 'opnos',
  nodes: 'largs rargs',
  plain: 'rctype cmptype opfamilies inputcollids',
};
const OPERATION: Shape = {
  operator: 'opno',
  function: 'opfuncid',
  made: 'opresulttype',
  nodes: 'args',
  plain: 'opretset opcollid inputcollid location',
};

const SHAPES: Readonly<Record<string, Shape>> = {
  QUERY: {
    nothing: 'utilityStmt',
    nodes: `cteList rtable rteperminfos jointree mergeActionList mergeJoinCondition targetList onConflict returningList
      groupClause groupingSets havingQual windowClause distinctClause sortClause limitOffset limitCount rowMarks
      setOperations withCheckOptions`,
    plain: `commandType querySource canSetTag queryId resultRelation hasAggs hasWindowFuncs hasTargetSRFs hasSubLinks
      hasDistinctOn hasRecursive hasModifyingCTE hasForUpdate hasRowSecurity hasGroupRTE isReturn mergeUseOuterJoin
      mergeTargetRelation override returningOldAlias returningNewAlias groupDistinct limitOption constraintDeps
      stmt_location stmt_len`,
  },
  RTE: RANGE_TABLE_ENTRY,
  RANGETBLENTRY: RANGE_TABLE_ENTRY,
  RTEPERMISSIONINFO: {
    relation: 'relid',
    plain: 'inh requiredPerms checkAsUser selectedCols insertedCols updatedCols',
  },
  RANGETBLFUNCTION: {
    'made*': 'funccoltypes',
    nodes: 'funcexpr funccolnames',
    plain: 'funccolcount funccoltypmods funccolcollations funcparams',
  },
  RANGETBLREF: { plain: 'rtindex' },
  TABLESAMPLECLAUSE: { function: 'tsmhandler', nodes: 'args repeatable' },
  TABLEFUNC: {
    'made*': 'coltypes',
    nodes: `ns_uris ns_names docexpr rowexpr colnames colexprs coldefexprs colvalexprs passingvalexprs plan`,
    plain: 'functype coltypmods colcollations notnulls ordinalitycol location',
  },
  FROMEXPR: { nodes: 'fromlist quals' },
  JOINEXPR: {
    nodes: 'larg rarg usingClause join_using_alias quals alias',
    plain: 'jointype isNatural rtindex',
  },
  SETOPERATIONSTMT: {
    'flows*': 'colTypes',
    nodes: 'larg rarg groupClauses',
    plain: 'op all colTypmods colCollations',
  },
  COMMONTABLEEXPR: {
    'flows*': 'ctecoltypes',
    nodes: 'aliascolnames ctequery search_clause cycle_clause ctecolnames',
    plain: 'ctename ctematerialized location cterecursive cterefcount ctecoltypmods ctecolcollations',
  },
  CTESEARCHCLAUSE: { nodes: 'search_col_list', plain: 'search_breadth_first search_seq_column location' },
  CTECYCLECLAUSE: {
    operator: 'cycle_mark_neop',
    flows: 'cycle_mark_type',
    nodes: 'cycle_col_list cycle_mark_value cycle_mark_default',
    plain: 'cycle_mark_column cycle_path_column location cycle_mark_typmod cycle_mark_collation',
  },
  MERGEACTION: { nodes: 'qual targetList', plain: 'matched matchKind commandType override updateColnos' },
  MERGESUPPORTFUNC: { flows: 'msftype', plain: 'msfcollid location' },
  ONCONFLICTEXPR: {
    nodes: 'arbiterElems arbiterWhere onConflictSet onConflictWhere exclRelTlist',
    plain: 'action constraint exclRelIndex',
  },
  INFERENCEELEM: { builtin: 'inferopclass', nodes: 'expr', plain: 'infercollid' },
  WITHCHECKOPTION: { nodes: 'qual', plain: 'kind relname polname cascaded' },
  ROWMARKCLAUSE: { plain: 'rti strength waitPolicy pushedDown' },
  SORTGROUPCLAUSE: { operator: 'eqop sortop', plain: 'tleSortGroupRef nulls_first hashable reverse_sort' },
  GROUPINGSET: { nodes: 'content', plain: 'kind location' },
  WINDOWCLAUSE: {
    function: 'startInRangeFunc endInRangeFunc',
    nodes: 'partitionClause orderClause startOffset endOffset runCondition',
    plain: 'name refname frameOptions inRangeColl inRangeAsc inRangeNullsFirst winref copiedOrder',
  },
  TARGETENTRY: { nodes: 'expr', plain: 'resno resname ressortgroupref resorigtbl resorigcol resjunk' },
  ALIAS: { nodes: 'colnames', plain: 'aliasname' },

  VAR: {
    flows: 'vartype',
    plain: `varno varattno vartypmod varcollid varnullingrels varlevelsup varreturningtype varnosyn varattnosyn location`,
  },
  CONST: {
    made: 'consttype',
    datum: 'constvalue',
    plain: 'consttypmod constcollid constlen constbyval constisnull location',
  },
  PARAM: { made: 'paramtype', plain: 'paramkind paramid paramtypmod paramcollid location' },
  AGGREF: {
    function: 'aggfnoid',
    made: 'aggtype',
    flows: 'aggtranstype',
    'flows*': 'aggargtypes',
    nodes: 'aggdirectargs args aggorder aggdistinct aggfilter',
    plain: `aggcollid inputcollid aggstar aggvariadic aggkind aggpresorted agglevelsup aggsplit aggno aggtransno location`,
  },
  GROUPINGFUNC: { nodes: 'args', plain: 'refs cols agglevelsup location' },
  WINDOWFUNC: {
    function: 'winfnoid',
    made: 'wintype',
    nodes: 'args aggfilter runCondition',
    plain: 'wincollid inputcollid winref winstar winagg location',
  },
  SUBSCRIPTINGREF: {
    made: 'refcontainertype',
    flows: 'refelemtype refrestype',
    nodes: 'refupperindexpr reflowerindexpr refexpr refassgnexpr',
    plain: 'reftypmod refcollid',
  },
  FUNCEXPR: {
    function: 'funcid',
    made: 'funcresulttype',
    nodes: 'args',
    plain: 'funcretset funcvariadic funcformat funccollid inputcollid location',
  },
  NAMEDARGEXPR: { nodes: 'arg', plain: 'name argnumber location' },
  OPEXPR: OPERATION,
  DISTINCTEXPR: OPERATION,
  NULLIFEXPR: OPERATION,
  SCALARARRAYOPEXPR: {
    operator: 'opno',
    function: 'opfuncid hashfuncid negfuncid',
    nodes: 'args',
    plain: 'useOr inputcollid location',
  },
  BOOLEXPR: { nodes: 'args', plain: 'boolop location' },
  SUBLINK: { nodes: 'testexpr operName subselect', plain: 'subLinkType subLinkId location' },
  FIELDSELECT: { flows: 'resulttype', nodes: 'arg', plain: 'fieldnum resulttypmod resultcollid' },
  FIELDSTORE: { made: 'resulttype', nodes: 'arg newvals', plain: 'fieldnums' },
  RELABELTYPE: {
    flows: 'resulttype',
    nodes: 'arg',
    plain: 'resulttypmod resultcollid relabelformat location',
  },
  COERCEVIAIO: { made: 'resulttype', nodes: 'arg', plain: 'resultcollid coerceformat location' },
  ARRAYCOERCEEXPR: {
    made: 'resulttype',
    nodes: 'arg elemexpr',
    plain: 'resulttypmod resultcollid coerceformat location',
  },
  CONVERTROWTYPEEXPR: { made: 'resulttype', nodes: 'arg', plain: 'convertformat location' },
  COERCETODOMAIN: {
    made: 'resulttype',
    nodes: 'arg',
    plain: 'resulttypmod resultcollid coercionformat location',
  },
  COLLATE,
  COLLATEEXPR: COLLATE,
  CASE,
  CASEEXPR: CASE,
  WHEN,
  CASEWHEN: WHEN,
  CASETESTEXPR: { flows: 'typeId', plain: 'typeMod collation' },
  ARRAY,
  ARRAYEXPR: ARRAY,
  ROW,
  ROWEXPR: ROW,
  ROWCOMPARE: ROW_COMPARE,
  ROWCOMPAREEXPR: ROW_COMPARE,
  COALESCE,
  COALESCEEXPR: COALESCE,
  MINMAX: MIN_MAX,
  MINMAXEXPR: MIN_MAX,
  SQLVALUEFUNCTION: { flows: 'type', plain: 'op typmod location' },
  XMLEXPR: {
    made: 'type',
    nodes: 'named_args arg_names args',
    plain: 'op name xmloption indent typmod location',
  },
  NULLTEST: { nodes: 'arg', plain: 'nulltesttype argisrow location' },
  BOOLEANTEST: { nodes: 'arg', plain: 'booltesttype location' },
  CURRENTOFEXPR: { plain: 'cvarno cursor_name cursor_param' },
  NEXTVALUEEXPR: { flows: 'typeId', plain: 'seqid' },
  RETURNINGEXPR: { nodes: 'retexpr', plain: 'retlevelsup retold' },

  JSONFORMAT: { plain: 'format_type encoding location' },
  JSONRETURNING: { made: 'typid', nodes: 'format', plain: 'typmod' },
  JSONVALUEEXPR: { nodes: 'raw_expr formatted_expr format' },
  JSONCONSTRUCTOREXPR: {
    nodes: 'args func coercion returning',
    plain: 'type absent_on_null unique location',
  },
  JSONISPREDICATE: { nodes: 'expr format', plain: 'item_type unique_keys location' },
  JSONBEHAVIOR: { nodes: 'expr', plain: 'btype coerce location' },
  JSONEXPR: {
    nodes: 'formatted_expr format path_spec returning passing_names passing_values on_empty on_error',
    plain: 'op column_name use_io_coercion use_json_coercion wrapper omit_quotes collation location',
  },
  JSONTABLEPATH: { nodes: 'value', plain: 'name' },
  JSONTABLEPATHSCAN: { nodes: 'path child', plain: 'errorOnError colMin colMax' },
  JSONTABLESIBLINGJOIN: { nodes: 'lplan rplan' },
};

/** By the node's name as it is printed. */
export const NODE_FIELDS: ReadonlyMap<string, ReadonlyMap<string, FieldMeaning>> = new Map(
  Object.entries(SHAPES).map(([name, shape]) => [
    name,
    new Map(
      Object.entries(shape).flatMap(([meaning, fields]) =>
        fields.split(/\s+/).map((field) => [field, meaning as FieldMeaning] as const),
      ),
    ),
  ]),
);
