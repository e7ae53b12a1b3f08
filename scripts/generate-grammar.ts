/**
 * Writes src/statement/grammar.generated.ts: the fields of every node that Postgres' raw parser can return, and the
 * values of every enumeration, out of the type declarations that belong to libpg-query.
 *
 *   npx tsx scripts/generate-grammar.ts
 *
 * `RAW_NODES` is the reviewed list: a node that is not in it is unknown to analysis, whatever the declarations say.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const RAW_NODES = `
Integer Float Boolean String BitString List A_Const Alias RangeVar IntoClause GroupingFunc MergeSupportFunc
NamedArgExpr BoolExpr SubLink CaseExpr CaseWhen RowExpr CoalesceExpr MinMaxExpr SQLValueFunction XmlExpr JsonFormat
JsonReturning JsonValueExpr JsonIsPredicate JsonBehavior NullTest BooleanTest SetToDefault CurrentOfExpr JoinExpr
TypeName ColumnRef ParamRef A_Expr TypeCast CollateClause RoleSpec FuncCall A_Star A_Indices A_Indirection
A_ArrayExpr ResTarget MultiAssignRef SortBy WindowDef RangeSubselect RangeFunction RangeTableFunc RangeTableFuncCol
RangeTableSample ColumnDef TableLikeClause IndexElem DefElem LockingClause XmlSerialize PartitionElem PartitionSpec
PartitionBoundSpec PartitionRangeDatum PartitionCmd GroupingSet WithClause InferClause OnConflictClause
CTESearchClause CTECycleClause CommonTableExpr MergeWhenClause ReturningOption ReturningClause TriggerTransition
JsonOutput JsonArgument JsonFuncExpr JsonTablePathSpec JsonTable JsonTableColumn JsonKeyValue JsonParseExpr
JsonScalarExpr JsonSerializeExpr JsonObjectConstructor JsonArrayConstructor JsonArrayQueryConstructor
JsonAggConstructor JsonObjectAgg JsonArrayAgg InsertStmt DeleteStmt UpdateStmt MergeStmt SelectStmt ReturnStmt
CreateSchemaStmt AlterTableStmt AlterTableCmd ATAlterConstraint ReplicaIdentityStmt AlterCollationStmt
AlterDomainStmt GrantStmt ObjectWithArgs AccessPriv GrantRoleStmt AlterDefaultPrivilegesStmt CopyStmt
VariableSetStmt VariableShowStmt CreateStmt Constraint CreateTableSpaceStmt DropTableSpaceStmt
AlterTableSpaceOptionsStmt AlterTableMoveAllStmt CreateExtensionStmt AlterExtensionStmt AlterExtensionContentsStmt
CreateFdwStmt AlterFdwStmt CreateForeignServerStmt AlterForeignServerStmt CreateForeignTableStmt
CreateUserMappingStmt AlterUserMappingStmt DropUserMappingStmt ImportForeignSchemaStmt CreatePolicyStmt
AlterPolicyStmt CreateAmStmt CreateTrigStmt CreateEventTrigStmt AlterEventTrigStmt CreatePLangStmt CreateRoleStmt
AlterRoleStmt AlterRoleSetStmt DropRoleStmt CreateSeqStmt AlterSeqStmt DefineStmt CreateDomainStmt CreateOpClassStmt
CreateOpClassItem CreateOpFamilyStmt AlterOpFamilyStmt DropStmt TruncateStmt CommentStmt SecLabelStmt
DeclareCursorStmt ClosePortalStmt FetchStmt IndexStmt CreateStatsStmt StatsElem AlterStatsStmt CreateFunctionStmt
FunctionParameter AlterFunctionStmt DoStmt CallStmt RenameStmt AlterObjectDependsStmt AlterObjectSchemaStmt
AlterOwnerStmt AlterOperatorStmt AlterTypeStmt RuleStmt NotifyStmt ListenStmt UnlistenStmt TransactionStmt
CompositeTypeStmt CreateEnumStmt CreateRangeStmt AlterEnumStmt ViewStmt LoadStmt CreatedbStmt AlterDatabaseStmt
AlterDatabaseRefreshCollStmt AlterDatabaseSetStmt DropdbStmt AlterSystemStmt ClusterStmt VacuumStmt VacuumRelation
ExplainStmt CreateTableAsStmt RefreshMatViewStmt CheckPointStmt DiscardStmt LockStmt ConstraintsSetStmt ReindexStmt
CreateConversionStmt CreateCastStmt CreateTransformStmt PrepareStmt ExecuteStmt DeallocateStmt DropOwnedStmt
ReassignOwnedStmt AlterTSDictionaryStmt AlterTSConfigurationStmt PublicationTable PublicationObjSpec
CreatePublicationStmt AlterPublicationStmt CreateSubscriptionStmt AlterSubscriptionStmt DropSubscriptionStmt
`
  .trim()
  .split(/\s+/);

const SCALARS = new Set(['boolean', 'number', 'string', 'bigint']);

const require = createRequire(createRequire(import.meta.url).resolve('libpg-query'));
const declarations = dirname(require.resolve('@pgsql/types'));
const types = readFileSync(join(declarations, 'types.d.ts'), 'utf8');
const enumText = readFileSync(join(declarations, 'enums.d.ts'), 'utf8');
const version = JSON.parse(readFileSync(join(declarations, 'package.json'), 'utf8')).version as string;

const enums = new Map<string, string[]>();
for (const [, name = '', values = ''] of enumText.matchAll(/export type (\w+) = ([^;]+);/g)) {
  enums.set(
    name,
    [...values.matchAll(/"(\w+)"/g)].map(([, value = '']) => value),
  );
}

/** `-` a scalar, `*` a wrapped node, `[]` a list of wrapped nodes, `=Name` an enumeration, `Name` a struct. */
function kindOf(type: string): string {
  if (SCALARS.has(type)) return '-';
  if (type === 'Node') return '*';
  if (type === 'Node[]') return '[]';
  if (enums.has(type)) return `=${type}`;
  if (/^\w+$/.test(type)) return type;
  throw new Error(`a field of type ${type}: teach the generator what it is`);
}

const used = new Set<string>();
const lines: string[] = [];
for (const name of RAW_NODES) {
  const body = new RegExp(`export interface ${name} \\{([^}]*)\\}`).exec(types)?.[1];
  if (body === undefined) throw new Error(`no declaration of ${name}`);
  const fields = [...body.matchAll(/(\w+)\?: ([^;]+);/g)].map(([, field = '', type = '']) => {
    const kind = kindOf(type);
    if (kind.startsWith('=')) used.add(kind.slice(1));
    return `${field}:${kind}`;
  });
  lines.push(`  ${name}: '${fields.join(' ')}',`);
}
const enumLines = [...used].sort().map((name) => `  ${name}: '${(enums.get(name) ?? []).join(' ')}',`);

writeFileSync(
  new URL('../src/statement/grammar.generated.ts', import.meta.url),
  `// Generated by scripts/generate-grammar.ts from @pgsql/types ${version}. Do not edit.

/** Fields of each raw parse node: \`-\` scalar, \`*\` node, \`[]\` list of nodes, \`=Name\` enumeration, \`Name\` struct. */
export const NODE_FIELDS: Readonly<Record<string, string>> = {
${lines.join('\n')}
};

/** Values of each enumeration that a raw parse node uses. */
export const ENUM_VALUES: Readonly<Record<string, string>> = {
${enumLines.join('\n')}
};
`,
);
