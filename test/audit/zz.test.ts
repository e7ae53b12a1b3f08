import { Command } from 'commander';
import { expect, test } from 'vitest';
import { auditCommand } from '../../src/cli/audit.ts';
import { createDatabase } from '../support/postgres.ts';

test('x', async () => {
  const d = await createDatabase('audit');
  for (let i = 0; i < 2; i++) {
    const p = new Command().exitOverride();
    auditCommand(p);
    await p.parseAsync(['node', 'c', 'audit', 'migrate', '--url', d.url]);
  }
  expect((await d.query('select count(*)::int n from audit.statements')).rows).toEqual([{ n: 0 }]);
  console.log(
    (await d.query(`explain select * from audit.approvals where request_id = 'x'`)).rows
      .map((r) => r['QUERY PLAN'])
      .filter((l) => /Seq|Index|Bitmap/.test(l))
      .join('\n'),
  );
});
