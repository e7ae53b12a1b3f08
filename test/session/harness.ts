import { serialize } from 'pg-protocol';
import type { OpenedRequest, Release } from '../../src/approval/port.ts';
import type { Entry, OutcomeEntry } from '../../src/audit/entry.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { decodeErrorFields, encodeError, encodeFrame } from '../../src/protocol/backend.ts';
import type { Effect } from '../../src/session/effect.ts';
import { Session } from '../../src/session/session.ts';
import type { SessionSetup } from '../../src/session/setup.ts';
import type { WaitEvent } from '../../src/session/waits.ts';
import type { Analysis, StatementAnalysis, StatementClass, SymbolUse } from '../../src/statement/analysis.ts';
import { NO_DETAILS } from '../../src/statement/details.ts';

/**
 * An analysis by key words, so that the machine can be tested without a parser: the class is the text's first word
 * (`read 1`, `ddl x`, `deny y`), `mistake` is what our grammar rejects, `late` goes to a worker, `vague` is opaque as
 * long as the server was not asked, `measured` flows by an estimate, `bounded` by a LIMIT (`returning` is a write of that kind). Statements are cut at `;`.
 */
export function fakeAnalysis(sql: string): Analysis {
  const statements = sql
    .split(';')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(fakeStatement);
  const highest = statements.find(({ class: one }) => one !== 'read')?.class ?? 'read';
  return {
    statements,
    class: statements.length === 0 ? 'session' : highest,
    reasons: [highest],
    changesPinned: sql.startsWith('pinned'),
    syntaxError: sql.startsWith('mistake') ? { message: 'syntax error', position: 1, cause: 'syntax' } : null,
  };
}

function fakeStatement(text: string): StatementAnalysis {
  const [word = '', name = '', ...rest] = text.split(' ');
  const body = rest.join(' ');
  const symbols: SymbolUse[] = [];
  if (word === 'prepare') symbols.push({ kind: 'prepare', name, body: fakeStatement(body) });
  if (word === 'execute') symbols.push({ kind: 'execute', name });
  if (word === 'declare') symbols.push({ kind: 'declare', name, hold: false, body: fakeStatement(body) });
  if (word === 'discardall') symbols.push({ kind: 'discard', what: 'all' });
  if (word === 'closeall') symbols.push({ kind: 'close', name: null });
  if (word === 'fetch') symbols.push({ kind: 'fetch', name, count: 1, move: false });
  if (word === 'begin' || word === 'commit') symbols.push({ kind: 'transaction', op: word });
  const classes: Record<string, StatementClass> = {
    vague: 'opaque',
    ddl: 'ddl',
    deny: 'admin',
    write: 'write',
    returning: 'write',
    copyin: 'write',
    mistake: 'unparsed',
    prepare: fakeClass(body),
    declare: fakeClass(body),
    execute: 'opaque',
    fetch: 'opaque',
    begin: 'session',
  };
  const own = classes[word] ?? 'read';
  return {
    start: 0,
    end: text.length,
    command: word === 'copyin' ? 'COPY FROM' : word.toUpperCase(),
    class: own,
    reasons: [own],
    relations: [],
    symbols,
    changesSearchPath: false,
    makesTemp: false,
    changesCatalog: word === 'ddl',
    rowBound: word === 'returning' ? 1 : null,
    secrets: [],
    changesPinned: word === 'pinned',
    dependsOnParameters: [],
    doubt: word === 'vague' ? { names: true, size: false, searchPath: ['public'] } : null,
    measured: word === 'measured' ? 'export' : null,
    calls: [],
    cause: null,
    tags: [],
    rowBoundBy: word === 'bounded' || word === 'returning' ? 'limit' : null,
    ...NO_DETAILS,
    settings: word === 'SHOW' ? [{ name, value: null, action: 'show' }] : [],
    unresolved:
      word === 'execute' || word === 'fetch'
        ? {
            kind: word === 'execute' ? 'statement' : 'portal',
            name,
            class: 'session',
            reasons: [],
            use: word === 'execute' ? 'run' : 'fetch',
            count: 1,
          }
        : null,
  };
}

function fakeClass(body: string): StatementClass {
  return body === '' ? 'read' : fakeStatement(body).class;
}

/** A session with a scripted server behind it: what went upstream, what the client got, what was recorded. */
export class TestSession {
  readonly session: Session;
  effects: Effect[] = [];
  entries: Entry[] = [];
  now = 1_000_000;
  paused = false;
  unread: Buffer[] = [];
  /** Everything that reached the client, as `type` or `type:detail`. */
  client: string[] = [];

