import { createServer } from 'node:net';

/** For what must know its port before it listens. Somebody else could take it meanwhile; nobody does. */
export function freePort(): Promise<number> {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => done(address !== null && typeof address === 'object' ? address.port : 0));
    });
  });
}
