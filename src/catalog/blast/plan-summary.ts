import { bytesInWords, type Finding, finding, notKnown, plural } from './finding.ts';

/**
 * What the planner expects, in words, from the JSON of EXPLAIN (VERBOSE, FORMAT JSON): rows that are touched or come
 * back, and the shape of the plan. Conditions are left out: they hold literals. Names are attacker-controlled.
 */
export function planFindings(explained: unknown): readonly Finding[] {
  const [first] = Array.isArray(explained) ? explained : [];
  const plan = nodeOf(isRecord(first) ? first['Plan'] : null, 0);
  if (plan === null) return [notKnown('the planner gave no estimate of how many rows it touches')];
  const shape = { words: [] as string[], nodes: 0 };
  draw(plan, shape);
  return [estimate(plan), finding('Plan', '', shape.words, shape.nodes)];
}

type PlanNode = {
  readonly type: string;
  readonly operation: string;
  readonly relation: string;
  readonly relationship: string;
  readonly rows: number;
  readonly width: number;
  readonly children: readonly PlanNode[];
};

const DEEPEST = 200;
const MOST_NODES = 12;

function estimate(plan: PlanNode): Finding {
  const guess = "by the planner's estimate, which can be far off";
  if (plan.type !== 'ModifyTable') {
    const rows = Math.round(plan.rows);
    return finding(
      'Estimate',
      `${plural(rows, 'row')} of about ${bytesInWords(plan.width)} each, ${bytesInWords(rows * plan.width)} in all, come back (${guess}; long values count for little in it)`,
    );
  }
  const [input] = plan.children.filter(({ relationship }) => relationship === 'Outer');
  const verb = VERBS[plan.operation] ?? 'written';
  if (input === undefined) return notKnown('the planner gave no estimate of how many rows it writes');
  return finding(
    'Estimate',
    `${plural(Math.round(input.rows), 'row')} ${verb} in ${plan.relation} (${guess})`,
  );
}

const VERBS: Readonly<Record<string, string>> = {
  Insert: 'inserted',
  Update: 'updated',
  Delete: 'deleted',
  Merge: 'merged',
};

function draw(node: PlanNode, shape: { words: string[]; nodes: number }): void {
  shape.nodes++;
  if (shape.words.length < MOST_NODES) {
    const on = node.relation === '' ? '' : ` on ${node.relation}`;
    const name = node.type === 'ModifyTable' ? node.operation : node.type;
    const rows = node.type === 'ModifyTable' ? '' : ` (${plural(Math.round(node.rows), 'row')})`;
    shape.words.push(`${name}${on}${rows}`);
  }
  for (const child of node.children) draw(child, shape);
}

function nodeOf(value: unknown, depth: number): PlanNode | null {
  if (!isRecord(value) || depth > DEEPEST) return null;
  const { 'Node Type': type, 'Plan Rows': rows, 'Plan Width': width, Plans: plans = [] } = value;
  if (
    typeof type !== 'string' ||
    typeof rows !== 'number' ||
    typeof width !== 'number' ||
    !Array.isArray(plans)
  )
    return null;
  const schema = textOf(value['Schema']);
  const relation = textOf(value['Relation Name']);
  return {
    type,
    operation: textOf(value['Operation']),
    relation: schema === '' ? relation : `${schema}.${relation}`,
    relationship: textOf(value['Parent Relationship']),
    rows,
    width,
    children: plans.flatMap((plan) => nodeOf(plan, depth + 1) ?? []),
  };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
