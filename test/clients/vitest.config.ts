import { defineConfig } from 'vitest/config';
import { TableReporter } from './frame/table-reporter.ts';

/** All real clients; the ordinary run has only the short form. */
export default defineConfig({
  test: {
    include: ['test/clients/**/*.clients.ts'],
    exclude: ['**/node_modules/**'],
    globalSetup: ['test/support/global-setup.ts'],
    reporters: ['default', new TableReporter()],
    hookTimeout: 120_000,
    maxWorkers: 2,
  },
});
