import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import { makeScramVerifier } from '../config/scram-verifier.ts';
import { CliError } from './exit.ts';

type AgentOptions = { readonly at: string; readonly database: string };

/** `countersign agent add NAME`: makes a password, shows it once, keeps nothing. */
export function agentCommand(program: Command): void {
  const agent = program.command('agent').description('agents and what they log in with');
  agent
    .command('add')
    .description('make a password for an agent; prints its verifier and its connection string, once')
    .argument('<name>', 'what the agent logs in as')
    .option('--at <host:port>', 'where agents reach the proxy', '127.0.0.1:6432')
    .option('--database <name>', 'database in the connection string', 'postgres')
    .action((name: string, options: AgentOptions) => {
      process.stdout.write(newAgent(name, options, randomBytes(24), randomBytes(16)));
    });
}

/** The text that `agent add` prints. `entropy` becomes the password. Throws `CliError` for a name that cannot be one. */
export function newAgent(name: string, options: AgentOptions, entropy: Buffer, salt: Buffer): string {
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,62}$/.test(name))
    throw new CliError('bad_agent_name', 'NAME: expected 1 to 63 of A-Z a-z 0-9 _ . @ -');
  const password = entropy.toString('base64url');
  const url = `postgres://${encodeURIComponent(name)}:${password}@${options.at}/${encodeURIComponent(options.database)}`;
  return `# Into the configuration file, below "agents:"
  - name: ${JSON.stringify(name)}
    auth:
      scram: ${makeScramVerifier(password, salt)}
    owner: # id of the person who answers for the agent
    upstream:
      user: # the database role it works as
      password: { env: ${envName(name)} }

# The connection string, for the agent alone. It is not kept anywhere.
${url}
`;
}

function envName(name: string): string {
  return `UPSTREAM_PASSWORD_${name.toUpperCase().replace(/[^A-Z0-9]/g, '_')}`;
}
