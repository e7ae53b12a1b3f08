import { describe, expect, it } from 'vitest';
import { load, MINIMAL, refusal } from './sample.ts';

describe('budgets', () => {
  it('are read, and are none by default', async () => {
    expect((await load(MINIMAL)).budgets).toEqual([]);
    const yaml = `${MINIMAL}budgets:\n  - { name: pii, tag: pii, rows: 500 }\n  - { name: big, agent: [bot], bytes: 1000, per: 2d }\n`;
    expect((await load(yaml)).budgets).toEqual([
      { name: 'pii', agents: null, tag: 'pii', rows: 500, bytes: null, windowMs: 3_600_000 },
      { name: 'big', agents: ['bot'], tag: null, rows: null, bytes: 1_000, windowMs: 172_800_000 },
    ]);
  });

  it.each([
    ['{ name: x, tag: pii }', 'expected rows, bytes or both'],
    ['{ name: x, rows: 0 }', 'rows'],
    ['{ name: x, rows: 1, per: 1w }', 'expected a number and s, m, h or d'],
    ['{ name: x, rows: 1, per: 400d }', 'expected at most 366d'],
    ['{ name: default, rows: 1 }', 'this is the name of the budget that limits give'],
    ['{ name: x, rows: 1, agent: [bod] }', 'did you mean bot?'],
    ['{ name: x, rows: 1, tags: [pii] }', 'did you mean tag?'],
    ['{ name: x, rows: 1 }\n  - { name: x, rows: 2 }', 'the same name is used above'],
  ])('%s is refused', async (rule, says) => {
    expect((await refusal(`${MINIMAL}budgets:\n  - ${rule}\n`)).message).toContain(says);
  });
});
