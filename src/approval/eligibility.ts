import type { Person } from '../config/config.ts';
import type { ApprovalDemand } from '../policy/decision.ts';
import type { OnCall } from '../policy/rule.ts';
import { isWithin } from '../policy/time-window.ts';
import type { Identity } from './guard.ts';
import { looksLike } from './look-alikes.ts';

/** Who may answer what. Pure; people come from the configuration, identities from a channel's proof. */

/** `people`: automations too. */
export type Directory = { readonly people: readonly Person[] };

/** The parties of a request, as the session's verified credentials name them. */
export type Parties = {
  readonly agent: string;
  readonly owner: string | null;
  readonly onBehalfOf: string | null;
};

export type Resolved =
  | { readonly kind: 'person'; readonly person: Person }
  | { readonly kind: 'nobody' }
  | { readonly kind: 'agent' }
  | { readonly kind: 'ambiguous' };

/**
 * Identification is strict: every identity that the channel proved must be in the configuration, and of one person.
 * An identity that two people share identifies neither.
 */
export function resolvePerson(directory: Directory, identities: readonly Identity[]): Resolved {
  if (identities.some(({ kind }) => kind === 'agent')) return { kind: 'agent' };
  const found = new Set<Person>();
  for (const identity of identities) {
    const people = directory.people.filter((person) => hasIdentity(person, identity));
    if (people.length === 0) return { kind: 'nobody' };
    for (const person of people) found.add(person);
  }
  const [person, ...others] = found;
  if (person === undefined) return { kind: 'nobody' };
  return others.length > 0 ? { kind: 'ambiguous' } : { kind: 'person', person };
}

function hasIdentity(person: Person, { kind, value }: Identity): boolean {
  switch (kind) {
    case 'person':
      return person.id === value && person.automationOf === undefined;
    case 'automation':
      return person.id === value && person.automationOf !== undefined;
    case 'slack':
      return person.slack.includes(value);
    case 'teams':
      // Hexadecimal digits have two cases.
      return (person.teams ?? []).some((known) => asciiLower(known) === asciiLower(value));
    case 'oidc':
      return person.oidc.includes(value);
    case 'email':
      // Letters of ASCII alone have two cases here: what only looks the same, or folds to it, is another mailbox.
      return person.email !== '' && asciiLower(person.email) === asciiLower(value);
    case 'agent':
      return false;
  }
}

/**
 * Everyone who must not answer: the agent, its owner, and the person it acts for. Forbidding is liberal where
 * identification is strict: any id, address, account or sub-address of a person forbids that person, and the names
 * themselves are forbidden too, so that nobody can be given such an id later. Sorted, without duplicates.
 */
export function forbiddenPeople(directory: Directory, parties: Parties): readonly string[] {
  const forbidden = new Set<string>();
  for (const name of [parties.agent, parties.owner, parties.onBehalfOf]) {
    if (name === null) continue;
    forbidden.add(name);
    for (const person of directory.people) if (isAliasOf(name, person)) forbidden.add(person.id);
  }
  return [...forbidden].sort();
}

function isAliasOf(name: string, person: Person): boolean {
  // What a person's program says is that person's word.
  if (person.automationOf !== undefined && isAliasOf(name, person.automationOf)) return true;
  const wanted = looksLike(mailbox(fold(name)));
  const exact = [person.id, person.email].some(
    (known) => known !== '' && looksLike(mailbox(fold(known))) === wanted,
  );
  // `TEAM/USER` and `ISSUER|SUBJECT`: the account alone forbids as well.
  const accounts = accountsOf(person).flatMap((known) => accountForms(fold(known)));
  return exact || accounts.some((known) => looksLike(known) === wanted);
}

/** The same person, who is forbidden by these names, too. Whom they identify does not change. */
export function alsoKnownAs(person: Person, names: readonly string[] | undefined): Person {
  if (names === undefined || names.length === 0) return person;
  return { ...person, oidc: [...person.oidc, ...names.filter((name) => name.trim() !== '').map(mailbox)] };
}

function accountsOf({ slack, oidc, teams = [] }: Person): readonly string[] {
  return [...slack, ...oidc, ...teams];
}

