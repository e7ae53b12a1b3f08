import { beforeEach, expect, test } from 'vitest';
import type { QuestionParameter } from '../../src/catalog/clarify.ts';
import { withEstimateCache } from '../../src/catalog/estimate-cache.ts';
import type { Estimate } from '../../src/statement/answers.ts';

let asked: string[] = [];
let version = 'v1';
let now = 0;
let answer: Estimate | null = null;

const cached = () =>
  withEstimateCache(
    {
      meaning: async () => null,
      estimate: async (sql) => {
        asked.push(sql.toString());
        return answer;
      },
    },
    () => version,
    () => now,
  );

const value = (text: string | null, typeOid = 23, format: 0 | 1 = 0): QuestionParameter => ({
  typeOid,
  format,
  value: text === null ? null : Buffer.from(text),
});

beforeEach(() => {
  asked = [];
  version = 'v1';
  now = 0;
  answer = { rows: 7, foldedRows: 0 };
});

test('the same question is asked once a minute', async () => {
  const { estimate } = cached();
  const ask = () => estimate(Buffer.from('SELECT 1'), ['public'], [value('5')]);
  expect([await ask(), await ask()]).toEqual([answer, answer]);
  expect(asked).toHaveLength(1);
  now = 59_999;
  await ask();
  expect(asked).toHaveLength(1);
  now = 60_000;
  await ask();
  expect(asked).toHaveLength(2);
});

test('whatever makes it another question is asked anew', async () => {
  const { estimate } = cached();
  const questions: [string, string[], QuestionParameter[] | null][] = [
    ['SELECT 1', ['a'], null],
    ['SELECT 2', ['a'], null],
    ['SELECT 1', ['a', 'b'], null],
    ['SELECT 1', ['a,b'], null],
    ['SELECT 1', ['a'], []],
    ['SELECT 1', ['a'], [value('5')]],
    ['SELECT 15', ['a'], [value('')]],
    ['SELECT 1', ['a'], [value(null)]],
    ['SELECT 1', ['a'], [value('')]],
    ['SELECT 1', ['a'], [value('5', 20)]],
    ['SELECT 1', ['a'], [value('5', 23, 1)]],
    ['SELECT 1', ['a'], [value('12'), value('3')]],
    ['SELECT 1', ['a'], [value('1'), value('23')]],
  ];
  for (const [sql, path, parameters] of questions) await estimate(Buffer.from(sql), path, parameters);
  expect(asked).toHaveLength(questions.length);
  version = 'v2';
  for (const [sql, path, parameters] of questions) await estimate(Buffer.from(sql), path, parameters);
  expect(asked).toHaveLength(2 * questions.length);
  for (const [sql, path, parameters] of questions) await estimate(Buffer.from(sql), path, parameters);
  expect(asked).toHaveLength(2 * questions.length);
});

test('what the server could not say is asked again', async () => {
  answer = null;
  const { estimate } = cached();
  await estimate(Buffer.from('SELECT 1'), [], null);
  answer = { rows: 1, foldedRows: 0 };
  expect(await estimate(Buffer.from('SELECT 1'), [], null)).toEqual(answer);
  expect(asked).toHaveLength(2);
});

test('it does not grow without end: the oldest goes', async () => {
  const { estimate } = cached();
  for (let i = 0; i <= 1_000; i++) await estimate(Buffer.from(`SELECT ${i}`), [], null);
  asked = [];
  await estimate(Buffer.from('SELECT 1000'), [], null);
  expect(asked).toEqual([]);
  await estimate(Buffer.from('SELECT 0'), [], null);
  expect(asked).toEqual(['SELECT 0']);
});
