import { performance } from 'node:perf_hooks';
import pg from 'pg';
import type { ServerQuestions } from './clarify.ts';
import { askMeaning } from './meaning.ts';
import { planEstimate } from './plan-estimate.ts';

/**
 * Questions to the upstream server outside the agent's session, as the agent's own role. Asking is Parse and Sync
 * alone: names and types are resolved, nothing is planned and nothing runs (manual, "Extended Query"; seen with
 * functions that write).
 */

/** The server's objection to a text, as it said it. */
export type ServerError = {
  readonly severity: string;
  /** SQLSTATE. */
  readonly code: string;
  readonly message: string;
  readonly detail: string | null;
  readonly hint: string | null;
  /** 1-based, in characters of the text. */
  readonly position: number | null;
  readonly routine: string | null;
};

export type SideConnection = ServerQuestions & {
  /**
   * Would the server reject this text? Null: no. Texts are the agent's: bytes in UTF-8 without NUL, sent as they are.
   * `searchPath` is what bare names mean; null leaves the connection's own. Throws `ProbeFailed` where there is no
   * answer (time is up, connection lost, a lock, resources): then nothing is known.
   */
  readonly probe: (sql: Buffer | string, searchPath: readonly string[] | null) => Promise<ServerError | null>;
  /**
   * Any look at catalogs, on this connection in its turn, within `ms`; `question` leaves it in no transaction. It knows
   * nothing of the search_path. Throws `ProbeFailed` as `probe` does.
   */
  readonly look: <T>(ms: number, question: (on: pg.Client) => Promise<T>) => Promise<T>;
  readonly close: () => Promise<void>;
};

export type SideOptions = {
  /** Opens a connection as the agent's role; called again after a connection was thrown away. */
  readonly connect: () => Promise<pg.Client>;
  readonly limits: { readonly probeMs: number };
  /** Questions that may wait for their turn; default 64. One more is refused. */
  readonly queue?: number;
};

export class ProbeFailed extends Error {
  readonly code = 'upstream_probe_failed';
  constructor(why: string, options?: ErrorOptions) {
    super(`upstream: the server gave no answer about a statement: ${why}`, options);
    this.name = 'ProbeFailed';
  }
}

/**
 * Classes of SQLSTATE that say nothing about the text: connection, transaction rollback, resources, limits reached on
 * the server, object in use (a lock), operator intervention, system error, internal error.
 */
const NO_ANSWER = /^(08|25P03|40|53|55|57|58|F0|XX)/;

/** One connection, opened when it is first needed; questions are asked one after the other. */
export function openSideConnection(options: SideOptions): SideConnection {
  const { limits, queue = 64 } = options;
  let client: pg.Client | null = null;
  let path: string | null = null;
  let waiting = 0;
  let closed = false;
  let turn: Promise<unknown> = Promise.resolve();

  const throwAway = () => {
    // Not end(): that would wait for the server, which may be what does not answer.
    if (client !== null) destroy(client);
    client = null;
    path = null;
  };
  const connected = async (): Promise<pg.Client> => {
    if (client !== null) return client;
    const opened = await options.connect();
    // A connection that dies while it is idle is opened again by the next question.
    opened.on('error', () => {
      if (client === opened) throwAway();
    });
    await opened.query(PIN, [String(Math.ceil(limits.probeMs / 2)), String(limits.probeMs)]);
    if (closed) {
      destroy(opened);
      throw new ProbeFailed('it is closed');
    }
    client = opened;
    return opened;
  };
  /** Whatever is asked, with names meaning what `searchPath` says. */
  const ask = async <T>(
    searchPath: readonly string[] | null,
    question: (on: pg.Client) => Promise<T>,
  ): Promise<T> => {
    const on = await connected();
    const wanted = searchPath === null ? null : formatSearchPath(searchPath);
    if (wanted !== path) {
      // Null after another question: the connection's own path again.
      if (wanted === null) await on.query('RESET search_path');
      else await on.query(SET_PATH, [wanted]);
      path = wanted;
    }
    return await question(on);
  };
  const inTurn = <T>(
    sql: Buffer,
    searchPath: readonly string[] | null,
    question: (on: pg.Client) => Promise<T>,
    ms: number = limits.probeMs,
  ): Promise<T> => {
    if (sql.includes(0)) return Promise.reject(new ProbeFailed('the text holds a NUL'));
    if (closed) return Promise.reject(new ProbeFailed('it is closed'));
    if (waiting >= queue) return Promise.reject(new ProbeFailed(`${queue} questions wait already`));
    waiting += 1;
    const until = performance.now() + ms;
    const answer = turn.then(() =>
      withDeadline(() => ask(searchPath, question), until - performance.now(), throwAway),
    );
    turn = answer
      .catch(() => undefined)
      .finally(() => {
        waiting -= 1;
      });
    return answer;
  };

  return {
    probe: (sql, searchPath) => {
      const bytes = typeof sql === 'string' ? Buffer.from(sql) : sql;
      return inTurn(bytes, searchPath, (on) => parseOnly(on, bytes, []));
    },
    estimate: (sql, searchPath, parameters) =>
      inTurn(sql, searchPath, (on) => planEstimate(on, sql, parameters)),
    meaning: (sql, searchPath, types) =>
      inTurn(sql, searchPath, (on) => askMeaning(on, sql, () => parseOnly(on, sql, types))),
    look: (ms, question) => inTurn(NO_TEXT, null, question, ms),
    close: async () => {
      closed = true;
      const last = client;
      client = null;
      await last?.end().catch(() => undefined);
    },
  };
}

