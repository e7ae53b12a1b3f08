import { describe, expect, it } from 'vitest';
import { createMetrics } from '../../src/telemetry/metrics.ts';

/** The value of one sample line, as Prometheus would read it. */
async function sample(page: Promise<string>, name: string): Promise<number | null> {
  const line = (await page).split('\n').find((one) => one.startsWith(`${name} `));
  return line === undefined ? null : Number(line.slice(name.length + 1));
}

describe('the metrics page', () => {
  it('counts statements by decision and class, once', async () => {
    const metrics = createMetrics();
    const name = 'countersign_statements_total{decision="hold",class="export"}';
    expect(await sample(metrics.render(), name)).toBe(0);
    metrics.statement('hold', 'export');
    metrics.statement('hold', 'export');
    metrics.statement('allow', 'read');
    expect(await sample(metrics.render(), name)).toBe(2);
    metrics.statement('hold', 'export');
    expect(await sample(metrics.render(), name)).toBe(3);
    expect(
      await sample(metrics.render(), 'countersign_statements_total{decision="allow",class="read"}'),
    ).toBe(1);
  });

  it('follows sessions and holds', async () => {
    const metrics = createMetrics();
    metrics.sessionOpened();
    metrics.sessionOpened();
    metrics.sessionClosed();
    metrics.loginRefused();
    metrics.holdOpened();
    metrics.holdOpened();
    metrics.holdEnded('released', 42);
    expect(await sample(metrics.render(), 'countersign_sessions')).toBe(1);
    expect(await sample(metrics.render(), 'countersign_sessions_total')).toBe(2);
    expect(await sample(metrics.render(), 'countersign_logins_refused_total')).toBe(1);
    expect(await sample(metrics.render(), 'countersign_holds_open')).toBe(1);
    expect(await sample(metrics.render(), 'countersign_hold_seconds_sum{end="released"}')).toBe(42);
    expect(await sample(metrics.render(), 'countersign_hold_seconds_bucket{le="30",end="released"}')).toBe(0);
    expect(await sample(metrics.render(), 'countersign_hold_seconds_bucket{le="60",end="released"}')).toBe(1);
  });

  it('reads the lag when somebody looks', async () => {
    const metrics = createMetrics();
    expect(await sample(metrics.render(), 'countersign_audit_lag_seconds')).toBe(0);
    let entries = 7;
    metrics.readLagFrom(() => ({ journalEntries: entries, journalBytes: 900, auditSeconds: 1.5 }));
    expect(await sample(metrics.render(), 'countersign_journal_entries')).toBe(7);
    expect(await sample(metrics.render(), 'countersign_journal_bytes')).toBe(900);
    expect(await sample(metrics.render(), 'countersign_audit_lag_seconds')).toBe(1.5);
    entries = 0;
    expect(await sample(metrics.render(), 'countersign_journal_entries')).toBe(0);
  });

  it('has analysis time and the process', async () => {
    const metrics = createMetrics();
    metrics.analysed(15e-6);
    metrics.analysed(0.02);
    expect(await sample(metrics.render(), 'countersign_analysis_seconds_count')).toBe(2);
    expect(await sample(metrics.render(), 'countersign_analysis_seconds_bucket{le="0.00002"}')).toBe(1);
    expect(await sample(metrics.render(), 'process_cpu_seconds_total')).toBeGreaterThan(0);
    expect(await sample(metrics.render(), 'process_resident_memory_bytes')).toBeGreaterThan(1e6);
    expect(metrics.contentType).toMatch(/^text\/plain; version=0\.0\.4/);
  });

  it('of two instances are apart', async () => {
    const [one, two] = [createMetrics(), createMetrics()];
    one.sessionOpened();
    expect(await sample(two.render(), 'countersign_sessions')).toBe(0);
  });

  it('has a statement counter that costs next to nothing', () => {
    const { statement } = createMetrics();
    const began = performance.now();
    for (let i = 0; i < 1_000_000; i += 1) statement('allow', 'read');
    // A microsecond would already be a third of what a statement may cost; a tenth is far above what it takes.
    expect((performance.now() - began) / 1_000).toBeLessThan(0.3);
  });

  it('counts what budgets gave', async () => {
    const metrics = createMetrics();
    metrics.budgetTaken('hourly', 10, 200);
    metrics.budgetTaken('hourly', 5, 100);
    metrics.budgetLeased('granted');
    metrics.budgetLeased('empty');
    const page = metrics.render();
    expect(await sample(page, 'countersign_budget_rows_total{budget="hourly"}')).toBe(15);
    expect(await sample(page, 'countersign_budget_bytes_total{budget="hourly"}')).toBe(300);
    expect(await sample(page, 'countersign_budget_slices_total{result="granted"}')).toBe(1);
    expect(await sample(page, 'countersign_budget_slices_total{result="failed"}')).toBe(0);
  });
});
