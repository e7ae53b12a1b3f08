import { forbiddenPeople, refusalOf } from '../approval/eligibility.ts';
import type { ApprovalDemand } from '../policy/decision.ts';
import type { Person } from './config.ts';
import type { Path } from './document.ts';
import { principals } from './key-check.ts';
import { type Add, ids, known } from './name-check.ts';
import { possibleMembers } from './possible-members.ts';
import type { ConfigShape } from './schema.ts';

export function checkAgents(config: ConfigShape, add: Add): void {
  config.agents.forEach(({ name, owner, auth }, index) => {
    checkAuth(config, auth, ['agents', index, 'auth'], add);
    if (!known(owner, ids(config.people), 'a person', ['agents', index, 'owner'], add)) return;
    if (eligible(config, name, owner, ANYBODY).length === 0)
      add(
        ['agents', index, 'owner'],
        'nobody but the owner could approve this agent’s requests; expected another person in people',
      );
  });
}

/** Tokens and certificates need TLS, certificates also an authority that is believed. */
function checkAuth(
  config: ConfigShape,
  auth: ConfigShape['agents'][number]['auth'],
  path: Path,
  add: Add,
): void {
  const { tls } = config.listen;
  const kind = auth.jwt !== undefined ? 'jwt' : auth.cert !== undefined ? 'cert' : null;
  if (kind !== null && tls === undefined)
    add([...path, kind], `${kind} works over TLS only; expected listen.tls`, 'config_missing_key');
  else if (kind === 'cert' && tls?.clientCa === undefined)
    add([...path, kind], 'expected listen.tls.clientCa, whose certificates are taken', 'config_missing_key');
}

export const ANYBODY: ApprovalDemand = { approvers: [], quorum: 1, assurance: 1 };

/** Who may approve an agent's requests when it acts for nobody else: the same functions that judge a verdict. */
export function eligible(
  config: ConfigShape,
  agent: string,
  owner: string,
  demand: ApprovalDemand,
): readonly Person[] {
  const directory = { people: possibleMembers(config, principals(config)) };
  const forbidden = forbiddenPeople(directory, { agent, owner, onBehalfOf: null });
  return directory.people.filter(
    (person) => refusalOf(person, forbidden, demand, 'approve', demand.assurance, null) === null,
  );
}
