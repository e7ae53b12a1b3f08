import { connect, createServer, type Socket } from 'node:net';

/** A server that stands between Countersign and the real one, and can say anything in its place. */
export type Between = {
  readonly port: number;
  /** Connections of sessions (their application_name is `evil`), oldest first. */
  readonly sessions: readonly Session[];
  /** Answers the next connections of sessions by itself; null: the real server does. */
  script: ((socket: Socket, first: Buffer) => void) | null;
  /** Changes what the real server says to sessions. */
  change: ((bytes: Buffer) => Buffer) | null;
  readonly close: () => Promise<void>;
};

export type Session = {
  /** Says something in the server's name. */
  readonly say: (...bytes: Buffer[]) => void;
  readonly socket: Socket;
};

export async function standBetween(realPort: number): Promise<Between> {
  const sockets = new Set<Socket>();
  const sessions: Session[] = [];
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  };
  const server = createServer((socket) => {
    keep(socket);
    socket.once('data', (first: Buffer) => {
      const evil = first.includes('application_name\0evil\0');
      if (evil) sessions.push({ socket, say: (...bytes) => socket.write(Buffer.concat(bytes)) });
      if (evil && between.script !== null) return between.script(socket, first);
      const real = connect({ host: '127.0.0.1', port: realPort });
      keep(real);
      real.write(first);
      socket.pipe(real);
      real.on('data', (bytes: Buffer) => socket.write(evil ? (between.change ?? same)(bytes) : bytes));
      real.on('close', () => socket.end());
      socket.on('close', () => real.destroy());
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  const between: Between = {
    port: address !== null && typeof address === 'object' ? address.port : 0,
    sessions,
    script: null,
    change: null,
    close: async () => {
      const closed = new Promise<void>((done) => server.close(() => done()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return between;
}

const same = (bytes: Buffer) => bytes;