const NO_TEXT = Buffer.alloc(0);

/** `name` as Postgres prints a search_path: every part quoted. */
export function formatSearchPath(schemas: readonly string[]): string {
  return schemas.length === 0 ? '""' : schemas.map((name) => `"${name.replaceAll('"', '""')}"`).join(', ');
}

/** Ends the socket at once; the server notices by itself. */
export function destroy(client: pg.Client): void {
  client.on('error', () => undefined);
  client.connection.stream.destroy();
}

const PIN = `SELECT pg_catalog.set_config('client_encoding', 'UTF8', false),
  pg_catalog.set_config('standard_conforming_strings', 'on', false),
  pg_catalog.set_config('default_transaction_read_only', 'on', false),
  pg_catalog.set_config('lock_timeout', $1, false),
  pg_catalog.set_config('statement_timeout', $2, false)`;
const SET_PATH = `SELECT pg_catalog.set_config('search_path', $1, false)`;

async function withDeadline<T>(work: () => Promise<T>, ms: number, onTimeout: () => void): Promise<T> {
  if (ms <= 0) throw new ProbeFailed('the time was up before its turn');
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, failed) => {
    timer = setTimeout(() => {
      onTimeout();
      failed(new ProbeFailed('the time is up'));
    }, ms);
  });
  try {
    return await Promise.race([work(), late]);
  } catch (error) {
    if (error instanceof ProbeFailed) throw error;
    // Whatever went wrong, the next question starts on a new connection.
    onTimeout();
    throw new ProbeFailed(error instanceof Error ? error.message : String(error), { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** Parse of the unnamed statement, and Sync. Throws `ProbeFailed` for an error that is not about the text. */
function parseOnly(client: pg.Client, sql: Buffer, types: readonly number[]): Promise<ServerError | null> {
  return new Promise((resolve, reject) => {
    let rejection: ServerError | null = null;
    const question: pg.Submittable & Handlers = {
      submit: (connection) => {
        connection.stream.write(parseAndSync(sql, types));
      },
      // ReadyForQuery follows: only then has the connection its next turn.
      handleError: (error) => {
        const fields = error instanceof pg.DatabaseError ? serverError(error) : null;
        const fatal = fields === null || fields.severity === 'FATAL' || fields.severity === 'PANIC';
        if (fields === null || fatal || NO_ANSWER.test(fields.code)) reject(error);
        else rejection = fields;
        // `pg` forgets the query after its error, so that ReadyForQuery would not come here.
        client.connection.once('readyForQuery', () => resolve(rejection));
      },
      handleReadyForQuery: () => resolve(rejection),
    };
    client.query(question);
  });
}

type Handlers = {
  readonly handleError: (error: Error) => void;
  readonly handleReadyForQuery: () => void;
};

/** The frames byte for byte, so that the server reads exactly the agent's text. */
function parseAndSync(sql: Buffer, types: readonly number[]): Buffer {
  const length = 4 + 1 + sql.length + 1 + 2 + 4 * types.length;
  const frame = Buffer.alloc(1 + length + 5);
  frame.write('P', 0);
  frame.writeInt32BE(length, 1);
  sql.copy(frame, 6);
  frame.writeUInt16BE(types.length, 6 + sql.length + 1);
  for (const [i, oid] of types.entries()) frame.writeUInt32BE(oid, 6 + sql.length + 3 + 4 * i);
  frame.write('S', frame.length - 5);
  frame.writeInt32BE(4, frame.length - 4);
  return frame;
}

function serverError(error: pg.DatabaseError): ServerError {
  return {
    severity: error.severity ?? 'ERROR',
    code: error.code ?? '',
    message: error.message,
    detail: error.detail ?? null,
    hint: error.hint ?? null,
    position: error.position === undefined ? null : Number(error.position),
    routine: error.routine ?? null,
  };
}
