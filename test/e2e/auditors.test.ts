import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { happen, withAnswers } from '../support/auditors.ts';
import { hasPsql } from '../support/psql.ts';
import { type Stack, startStack } from '../support/stack.ts';

const PAGE = new URL('../../docs/auditors.md', import.meta.url);
const CRITERIA = /(<!-- criteria -->\n)[\s\S]*$/;

describe.runIf(hasPsql())('docs/auditors.md', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack();
    await happen(stack);
  });
  afterAll(() => stack.close());

  it('has the answers that are given (COUNTERSIGN_WRITE=1 writes them anew), and the criteria that the views name', {
    timeout: 300_000,
  }, async () => {
    const shown = readFileSync(PAGE, 'utf8');
    await expect
      .poll(() => stack.audited(`SELECT FROM audit.statements WHERE outcome IS NULL`), { timeout: 30_000 })
      .toEqual([]);
    await expect
      .poll(() => stack.audited('SELECT FROM audit.refused_logins'), { timeout: 30_000 })
      .toHaveLength(1);
    const criteria = await criteriaTable(stack);
    const answered = (await withAnswers(shown, stack)).replace(
      CRITERIA,
      (_, mark: string) => `${mark}${criteria}`,
    );
    if (process.env['COUNTERSIGN_WRITE'] === '1') writeFileSync(PAGE, answered);
    expect(answered).toBe(readFileSync(PAGE, 'utf8'));
  });

  it('asks ten questions', () => {
    const questions = readFileSync(PAGE, 'utf8').match(/^## \d+\. .*\?$/gm) ?? [];
    expect(questions).toHaveLength(10);
  });
});

/** Which views serve which criterion, by their comments. */
async function criteriaTable({ audited }: Stack): Promise<string> {
  const rows = await audited(
    `SELECT m[1] AS criterion, string_agg(format('\`%s\`', c.relname), ', ' ORDER BY c.relname) AS views
       FROM pg_class c, regexp_matches(obj_description(c.oid, 'pg_class'), '\\m(?:CC\\d\\.\\d|C1\\.[12]|P4\\.3)\\M', 'g') m
      WHERE c.relnamespace = 'audit'::regnamespace AND c.relkind = 'v' GROUP BY 1 ORDER BY 1`,
  );
  const lines = rows.map(({ criterion, views }) => `| ${criterion} | ${views} |\n`);
  return `\n| criterion | views |\n|---|---|\n${lines.join('')}`;
}
