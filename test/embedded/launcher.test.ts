import { describe, expect, it } from 'vitest';
import { superuser, withClient } from '../support/postgres.ts';

describe('the embedded Postgres', () => {
  it('is a real server that asks for a password', async () => {
    const version = await withClient(superuser(), (client) => client.query('SHOW server_version_num'));
    expect(Number(version.rows[0].server_version_num)).toBeGreaterThanOrEqual(180000);
    await expect(
      withClient({ ...superuser(), password: 'wrong' }, (client) => client.query('SELECT 1')),
    ).rejects.toMatchObject({
      code: '28P01',
    });
  });
});
