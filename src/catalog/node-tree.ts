import { FIRST_USER_OID } from './rows.ts';

/**
 * The few facts that are read out of a stored expression (pg_node_tree): which functions it calls. The tree is text
 * such as `{FUNCEXPR :funcid 2100 :args ({VAR …})}`; braces inside identifiers are escaped with a backslash, and
 * constants are written as numbers, so that nothing a user wrote can look like a field.
 */

const CALL = /:(?:funcid|aggfnoid|winfnoid) (\d+)/g;

/** OIDs of the functions that are called by name: functions, casts, aggregates, window functions (not operators). */
export function calledFunctions(tree: string): readonly number[] {
  const found = new Set<number>();
  for (const match of tree.matchAll(CALL)) found.add(Number(match[1]));
  return [...found];
}

/** True for a stored query, or several, that are SELECTs throughout and name no built-in relation. */
export function readsOnly(tree: string): boolean {
  const commands = [...tree.matchAll(/:commandType (\d+)/g)];
  const relations = [...tree.matchAll(/:relid (\d+)/g)].map((match) => Number(match[1]));
  return (
    commands.length > 0 &&
    commands.every((match) => match[1] === '1') &&
    relations.every((oid) => oid === 0 || oid >= FIRST_USER_OID)
  );
}

/** ARRAY(SELECT …) stands in the tree (subLinkType 6 is ARRAY_SUBLINK, primnodes.h). */
export function storedFold(tree: string): boolean {
  return tree.includes(':subLinkType 6 ');
}

const EVALUATED =
  /^(?:FUNCEXPR|OPEXPR|DISTINCTEXPR|NULLIFEXPR|SCALARARRAYOPEXPR|COERCEVIAIO|COERCETODOMAIN|ROWCOMPARE|MINMAX)\b/;

/**
 * True where the tree has a call or operator without a column below it. The planner evaluates such a part of an index
 * expression, a predicate or a CHECK while it plans a mere read (eval_const_expressions), if the function says that
 * it is immutable.
 */
export function hasConstantCall(tree: string): boolean {
  const open: { node: boolean; column: boolean }[] = [];
  for (let at = 0; at < tree.length; at += 1) {
    const char = tree[at];
    if (char === '\\') at += 1;
    else if (char === '{') {
      const head = tree.slice(at + 1, at + 24);
      open.push({ node: EVALUATED.test(head), column: /^(?:VAR|COERCETODOMAINVALUE)\b/.test(head) });
    } else if (char === '}') {
      const closed = open.pop();
      const parent = open.at(-1);
      if (closed?.column) {
        if (parent !== undefined) parent.column = true;
      } else if (closed?.node) return true;
    }
  }
  return false;
}
