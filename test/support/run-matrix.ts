/**
 * Runs tests in front of other majors of Postgres: `npm run test:matrix` all that are installed, `-- 14` one of them,
 * `-- --short` the oldest, with what most depends on the version (a part of `npm test`, whose own server is the newest).
 * What is not installed is named, with the command that brings it; it fails a run that asked for it by number.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { binariesOf, howToInstall, isMajor, MAJORS, type Major } from './majors.ts';

/** What depends on the server's version: the wire, the audit schema's SQL, the catalog, whole statements. */
const TESTS = ['test/wire', 'test/proxy', 'test/e2e', 'test/catalog', 'test/audit', 'test/approval'];

/** Of these, about a minute and a half. */
const SHORT = [
  'test/wire/rules',
  'test/wire/refusals/policy',
  'test/proxy/upstream-startup',
  'test/proxy/cancel-kinds',
  'test/e2e/hold',
  'test/e2e/observe',
  'test/e2e/copy',
  'test/e2e/introspection',
  'test/e2e/verify',
  'test/catalog',
  'test/audit/append',
  'test/audit/privileges',
  'test/audit/tampering',
  'test/approval/schema',
];

const args = process.argv.slice(2);
const short = args.includes('--short');
const asked = args.filter((arg) => arg !== '--short').map(Number);
for (const one of asked)
  if (!isMajor(one)) {
    console.error(`${one} is not one of ${MAJORS.join(', ')}`);
    process.exit(2);
  }
const majors: readonly Major[] =
  asked.length > 0 ? asked.filter(isMajor) : short ? MAJORS.slice(0, 1) : MAJORS;
const vitest = fileURLToPath(new URL('../../node_modules/vitest/vitest.mjs', import.meta.url));
const results = majors.map((major) => ({ major, result: run(major) }));
console.log('\nPostgres  result');
for (const { major, result } of results) console.log(`${String(major).padEnd(10)}${result}`);
if (results.some(({ result }) => result === 'failed' || (asked.length > 0 && result !== 'passed')))
  process.exit(1);

function run(major: Major): string {
  if (binariesOf(major) === null) return `skipped: not installed (${howToInstall(major)})`;
  const { status } = spawnSync(process.execPath, [vitest, 'run', ...(short ? SHORT : TESTS)], {
    stdio: 'inherit',
    env: { ...process.env, COUNTERSIGN_TEST_POSTGRES: String(major) },
  });
  return status === 0 ? 'passed' : 'failed';
}
