/** Plays the README's transcript anew and writes it into README.md, between its marks: npx tsx scripts/readme-transcript.ts */
import { readFileSync, writeFileSync } from 'node:fs';
import { makeTranscript } from '../test/support/transcript.ts';

const README = new URL('../README.md', import.meta.url);
const readme = readFileSync(README, 'utf8');
const transcript = await makeTranscript();
writeFileSync(
  README,
  readme.replace(
    /(<!-- transcript -->\n```console\n)[\s\S]*?(```)/,
    (_whole, open, close) => `${open}${transcript}\n${close}`,
  ),
);
