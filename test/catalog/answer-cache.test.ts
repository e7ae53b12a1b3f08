import { beforeEach, expect, test } from 'vitest';
import { withAnswerCache } from '../../src/catalog/answer-cache.ts';
import type { QuestionParameter } from '../../src/catalog/clarify.ts';
import type { Estimate, Meaning } from '../../src/statement/answers.ts';

let asked: string[] = [];
let version = 'v1';
let objects = 'o1';
let now = 0;
let answer: Estimate | null = null;
const NONE = new Set<number>();
const MEANING: Meaning = {
  functions: new Set([20_000]),
  operators: NONE,
  relations: NONE,
  flowing: NONE,
  made: NONE,
  json: false,
};
let meaning: Meaning | null = MEANING;

const cached = () =>
  withAnswerCache(
    {
      meaning: async (sql) => {
        asked.push(sql.toString());
        return meaning;
      },
      estimate: async (sql) => {
        asked.push(sql.toString());
        return answer;
      },
    },
    () => ({ objects, all: version }),
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
  objects = 'o1';
  meaning = MEANING;
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

test('what names mean is asked once a minute, while objects are the same, whatever their sizes', async () => {
  const cache = cached();
  const ask = () => cache.meaning(Buffer.from('SELECT f(1)'), ['public'], []);
  expect([await ask(), await ask()]).toEqual([MEANING, MEANING]);
  version = 'grown';
  await ask();
  expect(asked).toHaveLength(1);
  objects = 'another function';
  await ask();
  expect(asked).toHaveLength(2);
  now = 60_000;
  await ask();
  expect(asked).toHaveLength(3);
});

test('what names mean is another question for another text, path or types of parameters', async () => {
  const { meaning: ask } = cached();
  const questions: [string, string[], number[]][] = [
    ['SELECT f(1)', ['a'], []],
    ['SELECT f(2)', ['a'], []],
    ['SELECT f(1)', ['a', 'b'], []],
    ['SELECT f(1)', ['a'], [23]],
    ['SELECT f(1)', ['a'], [23, 0]],
  ];
  for (let twice = 0; twice < 2; twice++)
    for (const [sql, path, types] of questions) await ask(Buffer.from(sql), path, types);
  expect(asked).toHaveLength(questions.length);
});

test('who asks what is being asked waits for the same answer; a failure is not kept', async () => {
  let fail: (error: Error) => void = () => undefined;
  let count = 0;
  const { meaning: ask } = withAnswerCache(
    {
      meaning: () => {
        count += 1;
        return count > 1 ? Promise.resolve(MEANING) : new Promise((_, reject) => (fail = reject));
      },
      estimate: async () => null,
    },
    () => ({ objects, all: version }),
    () => now,
  );
  const both = Promise.allSettled([
    ask(Buffer.from('SELECT f(1)'), [], []),
    ask(Buffer.from('SELECT f(1)'), [], []),
  ]);
  fail(new Error('the connection was lost'));
  expect((await both).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect(count).toBe(1);
  expect(await ask(Buffer.from('SELECT f(1)'), [], [])).toEqual(MEANING);
});
