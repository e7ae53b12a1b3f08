/** `@modelcontextprotocol/server-postgres` as a child process, spoken to as an assistant's host does: JSON-RPC on stdio. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(
  new URL('node_modules/@modelcontextprotocol/server-postgres/dist/index.js', import.meta.url),
);

export async function startMcpServer(url) {
  const child = spawn(process.execPath, [PROGRAM, url], { stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting = new Map();
  createInterface({ input: child.stdout }).on('line', (line) => {
    const message = JSON.parse(line);
    waiting.get(message.id)?.(message);
    waiting.delete(message.id);
  });
  const send = (message) => child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  let id = 0;
  /** The result; rejects with the server's error. */
  const call = async (method, params = {}) => {
    id += 1;
    const answer = new Promise((resolve) => waiting.set(id, resolve));
    send({ id, method, params });
    const { result, error } = await answer;
    if (error !== undefined) throw new Error(error.message);
    return result;
  };
  const about = {
    protocolVersion: '2024-11-05',
    capabilities: {},
    clientInfo: { name: 'real-clients', version: '1' },
  };
  const { serverInfo } = await call('initialize', about);
  send({ method: 'notifications/initialized' });
  return {
    serverInfo,
    call,
    /** The text that the tool answers with; undefined when there were several statements. */
    query: async (sql) => (await call('tools/call', { name: 'query', arguments: { sql } })).content[0].text,
    stop: () => child.kill(),
  };
}
