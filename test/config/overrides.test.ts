import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/config/errors.ts';
import { applyOverrides, parseListen, readOverrides } from '../../src/config/overrides.ts';
import { load, MINIMAL } from './sample.ts';

describe('a listening address', () => {
  it.each([
    ['127.0.0.1:6432', { host: '127.0.0.1', port: 6432 }],
    ['localhost:0', { host: 'localhost', port: 0 }],
    ['[::1]:65535', { host: '::1', port: 65535 }],
    ['0.0.0.0:5432', { host: '0.0.0.0', port: 5432 }],
    ['6432', { host: '127.0.0.1', port: 6432 }],
  ])('%s', (text, expected) => {
    expect(parseListen(text)).toEqual(expected);
  });

  it.each([
    '',
    ':',
    ':6432',
    'host',
    'host:',
    'host:65536',
    'host:-1',
    '::1:6432',
    'a b:1',
    'h:1/x',
    'h:1\n',
  ])('is not %j', (text) => {
    expect(parseListen(text)).toBeNull();
  });
});

describe('overrides', () => {
  const env = {
    COUNTERSIGN_LISTEN: '10.0.0.1:1',
    COUNTERSIGN_HTTP_LISTEN: '10.0.0.1:2',
    COUNTERSIGN_DATA_DIR: '/from/env',
  };

  it('come from flags first, then from the environment', () => {
    expect(readOverrides({ listen: '127.0.0.1:3' }, env)).toEqual({
      listen: '127.0.0.1:3',
      httpListen: '10.0.0.1:2',
      dataDir: '/from/env',
    });
    expect(readOverrides({}, { COUNTERSIGN_LISTEN: '' })).toEqual({});
  });

  it('change their part of the configuration and nothing else', async () => {
    const config = await load(MINIMAL);
    const changed = applyOverrides(config, readOverrides({}, env));
    expect(changed.listen).toEqual({ host: '10.0.0.1', port: 1, tls: null });
    expect(changed.http).toMatchObject({ host: '10.0.0.1', port: 2, apiKeys: [] });
    expect(changed.dataDirectory).toBe('/from/env');
    expect(changed.policy).toBe(config.policy);
    expect(Object.isFrozen(changed)).toBe(true);
    expect(applyOverrides(config, {})).toEqual(config);
  });

  it('name the option that is wrong', async () => {
    const config = await load(MINIMAL);
    expect(() => applyOverrides(config, { httpListen: 'nowhere' })).toThrow(ConfigError);
    expect(() => applyOverrides(config, { httpListen: 'nowhere' })).toThrow(
      /--http-listen: expected host:port/,
    );
  });
});