  constructor(options: Partial<SessionSetup> = {}) {
    this.session = new Session({
      facts: {
        sessionId: 's1',
        agent: 'agent',
        owner: 'owner',
        onBehalfOf: null,
        run: null,
        runVerified: false,
        database: 'shop',
        role: 'app',
        applicationName: null,
        clientAddress: null,
        tls: false,
      },
      mode: 'enforce',
      limits: DEFAULT_LIMITS,
      markerPrefix: 'cs:test',
      reportsSearchPath: true,
      searchPath: ['public'],
      analyse: (sql) => (sql.toString().startsWith('late') ? null : fakeAnalysis(sql.toString())),
      decide: (analysis) => ({
        decision:
          analysis.class === 'admin' || analysis.changesPinned
            ? 'deny'
            : HELD.has(analysis.class)
              ? 'hold'
              : 'allow',
        rule: `default:${analysis.class}`,
        policy: 'policy-1',
        class: analysis.class,
        reasons: analysis.reasons,
        approval: null,
      }),
      knowledge: () => 'k',
      objects: () => 'o',
      ...options,
    });
  }

  /** Client messages, each as bytes. */
  f(...frames: Buffer[]): this {
    for (const frame of frames) this.session.frontend(frame[0] ?? 0, frame, ++this.now);
    return this.#take();
  }

  /** Server messages; those behind a frame that waits are read when upstream is read again. */
  b(...frames: Buffer[]): this {
    this.unread.push(...frames);
    while (!this.paused) {
      const frame = this.unread.shift();
      if (frame === undefined) break;
      const seen = this.#read(frame);
      if (seen !== null && seen.length > 0) this.client.push(describe(seen));
    }
    return this.#take();
  }

  #read(frame: Buffer): Buffer | null {
    const type = frame[0] ?? 0;
    if (type !== 0x44 && type !== 0x64) {
      const relay = this.session.backend(type, frame, ++this.now);
      return relay === 'pass' ? frame : relay === 'end' ? null : relay.replace;
    }
    const handled = this.session.data(frame.length - 5);
    if (handled === 'pause') {
      this.paused = true;
      this.unread.unshift(frame);
    }
    return handled === 'pass' ? frame : null;
  }

  /** The cancel's own connection has ended. */
  cancelDone(): this {
    this.session.cancelDone(++this.now);
    return this.#take();
  }

  on(event: WaitEvent): this {
    this.session.event(event, ++this.now);
    return this.#take();
  }

  #take(): this {
    for (const effect of this.session.takeEffects()) {
      this.effects.push(effect);
      if (effect.kind === 'record') this.entries.push(effect.entry);
      if (effect.kind === 'toClient') this.client.push(describe(effect.frame));
      if (effect.kind === 'resumeUpstream') this.paused = false;
    }
    return this.unread.length > 0 && !this.paused ? this.b() : this;
  }

  /** What went upstream since the last call: `Q read 1`, `P:name text`, `B`, `S` … */
  sent(): string[] {
    const sent = this.effects.flatMap((effect) =>
      effect.kind === 'forward' ? [describe(effect.frame)] : [],
    );
    this.effects = this.effects.filter(({ kind }) => kind !== 'forward');
    return sent;
  }

  kinds(): string[] {
    return this.effects.map(({ kind }) => kind).filter((kind) => kind !== 'record' && kind !== 'forward');
  }

  effect<K extends Effect['kind']>(kind: K): Extract<Effect, { kind: K }> {
    const found = this.effects.findLast((effect) => effect.kind === kind);
    if (found === undefined) throw new Error(`no effect ${kind}; have ${this.kinds().join(' ')}`);
    return found as Extract<Effect, { kind: K }>;
  }

  outcomes(): string[] {
    return this.entries
      .filter((entry): entry is OutcomeEntry => entry.kind === 'outcome')
      .map(({ statementNo, outcome }) => `${statementNo} ${outcome}`);
  }

  /** From a settled hold to the open request. */
  opened(request: Partial<OpenedRequest> = {}): this {
    if (this.session.phase === 'probing') this.on({ kind: 'probed', rejection: null });
    return this.on({ kind: 'opened', request: { ...OPEN, ...request } });
  }

  approve(): this {
    return this.on({ kind: 'answered', state: 'approved', ended: null }).on({
      kind: 'released',
      release: RELEASE,
    });
  }
}

