import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { hasPsql } from '../support/psql.ts';
import { makeTranscript } from '../support/transcript.ts';

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');

describe.runIf(hasPsql())("the README's transcript", () => {
  it('is what happens (npx tsx scripts/readme-transcript.ts writes it anew)', {
    timeout: 120_000,
  }, async () => {
    const shown = /<!-- transcript -->\n```console\n([\s\S]*?)\n```/.exec(readme)?.[1];
    expect(await makeTranscript()).toBe(shown);
  });
});

describe('the README', () => {
  it('names every folder of the source', () => {
    for (const folder of [
      'config',
      'protocol',
      'session',
      'statement',
      'analyser',
      'catalog',
      'policy',
      'approval',
      'signing',
      'audit',
      'channels',
      'proxy',
      'telemetry',
      'embedded',
    ])
      expect(readme).toContain(`  ${folder}/`);
  });
});
