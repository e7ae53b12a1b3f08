/**
 * Writes fixtures/audit/tampering.json: an honest log, and for each kind of tampering the statements that do it and
 * what verifiers must say. Deterministic: keys and salts are made of names. `npx tsx test/audit/tampering/make.ts`
 */
import { writeFileSync } from 'node:fs';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';
import { changesAsSql, logAsSql } from './as-sql.ts';
import { honestLog, KEYS, NEW } from './base-log.ts';
import { CASES, named, type TamperingCase } from './cases.ts';
import { checkpointOf, type Log } from './log-model.ts';

export const FIXTURE = new URL('../../../fixtures/audit/tampering.json', import.meta.url);

export type FixtureCase = {
  readonly name: string;
  readonly has: string;
  readonly sql: readonly string[];
  readonly finds: readonly (readonly [check: string, stream: string | null, seq: number])[];
  readonly inFolder?: FixtureCase['finds'];
  readonly onlyWithCheckpoint?: true;
  readonly within?: readonly [string, string];
  readonly outside?: readonly [string, string];
};
export type Fixture = {
  readonly about: string;
  readonly keys: typeof KEYS;
  readonly checkpoint: string;
  readonly log: readonly string[];
  readonly cases: readonly FixtureCase[];
};

export function fixtureText(): string {
  const log = honestLog();
  const fixture: Fixture = {
    about:
      "An honest log (`log`: put into a new audit schema by its owner, with the triggers off) and ways to tamper with it (`cases`), each with the statements that do it and with what both verifiers, audit.verify in SQL and countersign verify, must find: [check, stream, row]. They are given `keys` and `checkpoint`, which an outsider kept. `inFolder`: what an evidence folder of that log shows by itself, where that is something else. `has`: what was in the forger's hands beside the database. `onlyWithCheckpoint`: nothing is to be found without it. `within`, `outside`: ranges of time in which audit.verify finds something, or nothing. Made by test/audit/tampering/make.ts.",
    keys: KEYS,
    checkpoint: keptOf(log),
    log: logAsSql(log),
    cases: CASES.map(caseOf),
  };
  const { cases, log: statements, ...rest } = fixture;
  const lines = (values: readonly unknown[]) =>
    values.map((value) => `  ${JSON.stringify(value)}`).join(',\n');
  const head = JSON.stringify(rest, null, 1).slice(0, -2);
  return `${head},\n "log": [\n${lines(statements)}\n ],\n "cases": [\n${lines(cases)}\n ]\n}\n`;
}

/** The newest checkpoint, as its anchor outside has it. */
function keptOf(log: Log): string {
  return checkpointOf(log.leaves, NEW).note;
}

function caseOf({ name, has, change, before, after, finds, inFolder, ...rest }: TamperingCase): FixtureCase {
  const log = honestLog();
  change?.(log);
  const sql = [...(before ?? []), ...changesAsSql(honestLog(), log), ...(after ?? [])];
  return {
    name,
    has: has ?? 'the database',
    sql,
    finds: finds.map(named),
    ...(inFolder === undefined ? {} : { inFolder: inFolder.map(named) }),
    ...rest,
  };
}

if (argv[1] === fileURLToPath(import.meta.url)) writeFileSync(FIXTURE, fixtureText());
