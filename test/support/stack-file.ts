import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Stack } from './stack.ts';

export type StackFile = { readonly path: string; readonly env: Readonly<Record<string, string>> };

/** The stack's configuration as a file in `directory`, for commands that read one, and the environment it needs. */
export function stackFile(stack: Stack, directory: string, more: object = {}): StackFile {
  const [agent] = stack.config.agents;
  if (agent === undefined) throw new Error('the stack has no agent');
  const { host, port, database } = stack.config.upstream;
  const path = join(directory, 'countersign.yaml');
  const config = {
    version: 1,
    upstream: { url: `postgres://${host}:${port}/${database}`, tls: { mode: 'disable' } },
    audit: { url: { env: 'AUDIT_URL' }, adminUrl: { env: 'AUDIT_ADMIN_URL' } },
    agents: [
      {
        name: agent.name,
        auth: { scram: { env: 'AGENT_VERIFIER' } },
        owner: agent.owner,
        upstream: { user: agent.upstream.user },
      },
    ],
    people: stack.config.people.map(({ id, email }) => ({ id, email })),
    keys: { directory: stack.config.keys.directory },
    ...more,
  };
  // JSON is YAML.
  writeFileSync(path, JSON.stringify(config));
  return {
    path,
    env: {
      AUDIT_URL: stack.config.audit.url,
      AUDIT_ADMIN_URL: stack.config.audit.adminUrl ?? '',
      AGENT_VERIFIER: agent.auth.kind === 'scram' ? agent.auth.verifier : '',
    },
  };
}
