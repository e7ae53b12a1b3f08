import { describe, expect, it } from 'vitest';
import { type HealthFacts, livez, readyz } from '../../src/telemetry/health.ts';

const GOOD: HealthFacts = {
  listening: true,
  draining: false,
  upstreamReachable: true,
  auditHealthy: true,
  approvalsReachable: true,
};

describe('health', () => {
  it('is ready when nothing is missing', () => {
    expect(readyz(GOOD)).toEqual({ status: 200, body: { status: 'ok', reasons: [] } });
  });

  it.each<readonly [keyof HealthFacts, RegExp]>([
    ['listening', /not listening/],
    ['draining', /draining/],
    ['upstreamReachable', /upstream/],
    ['auditHealthy', /audit log/],
    ['approvalsReachable', /approval store/],
  ])('is not ready, and says so, without %s', (fact, reason) => {
    const { status, body } = readyz({ ...GOOD, [fact]: !GOOD[fact] });
    expect(status).toBe(503);
    expect(body.status).toBe('unavailable');
    expect(body.reasons).toHaveLength(1);
    expect(body.reasons[0]).toMatch(reason);
  });

  it('names everything that is missing', () => {
    expect(readyz({ ...GOOD, draining: true, auditHealthy: false }).body.reasons).toHaveLength(2);
  });

  it('is alive whatever else', () => {
    expect(livez()).toEqual({ status: 200, body: { status: 'ok', reasons: [] } });
  });
});
