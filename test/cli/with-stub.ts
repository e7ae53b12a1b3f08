// The command line with a stand-in for the proxy, which only listens: for tests of what is around it.
import { createServer, type Server } from 'node:net';
import { Command } from 'commander';
import type { startCountersign } from '../../src/cli/compose.ts';
import { demoCommand } from '../../src/cli/demo.ts';
import { classifyError } from '../../src/cli/exit.ts';
import { serveCommand } from '../../src/cli/serve.ts';

const listen = (host: string, port: number) =>
  new Promise<Server>((done, failed) => {
    const server = createServer((socket) => socket.resume());
    server.once('error', failed);
    server.listen({ host, port }, () => done(server));
  });

const addressOf = (server: Server) => {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening');
  return { host: address.address, port: address.port };
};

const start: typeof startCountersign = async (config, log) => {
  const servers = [
    await listen(config.listen.host, config.listen.port),
    await listen(config.http.host, config.http.port),
  ] as const;
  log.warn({ database: config.upstream.database }, 'stand-in started');
  return {
    agentAddress: addressOf(servers[0]),
    httpAddress: addressOf(servers[1]),
    signInLink: async (person) => `${config.http.publicUrl}/sign-in?token=once-for-${person}`,
    reloadPolicy: async () => {},
    drain: () => (process.env['STUB_NEVER_DRAINS'] ? new Promise(() => {}) : Promise.resolve()),
    close: async () => {
      log.warn('stand-in closed');
      if (process.env['STUB_NEVER_CLOSES']) await new Promise(() => {});
      for (const server of servers) server.close();
    },
  };
};

const program = new Command('countersign').exitOverride();
demoCommand(program, start);
serveCommand(program, start);
try {
  await program.parseAsync(process.argv);
} catch (error) {
  process.stderr.write(`countersign: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = classifyError(error).exitCode;
}
