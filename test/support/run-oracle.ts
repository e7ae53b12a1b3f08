/**
 * The fuzz with Postgres as the oracle at its full length: `npm run test:oracle` for 100,000 statements (some four
 * minutes on two cores), more with COUNTERSIGN_STATEMENTS=1000000, others with COUNTERSIGN_SEED=2. Prints the seed, how
 * many ran, and after how many statements each planted mistake was found. `npm test` runs a few thousand.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const vitest = fileURLToPath(new URL('../../node_modules/vitest/vitest.mjs', import.meta.url));
const { status } = spawnSync(process.execPath, [vitest, 'run', 'test/oracle'], {
  stdio: 'inherit',
  env: { ...process.env, COUNTERSIGN_STATEMENTS: process.env['COUNTERSIGN_STATEMENTS'] ?? '100000' },
});
process.exit(status ?? 1);
