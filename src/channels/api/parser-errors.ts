import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { type ProblemCode, problemText } from './problem.ts';

/**
 * What Node's parser refuses never reaches the application: a request line that is none, headers that are too long or come
 * too slowly. Answered in the same form as everything else, and the connection closed; where an answer had begun it is only
 * closed, or the client would read ours as part of it.
 */
export function answerParserErrors(server: Server): void {
  const answering = new WeakMap<Duplex, ServerResponse>();
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    answering.set(request.socket, response);
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    const response = answering.get(socket);
    const begun = response?.headersSent === true && !response.writableFinished;
    if (error.code === 'ECONNRESET' || !socket.writable || begun) return void socket.destroy();
    const [code, detail] = refusalOf(error.code);
    const { status, title, body } = problemText(code, detail);
    socket.end(
      [
        `HTTP/1.1 ${status} ${title}`,
        'content-type: application/problem+json',
        `content-length: ${Buffer.byteLength(body)}`,
        'cache-control: no-store',
        'connection: close',
        '',
        body,
      ].join('\r\n'),
    );
  });
}

/** The texts say nothing of what was sent. */
function refusalOf(code: string | undefined): readonly [ProblemCode, string] {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return ['headers_too_large', 'The request line and headers are longer than 16 KiB.'];
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return ['body_too_large', 'The chunks of the body have too long extensions.'];
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return ['request_timeout', 'The request did not come whole in time.'];
    default:
      return ['bad_request', 'This is no HTTP/1.1 request.'];
  }
}
