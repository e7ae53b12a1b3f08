import { expect, test } from 'vitest';
import { AuditUnavailable, type Entry } from '../../src/audit/entry.ts';
import { recordedSearch } from '../../src/audit/log/recorded-search.ts';

const FILTER = { from: new Date(0), to: null, text: 'a\0b', limit: 5 };
const READER = { people: ['ana'], credential: 'key:laptop', address: null };

test('a search is recorded before anything is read', async () => {
  const done: string[] = [];
  const entries: Entry[] = [];
  const search = recordedSearch(
    {
      statements: async () => {
        done.push('read');
        return [];
      },
    },
    {
      append: (entry) => {
        entries.push(entry);
        done.push('recorded');
        return 1n;
      },
      write: () => {
        done.push('written');
      },
    },
    () => 7n,
  );
  await search.statements(FILTER, READER);
  expect(done).toEqual(['recorded', 'written', 'read']);
  expect(entries).toEqual([
    expect.objectContaining({
      kind: 'audit_read',
      at: 7n,
      people: ['ana'],
      detail: {
        operation: 'searchStatements',
        credential: 'key:laptop',
        address: '',
        filter: '{"from":"1970-01-01T00:00:00.000Z","to":null,"text":"ab","limit":5}',
      },
    }),
  ]);
});

test('what cannot be recorded is not shown', async () => {
  let read = false;
  const search = recordedSearch(
    {
      statements: async () => {
        read = true;
        return [];
      },
    },
    {
      append: () => {
        throw new AuditUnavailable('full');
      },
      write: () => {},
    },
    () => 0n,
  );
  await expect(search.statements(FILTER, READER)).rejects.toThrow(AuditUnavailable);
  expect(read).toBe(false);
});
