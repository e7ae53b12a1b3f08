import { defineConfig } from 'vitest/config';

/** The long form: every point with every kind of statement. The ordinary run has a few of them. */
export default defineConfig({
  test: {
    include: ['test/faults/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    hookTimeout: 300_000,
    maxWorkers: 2,
    env: { COUNTERSIGN_ROUNDS: process.env['COUNTERSIGN_ROUNDS'] ?? '1' },
  },
});
