import type { Hono } from 'hono';
import type { Agent, Config } from '../../config/config.ts';
import { type Gate, NO_QUERY, type Operation, serveOperation } from './operation.ts';
import { agentList, policySchema } from './schemas.ts';

/** What people may know of the installation: no secrets, and nothing that lets anybody in. */
export type Installation = {
  readonly agents: readonly Agent[];
  readonly mode: 'enforce' | 'observe';
  /** In force now, and since when. */
  readonly policy: () => { readonly policy: Config['policy']; readonly since: Date };
};

const listAgents = {
  id: 'listAgents',
  method: 'get',
  path: '/api/agents',
  summary: 'Agents, who answers for them, and how they log in',
  scopes: ['read'],
  query: NO_QUERY,
  answer: agentList,
  answerType: 'application/json',
  problems: [],
} as const satisfies Operation;

const showPolicy = {
  id: 'showPolicy',
  method: 'get',
  path: '/api/policy',
  summary: 'The policy in force, with its digest',
  scopes: ['read'],
  query: NO_QUERY,
  answer: policySchema,
  answerType: 'application/json',
  problems: [],
} as const satisfies Operation;

export const INSTALLATION_OPERATIONS: readonly Operation[] = [listAgents, showPolicy];

export function installationRoutes(app: Hono, gate: Gate, installation: Installation): void {
  serveOperation(app, gate, listAgents, async () => ({ agents: installation.agents.map(agentJson) }));
  serveOperation(app, gate, showPolicy, async () => {
    const { policy, since } = installation.policy();
    const { digest, rules } = policy;
    return { digest, mode: installation.mode, since: since.toISOString(), rules };
  });
}

/** Field by field, so that nothing of a credential gets here by being added to the configuration. */
function agentJson({ name, owner, upstream, auth }: Agent) {
  return {
    name,
    owner,
    role: upstream.user,
    login: auth.kind,
    issuer: auth.kind === 'jwt' ? auth.issuer : null,
    fingerprints: auth.kind === 'cert' ? auth.fingerprints : [],
  };
}
