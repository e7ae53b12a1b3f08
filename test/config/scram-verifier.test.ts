import { randomBytes } from 'node:crypto';
import { afterAll, describe, expect, it } from 'vitest';
import { makeScramVerifier, parseScramVerifier } from '../../src/config/scram-verifier.ts';
import { createDatabase, superuser, withClient } from '../support/postgres.ts';

const database = await createDatabase('scram');
const roles: string[] = [];

afterAll(async () => {
  await database.drop();
  for (const role of roles)
    await withClient(superuser(), (client) => client.query(`DROP ROLE IF EXISTS ${role}`));
});

/** A role whose password (or verifier) the server is given as text. */
async function makeRole(secret: string): Promise<string> {
  const role = `scram_${randomBytes(5).toString('hex')}`;
  roles.push(role);
  await withClient(superuser(), (client) =>
    client.query(`CREATE ROLE ${role} LOGIN PASSWORD ${client.escapeLiteral(secret)}`),
  );
  return role;
}

const login = (user: string, password: string) =>
  withClient({ ...superuser(database.name), user, password }, (client) => client.query('SELECT 1 AS one'));

const PASSWORDS = [
  'ordinary',
  'with blank and \\ and "',
  'pässwörd',
  'ﬁne ligature',
  'Ⅸ and ½',
  'x'.repeat(200),
];

describe('a SCRAM verifier, against Postgres itself', () => {
  it.each(PASSWORDS)('is the one that Postgres makes of %j', async (password) => {
    const role = await makeRole(password);
    const kept = await database.query('SELECT rolpassword FROM pg_authid WHERE rolname = $1', [role]);
    const theirs = String(kept.rows[0]?.rolpassword);
    const parsed = parseScramVerifier(theirs);
    expect(parsed).not.toBeNull();
    if (parsed === null) return;
    expect(makeScramVerifier(password, parsed.salt, parsed.iterations)).toBe(theirs);
    expect(makeScramVerifier(`${password}.`, parsed.salt, parsed.iterations)).not.toBe(theirs);
  });

  it('lets its password in, and no other', async () => {
    const role = await makeRole(makeScramVerifier('right', randomBytes(16)));
    await expect(login(role, 'right')).resolves.toMatchObject({ rows: [{ one: 1 }] });
    await expect(login(role, 'wrong')).rejects.toMatchObject({ code: '28P01' });
  });
});

describe('the reader of verifiers', () => {
  const good = makeScramVerifier('p', Buffer.alloc(16, 7), 4096);

  it('gives back what was put in', () => {
    expect(parseScramVerifier(good)).toMatchObject({ iterations: 4096, salt: Buffer.alloc(16, 7) });
  });

  it.each([
    ['a password', 'hunter2'],
    ['an md5 hash', 'md51a79a4d60de6718e8e5b326e338ae533'],
    ['nothing', ''],
    ['no iterations', good.replace('4096', '0')],
    ['more iterations than a log-in may cost', good.replace('4096', '9999999')],
    ['a short key', good.replace(/:[^:]*$/, ':AAAA')],
    ['base64 with a blank in it', good.replace('=$', ' =$')],
    ['something after it', `${good}$`],
    ['a line end', `${good}\n`],
  ])('refuses %s', (_what, text) => {
    expect(text).not.toBe(good);
    expect(parseScramVerifier(text)).toBeNull();
  });
});
