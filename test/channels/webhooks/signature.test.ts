import { describe, expect, it } from 'vitest';
import { mayConnect, post } from '../../../src/channels/webhooks/post.ts';
import { secretBytes, signedHeaders } from '../../../src/channels/webhooks/signature.ts';
import { endingOf } from '../../../src/channels/webhooks/webhooks.ts';

describe('a signature', () => {
  it('is that of the specification', () => {
    // The example of the Standard Webhooks specification and its reference libraries.
    const key = secretBytes('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw');
    const headers = signedHeaders('msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330, '{"test": 2432232314}', [
      key ?? Buffer.alloc(0),
    ]);
    expect(headers).toEqual({
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    });
  });

  it('is made with each secret while one is changed', () => {
    const keys = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
    const { 'webhook-signature': both } = signedHeaders('m', 1, 'b', keys);
    const each = keys.map((key) => signedHeaders('m', 1, 'b', [key])['webhook-signature']);
    expect(both).toBe(each.join(' '));
  });

  it.each([
    '',
    'whsec_',
    'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    'whsec_c2hvcnQ=',
    'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS',
    `whsec_${'A'.repeat(88)}`,
  ])('takes no other secret: %j', (secret) => {
    expect(secretBytes(secret)).toBeNull();
  });
});

describe('where a webhook may connect to', () => {
  it.each([
    ['93.184.216.34', true],
    ['10.1.2.3', true],
    ['2606:2800:220:1::1', true],
    ['169.254.169.254', false],
    ['::ffff:169.254.169.254', false],
    ['fe80::1', false],
    ['fd00:ec2::254', false],
    ['0.0.0.0', false],
    ['::', false],
    ['224.0.0.1', false],
    ['255.255.255.255', false],
    ['example.com', false],
  ])('%s: %s', (address, may) => {
    expect(mayConnect(address, false)).toBe(may);
  });

  it('http reaches this machine alone', async () => {
    expect(mayConnect('127.0.0.1', true)).toBe(true);
    expect(mayConnect('::1', true)).toBe(true);
    expect(mayConnect('93.184.216.34', true)).toBe(false);
    for (const url of [
      'http://10.1.2.3/',
      'https://169.254.169.254/latest',
      'https://[fe80::1]/',
      'https://[::ffff:169.254.169.254]/',
    ])
      expect(await post(new URL(url), '', {}, 1_000), url).toMatchObject({
        kind: 'failed',
        why: expect.stringContaining('may reach'),
      });
    expect(await post(new URL('https://localhost.invalid/'), '', {}, 5_000)).toMatchObject({
      kind: 'failed',
    });
  });
});

describe('what becomes of an attempt', () => {
  const limits = { webhookAttempts: 5, webhookFirstRetryMs: 1_000, webhookLastRetryMs: 20_000 };
  const answered = (status: number, retryAfterMs: number | null = null) =>
    ({ kind: 'answered', status, retryAfterMs }) as const;

  it.each([200, 201, 204, 299])('%i is delivered', (status) => {
    expect(endingOf(answered(status), 1, limits, 0)).toEqual({ state: 'delivered', status });
  });

  it.each([301, 302, 307, 400, 401, 404, 429, 500, 503])('%i is tried again', (status) => {
    expect(endingOf(answered(status), 1, limits, 0)).toMatchObject({
      state: 'pending',
      status,
      retryMs: 800,
    });
  });

  it('waits four times as long after each, spread, up to a limit, and gives up in the end', () => {
    const failed = { kind: 'failed', why: 'ECONNREFUSED' } as const;
    const waits = [1, 2, 3, 4].map((n) => [0, 1].map((chance) => endingOf(failed, n, limits, chance)));
    expect(waits.map((pair) => pair.map((one) => ('retryMs' in one ? one.retryMs : null)))).toEqual([
      [800, 1_200],
      [3_200, 4_800],
      [12_800, 19_200],
      [16_000, 24_000],
    ]);
    expect(endingOf(failed, 5, limits, 0)).toMatchObject({ state: 'dead', error: 'ECONNREFUSED' });
    expect(endingOf(answered(410), 1, limits, 0)).toMatchObject({ state: 'dead' });
  });

  it('waits as long as it is told to, within limits', () => {
    expect(endingOf(answered(429, 5_000), 1, limits, 0)).toMatchObject({ retryMs: 5_000 });
    expect(endingOf(answered(503, 9_999_999), 1, limits, 0)).toMatchObject({ retryMs: 20_000 });
  });
});
