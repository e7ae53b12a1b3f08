import { describe, expect, it } from 'vitest';
import { principalsOf } from '../../src/config/principals.ts';
import { load, MINIMAL, refusal } from './sample.ts';

const SHA = 'a'.repeat(64);
const http = (keys: string, more = '') => `${MINIMAL}http:\n  apiKeys:\n    - ${keys}\n${more}`;
const key = (rest: string) => `{ name: k, sha256: '${SHA}', ${rest} }`;
const gate = (rest = '') => `{ name: gate, kind: automation, owner: approver, sha256: '${SHA}'${rest} }`;
const jwt = (rest: string) =>
  `http:\n  jwt:\n    issuer: https://login.example\n    audience: people\n    jwks: { url: 'https://login.example/k' }\n    ${rest}\n`;
const rule = (approvers: string, quorum = 1) =>
  `policy:\n  rules:\n    - { name: r, match: { class: [ddl] }, decision: hold, approvers: ${approvers}, quorum: ${quorum} }\n`;

describe('API keys', () => {
  it('are as before where they say nothing of scopes, ends and kinds', async () => {
    const config = await load(http(key('person: approver')));
    expect(config.http.apiKeys).toEqual([{ name: 'k', person: 'approver', sha256: SHA }]);
    expect(config.http.jwt).toBeNull();
  });

  it.each([
    ['2026-12-31', '2027-01-01T00:00:00.000Z'],
    ['2026-12-31T08:00:00Z', '2026-12-31T08:00:00.000Z'],
    ['2026-12-31T08:00:00.5+02:00', '2026-12-31T06:00:00.500Z'],
  ])('that expire %s are refused from %s on', async (expires, from) => {
    const config = await load(http(key(`person: approver, expires: '${expires}'`)));
    expect(new Date(config.http.apiKeys[0]?.expiresAt ?? 0).toISOString()).toBe(from);
  });

  it('of automations make principals of them, which no person can be taken for', async () => {
    const config = await load(http(gate(', scopes: [read, deny, approve]'), rule('[gate]')));
    const [automation] = principalsOf(config).slice(-1);
    expect(automation).toMatchObject({ id: 'gate', email: '', groups: [], automationOf: { id: 'approver' } });
    expect(config.people.map(({ id }) => id)).toEqual(['owner', 'approver']);
  });

  it.each<[string, string, RegExp]>([
    ['an end in another form', http(key('person: approver, expires: 31.12.2026')), /expected a date/],
    [
      'an end without a zone',
      http(key("person: approver, expires: '2026-12-31T08:00:00'")),
      /expected a date/,
    ],
    ['a day that is none', http(key("person: approver, expires: '2026-13-40'")), /expected a date/],
    ['a scope that is none', http(key('person: approver, scopes: [write]')), /scopes/],
    ['no scope', http(key('person: approver, scopes: []')), /scopes/],
    ['nobody', http(key('scopes: [read]')), /expected person/],
    ['a person with an owner', http(key('person: approver, owner: owner')), /no owner/],
    ['an automation with a person', http(gate(', person: approver')), /no person/],
    [
      'an automation without an owner',
      http(`{ name: gate, kind: automation, sha256: '${SHA}' }`),
      /expected owner/,
    ],
    [
      'an automation of nobody',
      http(gate().replace('owner: approver', 'owner: ghost')),
      /no such name; expected a person/,
    ],
    ['an automation with the name of a person', http(gate().replace('gate', 'owner')), /none of them/],
    ['an automation with the name of an agent', http(gate().replace('gate', 'bot')), /none of them/],
    [
      'an automation with a name that rules could not have',
      http(gate().replace('gate', 'my gate')),
      /1 to 63/,
    ],
    ['a rule that names one without the scope', http(gate(), rule('[gate]')), /has no scope approve/],
    [
      "a rule that only the owner's automation may answer",
      http(gate(', scopes: [approve]').replace('owner: approver', 'owner: owner'), rule('[gate]')),
      /for agent bot 0 may approve/,
    ],
    [
      'a quorum that a person and their own automation would fill',
      http(gate(', scopes: [approve]'), rule('[gate, approver]', 2)),
      /for agent bot 1 may approve .*2 must/,
    ],
  ])('%s is refused', async (_what, yaml, says) => {
    expect((await refusal(yaml)).message).toMatch(says);
  });
});

