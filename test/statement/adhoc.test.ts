import { readFileSync } from 'node:fs';
import { it } from 'vitest';
import { loadAnalyser } from '../../src/analyser/analyser.ts';
import { connectCatalog } from '../../src/catalog/connect.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { analyse } from '../../src/statement/analyse.ts';
import { createDatabase } from '../support/postgres.ts';

it('x', async () => {
  const db = await createDatabase('adhoc');
  await db.query(readFileSync('fixtures/statements/corpus-schema.sql', 'utf8'));
  await db.query(`CREATE TABLE parent (id int primary key, name text); CREATE TABLE kid (id int primary key, parent_id int references parent on delete cascade, x text);
   INSERT INTO parent SELECT i, 'p'||i FROM generate_series(1,3000) i; INSERT INTO kid SELECT i, 1+i%3000, 'x' FROM generate_series(1,9000) i; ANALYZE parent, kid; CREATE TABLE empty_t (id int primary key)`);
  const c = await connectCatalog(db.url);
  const a = await loadAnalyser(DEFAULT_LIMITS);
  for (const line of readFileSync('/tmp/adhoc.sql', 'utf8').split('\n')) {
    if (!line.trim() || line.startsWith('#')) {
      console.log(line);
      continue;
    }
    const b = Buffer.from(line);
    const p = a.needsWorker(b) ? await a.parseLater(b) : a.parse(b);
    const g = analyse(p, null, { searchPath: ['public'], tempPossible: false }, DEFAULT_LIMITS);
    const x = analyse(p, c.catalog, c.scope, DEFAULT_LIMITS);
    let ok = '';
    try {
      const r = await c.probe(b);
      if (r) ok = ' !!' + r.message;
    } catch {}
    console.log(
      `${g.class.padEnd(10)} ${x.class.padEnd(10)} ${line.slice(0, 150)} ## ${x.reasons.join('; ').slice(0, 110)}${ok}`,
    );
  }
  await a.close();
  await c.close();
  await db.drop();
});
