/** What a newcomer needs once everything is up. All four hold secrets of the demo: they go to stdout only. */
export type Ready = {
  readonly agentUrl: string;
  readonly auditorUrl: string;
  readonly httpUrl: string;
  readonly approverToken: string;
};

/** One line, and the only one on stdout that begins with a brace. */
export function readyJson(ready: Ready): string {
  return `${JSON.stringify(ready)}\n`;
}

export function readyText(ready: Ready, signInLink: string): string {
  return `
Countersign is ready.

  agent     ${ready.agentUrl}
  auditor   ${ready.auditorUrl}
  approve   ${signInLink}
            (signs in once; after that ${ready.httpUrl})
            or in a terminal, with
            export COUNTERSIGN_URL=${ready.httpUrl} COUNTERSIGN_TOKEN=${ready.approverToken}
            npx countersign requests list

Try, as the agent, and watch the approval page:

  psql '${ready.agentUrl}' -c 'SELECT name, email FROM customers WHERE id = 17'
  psql '${ready.agentUrl}' -c 'COPY payments TO STDOUT'

and then, as the auditor:

  psql '${ready.auditorUrl}' -c 'SELECT at, agent, sql, decision, approvers, outcome FROM audit.statements'

Ctrl-C stops everything; the data stays.
`;
}