describe('two keys of one automation, while one replaces the other', () => {
  const old = `{ name: gate-2026, kind: automation, automation: gate, owner: approver, sha256: '${SHA}', expires: 2027-01-31 }`;
  const next = (owner = 'approver', rest = '') =>
    `{ name: gate 2027, kind: automation, automation: gate, owner: ${owner}, sha256: '${'b'.repeat(64)}'${rest} }`;
  const both = (owner?: string, rest?: string) => http(`${old}\n    - ${next(owner, rest)}`, rule('[gate]'));

  it('are one principal, under the name that rules have', async () => {
    const config = await load(both('approver', ', scopes: [deny, approve]'));
    expect(config.http.apiKeys.map(({ name, person }) => [name, person])).toEqual([
      ['gate-2026', 'gate'],
      ['gate 2027', 'gate'],
    ]);
    expect(principalsOf(config).filter(({ automationOf }) => automationOf !== undefined)).toMatchObject([
      { id: 'gate', automationOf: { id: 'approver' } },
    ]);
  });

  it.each<[string, string, RegExp]>([
    [
      'of two owners',
      both('owner', ', scopes: [approve]'),
      /another key of this automation names another owner/,
    ],
    ['of which neither may approve what the rule asks of it', both(), /has no scope approve/],
    ['with the name of a person', both().replaceAll('automation: gate', 'automation: owner'), /none of them/],
    ['of a person', http(key('person: approver, automation: gate')), /no automation, because kind is person/],
    [
      'with a name that rules could not have',
      both().replaceAll('automation: gate', "automation: 'a b'"),
      /1 to 63/,
    ],
  ])('%s are refused', async (_what, yaml, says) => {
    expect((await refusal(yaml)).message).toMatch(says);
  });
});

describe('trusted proxies', () => {
  it('are networks or addresses, and by default none', async () => {
    expect((await load(MINIMAL)).http.trustedProxies).toEqual([]);
    const config = await load(`${MINIMAL}http: { trustedProxies: [10.0.0.0/8, '::1', 'fd00::/8'] }\n`);
    expect(config.http.trustedProxies).toEqual(['10.0.0.0/8', '::1', 'fd00::/8']);
  });

  it.each([
    ['0.0.0.0/0', /every address there is/],
    ['::/0', /every address there is/],
    ['10.0.0.0/33', /at most \/32/],
    ['10.0.0.0/', /expected a network/],
    ['10.0.0.0/8/8', /expected a network/],
    ['proxy.example', /expected a network/],
  ])('%s is refused', async (text, says) => {
    expect((await refusal(`${MINIMAL}http: { trustedProxies: ['${text}'] }\n`)).message).toMatch(says);
  });
});

describe("tokens of the people's issuer", () => {
  it('are read', async () => {
    const config = await load(
      `${MINIMAL}${jwt('freshLogin: { maxAge: 10m, acr: [gold] }\n    auditors: [approver]\n    clients: [cli]')}`,
    );
    expect(config.http.jwt).toMatchObject({
      issuer: 'https://login.example',
      audience: 'people',
      keys: { kind: 'url', url: 'https://login.example/k' },
      freshLogin: { maxAgeMs: 600_000, acr: ['gold'], amr: [] },
      auditors: ['approver'],
      clients: ['cli'],
    });
    expect(config.http.jwt?.algorithms).not.toContain('HS256');
  });

  it.each<[string, string, RegExp]>([
    ['a fresh log-in that nothing shows', jwt('freshLogin: { maxAge: 10m }'), /expected acr, amr or both/],
    ['an auditor who is nobody', jwt('auditors: [aprover]'), /did you mean approver/],
    [
      'keys over the network in the clear',
      jwt('').replace('https://login.example/k', 'http://login.example/k'),
      /https/,
    ],
    ["a person with an agent's subject", jwt(''), /an agent has this subject/],
  ])('%s is refused', async (what, more, says) => {
    const minimal =
      what === "a person with an agent's subject"
        ? MINIMAL.replace('email: approver@', "oidc: ['https://login.example#bot'], email: approver@")
        : MINIMAL;
    expect((await refusal(`${minimal}${more}`)).message).toMatch(says);
  });
});
