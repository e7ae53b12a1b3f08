import { describe, expect, it } from 'vitest';
import { resolveNames } from '../../src/statement/resolve-names.ts';
import { analysed } from './support.ts';

const body = (sql: string) => analysed(sql).statements[0];

function resolved(sql: string, statement?: string, portal?: string) {
  return resolveNames(analysed(sql), {
    statement: (name) => (name === 'p' && statement !== undefined ? body(statement) : undefined),
    portal: (name) => (name === 'c' && portal !== undefined ? body(portal) : undefined),
  });
}

describe('resolveNames', () => {
  it.each([
    ['EXECUTE p', 'SELECT 1', 'read'],
    ['EXECUTE p', 'DELETE FROM t', 'bulk_write'],
    ['EXECUTE p', 'INSERT INTO t VALUES (1)', 'write'],
    ['EXECUTE p(nobody_knows())', 'SELECT 1', 'opaque'],
    ['EXECUTE p', undefined, 'opaque'],
    ['EXECUTE other', 'SELECT 1', 'opaque'],
    ['EXPLAIN EXECUTE p', 'DELETE FROM t', 'read'],
    ['EXPLAIN ANALYZE EXECUTE p', 'DELETE FROM t', 'bulk_write'],
    ['SELECT 1; EXECUTE p; DROP TABLE t', 'SELECT 1', 'ddl'],
    ['SET search_path = x; EXECUTE p', 'SELECT 1', 'opaque'],
    ['DEALLOCATE p; EXECUTE p', 'SELECT 1', 'opaque'],
  ])('%s with p = %s is %s', (sql, statement, expected) => {
    expect(resolved(sql, statement).class).toBe(expected);
  });

  it.each([
    ['FETCH ALL FROM c', 'SELECT * FROM t', 'read'],
    ['FETCH 5 FROM c', 'SELECT * FROM pg_authid', 'privilege'],
    ['FETCH 5000 FROM c', 'SELECT * FROM t', 'export'],
    ['FETCH 5000 FROM c', 'SELECT * FROM t LIMIT 5', 'read'],
    ['MOVE 5 IN c', 'SELECT * FROM t', 'read'],
    ['FETCH 1 FROM other', 'SELECT 1', 'opaque'],
  ])('%s with c = %s is %s', (sql, portal, expected) => {
    expect(resolved(sql, undefined, portal).class).toBe(expected);
  });

  it('takes over what the name does to the session, and to pinned settings', () => {
    const executed = resolved('EXECUTE p', "SELECT set_config('client_encoding', 'BIG5', false)");
    expect(executed.changesPinned).toBe(true);
    expect(resolved('EXECUTE p', "SELECT set_config('search_path', 'x', false)").statements[0]).toMatchObject(
      {
        changesSearchPath: true,
      },
    );
    expect(resolved('EXECUTE p', 'SELECT 1').statements[0]).toMatchObject({
      changesSearchPath: false,
      makesTemp: false,
      unresolved: null,
      symbols: [{ kind: 'execute', name: 'p' }],
    });
  });

  it('a string that explains its names needs no one', () => {
    const analysis = analysed('PREPARE p AS SELECT 1; EXECUTE p');
    expect(analysis.class).toBe('read');
    expect(resolveNames(analysis, { statement: () => undefined, portal: () => undefined })).toBe(analysis);
  });
});
