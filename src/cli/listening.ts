import { createServer } from 'node:net';
import type { HostPort } from '../config/overrides.ts';
import { CliError } from './exit.ts';

/** Throws `CliError` when the address cannot be listened on; `option` is how to choose another one. */
export async function ensureListenable(address: HostPort, option: string): Promise<void> {
  await bind(address, option);
}

/** The address with a port chosen by the system where it was 0: links have to name it before anybody listens. */
export async function withPort(address: HostPort, option: string): Promise<HostPort> {
  return { host: address.host, port: await bind(address, option) };
}

function bind({ host, port }: HostPort, option: string): Promise<number> {
  return new Promise((done, failed) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why =
        error.code === 'EADDRINUSE'
          ? 'is already in use'
          : `cannot be listened on (${error.code ?? 'unknown'})`;
      failed(
        new CliError(
          'cannot_listen',
          `${host}:${port} ${why}: choose another address with ${option} host:port (port 0: any free one)`,
        ),
      );
    });
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      server.close(() => done(address !== null && typeof address === 'object' ? address.port : port));
    });
  });
}
