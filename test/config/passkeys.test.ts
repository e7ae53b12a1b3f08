import { describe, expect, it } from 'vitest';
import { device } from '../support/authenticator.ts';
import { load, MINIMAL, refusal } from './sample.ts';

const [one, other] = [device().passkey, device().passkey];
const yaml = (...passkeys: readonly unknown[]) => JSON.stringify(passkeys);
const HTTP = 'http: { publicUrl: https://countersign.example.com }\n';

/** The approver with these passkeys, in line 13, and the owner with those. */
function configured(approvers: string, owners = '[]', http = HTTP): string {
  return `${MINIMAL.replace(
    'email: owner@example.com',
    `email: owner@example.com, passkeys: ${owners}`,
  ).replace('email: approver@example.com', `email: approver@example.com, passkeys: ${approvers}`)}${http}`;
}

describe('people[].passkeys', () => {
  it('are the person’s, and none are there by default', async () => {
    const { people } = await load(configured(yaml(one, other)));
    expect(people.map(({ id, passkeys }) => [id, passkeys])).toEqual([
      ['owner', []],
      ['approver', [one, other]],
    ]);
    expect((await load(MINIMAL)).people[0]?.passkeys).toEqual([]);
  });

  const wrong: readonly (readonly [string, string, string])[] = [
    [
      'a key of two people',
      configured(yaml(one), yaml({ ...one, id: other.id })),
      "key: this passkey is owner's",
    ],
    [
      'an id of two people',
      configured(yaml(one), yaml({ ...other, id: one.id })),
      "id: this passkey is owner's",
    ],
    ['the same twice', configured(yaml(one, one)), 'the same passkey is used above'],
    [
      'a key off the curve',
      configured(yaml({ ...one, key: { ...one.key, y: one.key.x } })),
      'it is no point of P-256',
    ],
    ['a private key', configured(yaml({ ...one, key: { ...one.key, d: one.key.x } })), 'd'],
    ['another curve', configured(yaml({ ...one, key: { ...one.key, crv: 'P-384' } })), 'crv'],
    ['an id that is none', configured(yaml({ ...one, id: 'with blanks' })), 'base64url'],
    ['an address as the site', configured(yaml(one), '[]', ''), 'browsers have passkeys only where'],
    [
      'a site without TLS',
      configured(yaml(one), '[]', HTTP.replace('https', 'http')),
      'browsers have passkeys only where',
    ],
  ];
  it.each(wrong)('refuse %s, with its line', async (_what, text, words) => {
    const { problems, message } = await refusal(text);
    expect(message).toContain(words);
    expect(problems.every(({ line }) => line === 12 || line === 13)).toBe(true);
  });
});

describe('retiredPasskeys', () => {
  const retired = (...list: readonly object[]) => `retiredPasskeys: ${JSON.stringify(list)}\n`;
  const gone = { person: 'who-has-left', key: other.key, retired: '2026-03-01T12:00:00.5+01:00' };

  it('are of whoever had them, with the second from which they do not count', async () => {
    expect((await load(`${configured(yaml(one))}${retired(gone)}`)).retiredPasskeys).toEqual([
      { person: 'who-has-left', key: other.key, retiredAt: Date.parse('2026-03-01T11:00:01Z') / 1000 },
    ]);
    expect((await load(MINIMAL)).retiredPasskeys).toEqual([]);
  });

  it.each([
    ['one that counts still', retired({ ...gone, key: one.key }), 'this passkey is used above (approver)'],
    [
      'one of two people',
      retired(gone, { ...gone, person: 'other' }),
      'this passkey is used above (retired)',
    ],
    ['a key off the curve', retired({ ...gone, key: { ...gone.key, y: gone.key.x } }), 'no point of P-256'],
    ['one without a time', retired({ ...gone, retired: 'yesterday' }), 'expected a time'],
  ])('refuse %s', async (_what, text, words) => {
    expect((await refusal(`${configured(yaml(one))}${text}`)).message).toContain(words);
  });
});
