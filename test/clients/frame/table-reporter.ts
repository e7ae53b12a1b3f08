import type { Reporter, TestModule } from 'vitest/node';
import { renderTable } from './table.ts';

/** Prints the table after everything else. */
export class TableReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const rows = modules
      .toSorted((a, b) => a.moduleId.localeCompare(b.moduleId))
      .flatMap((module) => [...module.children.allTests()])
      .flatMap((test) => test.meta().client ?? []);
    process.stdout.write(`\n${renderTable(rows)}\n`);
  }
}