const HELD = new Set<StatementClass>(['export', 'ddl', 'opaque', 'unparsed']);

export const OPEN: OpenedRequest = {
  id: 'req_1',
  state: 'open',
  attached: false,
  expiresAt: new Date(0),
  url: 'http://localhost/r',
  ended: null,
};
export const RELEASE: Release = { requestId: 'req_1', receipt: 'jws', approvers: ['dba'] };

export const F = {
  query: (text: string) => serialize.query(text),
  parse: (text: string, name = '') => serialize.parse({ name, text, types: [] }),
  bind: (statement = '', portal = '') => serialize.bind({ statement, portal, values: [] }),
  describe: (name = '') => serialize.describe({ type: 'P', name }),
  execute: (portal = '', rows = 0) => serialize.execute({ portal, rows }),
  close: (name: string) => serialize.close({ type: 'S', name }),
  sync: () => serialize.sync(),
  flush: () => serialize.flush(),
  terminate: () => serialize.end(),
  copyData: (text: string) => serialize.copyData(Buffer.from(text)),
  copyDone: () => serialize.copyDone(),
};

const text = (value: string) => Buffer.from(`${value}\0`);
export const B = {
  parseComplete: () => encodeFrame(0x31, Buffer.alloc(0)),
  bindComplete: () => encodeFrame(0x32, Buffer.alloc(0)),
  closeComplete: () => encodeFrame(0x33, Buffer.alloc(0)),
  rowDescription: () => encodeFrame(0x54, Buffer.from([0, 0])),
  dataRow: (bytes = 2) => encodeFrame(0x44, Buffer.alloc(bytes)),
  complete: (tag: string) => encodeFrame(0x43, text(tag)),
  empty: () => encodeFrame(0x49, Buffer.alloc(0)),
  suspended: () => encodeFrame(0x73, Buffer.alloc(0)),
  copyIn: () => encodeFrame(0x47, Buffer.from([0, 0, 0])),
  ready: (status: 'I' | 'T' | 'E' = 'I') => encodeFrame(0x5a, Buffer.from(status)),
  error: (code: string, message = 'error', severity = 'ERROR') =>
    encodeError({
      S: severity,
      V: severity,
      C: code,
      M: message,
      F: 'parse_relation.c',
      L: '1',
      R: 'errorMissingColumn',
    }),
  parameter: (name: string, value: string) => encodeFrame(0x53, Buffer.from(`${name}\0${value}\0`)),
};

/** The server's answer to the last substitute that was sent. */
export function rejection(sent: readonly string[]): Buffer {
  const substitute = sent.findLast((one) => one.includes('"cs:')) ?? '';
  const marker = /"(cs:[^"]+)"/.exec(substitute)?.[1];
  if (marker === undefined) throw new Error(`no substitute in ${JSON.stringify(sent)}`);
  if (substitute.startsWith('B'))
    return B.error('22P02', `invalid input syntax for type integer: "${marker}"`);
  return substitute.includes('SELECT')
    ? B.error('42703', `column "${marker}" does not exist`)
    : B.error('42601', `syntax error at or near ""${marker}""`);
}

function describe(frame: Buffer): string {
  const type = String.fromCharCode(frame[0] ?? 0);
  if (type === 'Q') return `Q ${frame.toString('utf8', 5, frame.length - 1)}`;
  if (type === 'P') {
    const end = frame.indexOf(0, 5);
    return `P:${frame.toString('utf8', 5, end)} ${frame.toString('utf8', end + 1, frame.indexOf(0, end + 1))}`;
  }
  if (type === 'B' && frame.includes('cs:'))
    return `B "${/cs:[a-z0-9:]+/.exec(frame.toString('latin1'))?.[0]}"`;
  if (type === 'E' && frame.length > 14 && frame[5] !== 0 && frame.includes('\0C')) {
    const fields = decodeErrorFields(frame);
    if (fields['C'] !== undefined) return `E:${fields['C']} ${fields['M']}`;
  }
  if (type === 'N') return `N:${decodeErrorFields(frame)['M']}`;
  if (type === 'Z') return `Z:${String.fromCharCode(frame[5] ?? 0)}`;
  if (type === 'C' && frame.length > 6 && frame[5] !== 0x53 && frame[5] !== 0x50)
    return `C:${frame.toString('utf8', 5, frame.length - 1)}`;
  return type;
}