function accountForms(account: string): readonly string[] {
  return [account, ...['/', '|', '#'].map((separator) => account.slice(account.lastIndexOf(separator) + 1))];
}

/** `ann+shop@example.com` reaches `ann@example.com`. */
function mailbox(address: string): string {
  return address.replace(/\+[^@]*(?=@[^@]*$)/, '');
}

function asciiLower(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function fold(text: string): string {
  return text.normalize('NFKC').trim().toLowerCase();
}

export type Refusal =
  | 'self_approval'
  | 'not_an_approver'
  | 'automation_not_named'
  | 'not_on_call'
  | 'assurance_too_low';

/**
 * Null: this person may give this verdict. A denial needs no assurance above the channel's own: saying no must be
 * easy, at any hour. `forbidden` holds what was fixed when the request was opened, joined with what is true now. An
 * automation denies what its owner is no party of, and approves only where the rule names it, itself. `atMs` is when the
 * verdict is given, by the database's clock, milliseconds since 1970 UTC; null: outside all windows.
 */
export function refusalOf(
  person: Person,
  forbidden: readonly string[],
  demand: ApprovalDemand,
  verdict: 'approve' | 'deny',
  assurance: 1 | 2 | 3,
  atMs: number | null,
): Refusal | null {
  if (forbidden.some((name) => isAliasOf(name, person))) return 'self_approval';
  if (person.automationOf !== undefined) {
    if (verdict === 'approve' && !demand.approvers.includes(person.id)) return 'automation_not_named';
  } else if (!isApprover(person, demand)) return 'not_an_approver';
  if (verdict === 'approve' && atMs !== null && !isOnCall(person, demand, atMs)) return 'not_on_call';
  if (verdict === 'approve' && assurance < demand.assurance) return 'assurance_too_low';
  return null;
}

/** Windows narrow: who is not named by one that holds now is not on call. */
function isOnCall(person: Person, { onCall = [] }: ApprovalDemand, atMs: number): boolean {
  return openWindows(onCall, atMs).every(({ approvers }) => isNamed(person, approvers));
}

/** Whom channels ask at this moment: names of people and groups, of which a person must be in each list. */
export function askedAt(
  { approvers, onCall = [] }: Pick<ApprovalDemand, 'approvers' | 'onCall'>,
  atMs: number,
): readonly (readonly string[])[] {
  const lists = openWindows(onCall, atMs).map((window) => window.approvers);
  return approvers.length === 0 ? lists : [approvers, ...lists];
}

function openWindows(onCall: readonly OnCall[], atMs: number): readonly OnCall[] {
  return onCall.filter((window) => isWithin(window, atMs * 1000));
}

function isApprover(person: Person, demand: ApprovalDemand): boolean {
  if (demand.approvers.length === 0) return true;
  return isNamed(person, demand.approvers);
}

export function isNamed(person: Person, names: readonly string[]): boolean {
  return names.some((name) => name === person.id || person.groups.includes(name));
}

/**
 * Distinct people among approvals: two accounts, channels or groups of one person count once, and so do a person and the
 * automations that the person answers for.
 */
export function countPeople(
  approvals: readonly { readonly person: string }[],
  { people }: Directory,
): number {
  const answerable = (id: string) => people.find((known) => known.id === id)?.automationOf?.id ?? id;
  return new Set(approvals.map(({ person }) => answerable(person))).size;
}

export type AmbiguousId = { readonly id: string; readonly people: readonly string[] };

/**
 * Ids that map to two people: a configuration error, to be refused at loading. Compares as identification does, over
 * all kinds of ids, because a name in a token does not say of which kind it is.
 */
export function findAmbiguousIds(people: readonly Person[]): readonly AmbiguousId[] {
  const holders = new Map<string, number[]>();
  people.forEach((person, index) => {
    const ids = [person.id, person.email, ...accountsOf(person)].filter((id) => id !== '');
    for (const id of new Set(ids.map(fold))) holders.set(id, [...(holders.get(id) ?? []), index]);
  });
  return [...holders]
    .filter(([, indexes]) => indexes.length > 1)
    .map(([id, indexes]) => ({ id, people: indexes.map((index) => people[index]?.id ?? '') }));
}
