import { readFileSync } from 'node:fs';
import { describe, expect, inject, it } from 'vitest';
import { BUILTIN_FUNCTIONS } from '../../src/statement/builtins.generated.ts';
import { builtinFunction, listedButUnknown, listedByHand } from '../../src/statement/builtins.ts';
import { superuser, withClient } from '../support/postgres.ts';

const reviewed = readFileSync(
  new URL('../../fixtures/statements/reviewed-functions.txt', import.meta.url),
  'utf8',
)
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));

const generated = BUILTIN_FUNCTIONS.trim()
  .split(/\s+/)
  .map((entry) => entry.slice(0, entry.lastIndexOf(':')));

/** Everything that SQL text can call: `internal`, `trigger` and the like are taken or returned by the server alone. */
const CALLABLE = `
  SELECT DISTINCT CASE n.nspname WHEN 'pg_catalog' THEN p.proname ELSE n.nspname || '.' || p.proname END AS name
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  WHERE n.nspname IN ('pg_catalog', 'information_schema') AND p.oid < 16384
    AND NOT 2281 = ANY (p.proargtypes) AND p.prorettype NOT IN (2281, 2279, 3838, 2280, 3115, 325, 3310, 269)`;

describe('the built-in functions', () => {
  it('were each looked at by a person: none is generated that is not in the reviewed list, none is left over', () => {
    expect(generated.filter((name) => !reviewed.includes(name))).toEqual([]);
    expect(reviewed.filter((name) => !generated.includes(name))).toEqual([]);
  });

  it(`are all known of the server at hand (${inject('postgres').major})`, async () => {
    const { rows } = await withClient(superuser(), (client) => client.query<{ name: string }>(CALLABLE));
    expect(rows.length).toBeGreaterThan(1_500);
    expect(rows.filter(({ name }) => builtinFunction(name) === undefined)).toEqual([]);
  });

  it('are listed by hand only where some server has them', () => {
    expect(listedButUnknown()).toEqual([]);
  });

  it('are held where they are volatile and nobody listed them', () => {
    const unlisted = generated.filter((name) => {
      const found = builtinFunction(name);
      return found?.volatile && !listedByHand().has(name) && found.effect === null;
    });
    expect(unlisted).toEqual([]);
  });
});
