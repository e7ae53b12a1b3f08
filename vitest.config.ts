import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    // Integration tests boot processes and talk to a real Postgres on shared cores.
    testTimeout: 30_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    // On a machine that others use too, a wait can run out; a fault fails twice.
    retry: process.env['CI'] ? 1 : 0,
  },
});
