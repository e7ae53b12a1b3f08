import type { HttpBindings } from '@hono/node-server';
import type { Context } from 'hono';
import { type Directory, resolvePerson } from '../../approval/eligibility.ts';
import type { Caller, Credential, CredentialCheck } from './credentials.ts';
import type { ClientAddress } from './forwarded.ts';
import type { Gate, GateOptions, Operation } from './operation.ts';
import { type ProblemCode, problem } from './problem.ts';

/** So many at once and a second, for each key; false where it is used up. */
export type Allowance = (key: string) => boolean;

/** A credential that was shown and not taken. */
export type RefusedCredential = {
  readonly code: ProblemCode;
  readonly message: string;
  /** The agent, where it was an agent's. */
  readonly user: string | null;
};

export type GatePorts = {
  readonly check: CredentialCheck;
  /** People and automations. */
  readonly directory: Directory;
  /** Whose address counts where limits are by address; left out: the socket's own. */
  readonly clientAddress?: ClientAddress;
  readonly allowed: {
    /** By address, for every request, before anything is looked at. */
    readonly address: Allowance;
    readonly credential: Allowance;
    /** By address, for requests whose credential was refused. */
    readonly failure: Allowance;
  };
  /** For the audit log. `address`: as `clientAddress` says. */
  readonly refused: (failure: RefusedCredential, address: string | null) => void;
};

/** What every operation asks before anything else: is there too much of this, who is it, and may they at all. */
export function gateOf(ports: GatePorts): Gate {
  return async (c, operation, options) => {
    const { scopes } = operation;
    if (scopes === null) return NOBODY;
    const header = c.req.header('authorization');
    const credential = await ports.check(header);
    if (credential.kind === 'caller') return admit(c, ports, operation, credential, options);
    if (header === undefined) return unknownCaller(c);
    // Whoever tries credentials learns nothing any more, not even that this one was wrong.
    if (!ports.allowed.failure(addressOf(c, ports) ?? '')) return tooMany(c, 'Too many refused credentials.');
    if (credential.kind === 'agent') return refuseAgent(c, ports, credential.agent, options);
    const answer = wrongCredential(c, credential);
    const code = credential.kind === 'none' ? 'no_credential' : credential.code;
    const message = credential.kind === 'none' ? 'no such credential' : credential.why;
    ports.refused({ code, message, user: null }, addressOf(c, ports));
    return answer;
  };
}

/** An operation that needs no credential is called by this one. */
const NOBODY: Caller = {
  kind: 'caller',
  identities: [],
  name: '',
  scopes: [],
  assurance: 1,
  facts: {},
  until: null,
};

function admit(
  c: Context,
  { allowed, directory }: GatePorts,
  { scopes }: Operation,
  caller: Caller,
  { agentTried }: GateOptions,
): Caller | Response {
  if (!allowed.credential(caller.name)) return tooMany(c, 'Too many requests with this credential.');
  if (agentTried !== undefined) return caller;
  const known = resolvePerson(directory, caller.identities).kind;
  if (known === 'ambiguous')
    return problem(
      c,
      'ambiguous_person',
      'This account belongs to more than one person in the configuration.',
    );
  if (known !== 'person')
    return problem(c, 'unknown_person', 'This account belongs to nobody in the configuration.');
  if (scopes?.some((scope) => caller.scopes.includes(scope)) === true) return caller;
  return problem(c, 'scope_missing', `This needs a credential with the scope ${scopes?.join(' or ')}.`);
}

async function refuseAgent(
  c: Context,
  ports: GatePorts,
  agent: string,
  { agentTried }: GateOptions,
): Promise<Response> {
  if (agentTried === undefined)
    ports.refused(
      {
        code: 'agent_credential',
        message: `an agent's credential on ${c.req.method} ${c.req.path}`,
        user: agent,
      },
      addressOf(c, ports),
    );
  else await agentTried(c, agent);
  return problem(c, 'agent_credential', "This is an agent's credential. Agents answer no requests.");
}

function unknownCaller(c: Context): Response {
  return problem(c, 'no_credential', 'An API key or a token is needed: Authorization: Bearer <token>.');
}

function wrongCredential(c: Context, credential: Exclude<Credential, Caller | { kind: 'agent' }>): Response {
  return credential.kind === 'none' ? unknownCaller(c) : problem(c, credential.code, credential.why);
}

export function tooMany(c: Context, detail: string): Response {
  return problem(c, 'rate_limited', `${detail} Wait a moment.`, { 'retry-after': '1' });
}

/**
 * The socket's own address; null where there is no socket (in tests). What headers say of others is believed of trusted
 * proxies alone.
 */
export function addressOf(c: Context, { clientAddress }: Pick<GatePorts, 'clientAddress'>): string | null {
  const { incoming } = (c.env ?? {}) as Partial<HttpBindings>;
  const socket = incoming?.socket.remoteAddress ?? null;
  return clientAddress === undefined ? socket : clientAddress(socket, c.req.header('x-forwarded-for'));
}
