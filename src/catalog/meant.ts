import type { Meaning } from '../statement/answers.ts';
import type { Meant } from '../statement/catalog.ts';
import type { Closure } from './closure.ts';
import { JSON_KIN } from './code-steps.ts';
import { FIRST_USER_OID } from './rows.ts';
import type { Snapshot } from './snapshot.ts';
import type { Step } from './step.ts';

const VIA = 'the statement';

/** What the objects that the server found set off. What the snapshot does not have (made since) is an effect. */
export function meantBy(snapshot: Snapshot, closure: Closure, meaning: Meaning): Meant {
  const builtins: string[] = [];
  const called = new Set<number>();
  const steps: Step[] = [];
  for (const oid of meaning.functions) {
    const name = oid < FIRST_USER_OID ? snapshot.builtins.get(oid)?.name : undefined;
    if (name === undefined) called.add(oid);
    else builtins.push(name);
  }
  for (const oid of usersOwn(meaning.operators)) {
    const operator = snapshot.operators.get(oid);
    if (operator === undefined) steps.push(unknown('an operator', oid));
    for (const fn of operator?.functions ?? []) {
      if (fn >= FIRST_USER_OID) called.add(fn);
      if (snapshot.functions.get(fn)?.returnsSet)
        steps.push({ kind: 'effect', text: `the operator ${operator?.name} returns any number of rows` });
    }
    steps.push({ kind: 'operator', oid, via: VIA }, ...comparedBy(snapshot, oid));
  }
  for (const oid of called) steps.push({ kind: 'function', oid, via: VIA });
  const json = meaning.json || builtins.some((name) => JSON_KIN.test(name));
  steps.push(...typeSteps(snapshot, meaning, json));
  return {
    effects: closure.effects(steps),
    builtins,
    json,
    calls: [...called].map((oid) => callOf(snapshot, oid)).sort(),
  };
}

function typeSteps(snapshot: Snapshot, meaning: Meaning, json: boolean): readonly Step[] {
  const made = new Set(usersOwn(meaning.made));
  return [...new Set([...usersOwn(meaning.flowing), ...made])].flatMap((oid): Step[] => {
    const type = snapshot.types.get(oid);
    if (type === undefined) return [unknown('a type', oid)];
    const step = { kind: 'type', oid, via: `type ${type.schema}.${type.name}` } as const;
    return [
      { ...step, access: 'compare' },
      ...(made.has(oid) ? [{ ...step, access: 'input' } as const] : []),
      ...(json ? [{ ...step, access: 'casts-from' } as const] : []),
    ];
  });
}

/** Sorting by an operator calls what its operator family compares with, which is another function. */
function comparedBy(snapshot: Snapshot, operator: number): readonly Step[] {
  const steps: Step[] = [];
  for (const members of snapshot.families.values()) {
    if (!members.some(({ kind, object }) => kind === 'o' && object === operator)) continue;
    for (const { kind, object } of members)
      steps.push({ kind: kind === 'p' ? 'function' : 'operator', oid: object, via: VIA });
  }
  return steps;
}

function usersOwn(oids: ReadonlySet<number>): readonly number[] {
  return [...oids].filter((oid) => oid >= FIRST_USER_OID);
}

function unknown(what: string, oid: number): Step {
  return { kind: 'effect', text: `${VIA} uses ${what} that is not known (OID ${oid})` };
}

/** Changes with the function's body, and with the function that a name means. */
function callOf(snapshot: Snapshot, oid: number): string {
  const fn = snapshot.functions.get(oid);
  return fn === undefined ? `OID ${oid}` : `${fn.signature} OID ${oid} ${fn.bodyDigest.slice(0, 32)}`;
}
