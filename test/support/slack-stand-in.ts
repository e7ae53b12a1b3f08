import { createHmac, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type WebSocket, WebSocketServer } from 'ws';

/**
 * Slack's side of the wire on loopback: the Web API methods that a card needs, with tokens, scopes of the channel and
 * Slack's own limits checked; Socket Mode with envelopes and acks; signed requests for HTTP mode. What it answers can
 * be scripted for the next calls of a method.
 */
export type Answer =
  | { readonly status: number; readonly retryAfter?: number }
  | { readonly error: string }
  | { readonly delayMs: number }
  | { readonly lost: true }
  | 'cut';
export type Args = Readonly<Record<string, string>>;
export type Call = { readonly method: string; readonly args: Args; readonly token: string };
export type Block = { type: string; [key: string]: unknown };
export type Message = { channel: string; ts: string; text: string; blocks: Block[]; threadTs: string | null };
export type Delivered = { readonly status: number; readonly body: unknown };
export type User = {
  id: string;
  team_id: string;
  deleted?: boolean;
  is_bot?: boolean;
  is_stranger?: boolean;
  enterprise_user?: { id: string; enterprise_id: string; teams: string[] };
};
/** A channel beside the first, as conversations.info has it. */
export type Channel = { is_member: boolean; is_archived?: boolean; is_ext_shared?: boolean };
export type Signing = { readonly secret?: string; readonly timestamp?: number; readonly body?: string };

const BLOCKS_CHARACTERS = 13_200;

/** The bot scope that Slack's reference names for each method; null: none. https://docs.slack.dev/reference/methods */
export const SCOPES: Readonly<Record<string, string | null>> = {
  'apps.connections.open': null,
  'auth.test': null,
  'chat.postEphemeral': 'chat:write',
  'chat.postMessage': 'chat:write',
  'chat.update': 'chat:write',
  // For a private channel it is groups:read.
  'conversations.info': 'channels:read',
  'files.completeUploadExternal': 'files:write',
  'files.getUploadURLExternal': 'files:write',
  'usergroups.users.list': 'usergroups:read',
  'users.info': 'users:read',
  'views.open': null,
};

export class SlackStandIn {
  readonly botToken: string;
  readonly appToken: string;
  readonly signingSecret: string;
  readonly teamId: string;
  readonly channel: string;
  /** Another one that the app is in. */
  readonly otherChannel = 'C0OTHER';
  readonly channels = new Map<string, Channel>([['C0OTHER', { is_member: true }]]);
  /** Of the organization that the workspace belongs to; null: none. */
  enterpriseId: string | null = null;
  scopes = 'chat:write,users:read,usergroups:read,files:write,channels:read';
  inChannel = true;
  readonly calls: Call[] = [];
  readonly messages: Message[] = [];
  readonly ephemerals: { user: string; channel: string; text: string }[] = [];
  readonly views: { id: string; private_metadata: string; blocks: Block[] }[] = [];
  readonly files: { name: string; content: string; threadTs: string | null }[] = [];
  readonly users = new Map<string, User>();
  /** Members by id of the user group. */
  readonly userGroups = new Map<string, string[]>();
  /** Set for HTTP mode; null: Socket Mode. */
  requestUrl: string | null = null;
  readonly #server: Server;
  readonly #sockets = new Set<WebSocket>();
  readonly #acks = new Map<string, (body: unknown) => void>();
  readonly #script = new Map<string, Answer[]>();
  readonly #uploads = new Map<string, { name: string; content: string }>();
  #clock = Date.now() * 1000;
  #port = 0;

  /** `as`: takes over another one's tokens, as Slack keeps them over an outage. */
  constructor(as?: SlackStandIn, ids = { teamId: 'T0TEST', channel: 'C0APPROVALS' }) {
    this.teamId = ids.teamId;
    this.channel = ids.channel;
    this.botToken = as?.botToken ?? `xoxb-test-${randomBytes(9).toString('hex')}`;
    this.appToken = as?.appToken ?? `xapp-test-${randomBytes(9).toString('hex')}`;
    this.signingSecret = as?.signingSecret ?? randomBytes(16).toString('hex');
    this.#server = createServer((request, response) => void this.#serve(request, response));
    const sockets = new WebSocketServer({ server: this.#server });
    sockets.on('connection', (socket) => this.#connected(socket));
  }

  async start(port = 0): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  get port(): number {
    return this.#port;
  }

  get apiUrl(): string {
    return `http://127.0.0.1:${this.#port}/api/`;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.terminate();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** The next calls of this method get these answers, in order; `*` is any method. */
  script(method: string, ...answers: Answer[]): void {
    this.#script.set(method, [...(this.#script.get(method) ?? []), ...answers]);
  }

  callsOf(method: string): Call[] {
    return this.calls.filter((call) => call.method === method);
  }

  /** `refresh`: as Slack does every few hours; `cut`: the connection breaks. */
  disconnect(how: 'refresh' | 'cut'): void {
    for (const socket of this.#sockets) {
      if (how === 'cut') socket.terminate();
      else socket.send(JSON.stringify({ type: 'disconnect', reason: 'refresh_requested' }));
    }
  }

  /** A click on a button of a message; the button must be there. */
  clickPayload(message: Message, actionId: string, user: string, changes: object = {}): object {
    const button = buttonsOf(message).find((one) => one.action_id === actionId);
    if (button === undefined) throw new Error(`the message has no button ${actionId}`);
    return {
      type: 'block_actions',
      team: { id: this.teamId, domain: 'test' },
      user: { id: user, username: user.toLowerCase(), team_id: this.teamId },
      api_app_id: 'A0TEST',
      token: 'legacy',
      container: { type: 'message', message_ts: message.ts, channel_id: message.channel },
      channel: { id: message.channel, name: 'approvals' },
      message: { type: 'message', ts: message.ts, blocks: message.blocks },
      trigger_id: `trigger.${randomBytes(6).toString('hex')}`,
      response_url: `http://127.0.0.1:${this.#port}/response`,
      actions: [
        {
          type: 'button',
          block_id: 'b',
          action_id: actionId,
          value: button.value ?? '',
          action_ts: this.#ts(),
        },
      ],
      ...changes,
    };
  }

  /** The last form that was opened, sent with this reason. */
  submitPayload(reason: string | null, user: string, changes: object = {}): object {
    const view = this.views.at(-1);
    if (view === undefined) throw new Error('no form was opened');
    const values = { reason: { text: { type: 'plain_text_input', value: reason } } };
    return {
      type: 'view_submission',
      team: { id: this.teamId, domain: 'test' },
      user: { id: user, name: user, team_id: this.teamId },
      api_app_id: 'A0TEST',
      token: 'legacy',
      trigger_id: 'trigger.form',
      view: { type: 'modal', callback_id: 'countersign_deny_form', hash: 'h', ...view, state: { values } },
      response_urls: [],
      ...changes,
    };
  }

  /** Delivers a payload as the mode does it, and resolves with what Slack gets back. */
  async deliver(payload: object, signing: Signing = {}): Promise<Delivered> {
    return this.requestUrl === null
      ? this.#overSocket(payload)
      : this.#overHttp(this.requestUrl, payload, signing);
  }

  async #overSocket(payload: object): Promise<Delivered> {
    const socket = [...this.#sockets].at(-1);
    if (socket === undefined) throw new Error('no socket is connected');
    const envelope = randomBytes(8).toString('hex');
    const acked = new Promise<unknown>((resolve) => this.#acks.set(envelope, resolve));
    socket.send(
      JSON.stringify({ type: 'interactive', envelope_id: envelope, accepts_response_payload: true, payload }),
    );
    const late = sleep(5_000, undefined, { ref: false }).then(() =>
      Promise.reject(new Error('no ack in 5 s')),
    );
    return { status: 200, body: await Promise.race([acked, late]) };
  }

  async #overHttp(url: string, payload: object, signing: Signing): Promise<Delivered> {
    const body = new URLSearchParams({ payload: JSON.stringify(payload) }).toString();
    const timestamp = String(signing.timestamp ?? Math.floor(Date.now() / 1000));
    const mac = createHmac('sha256', signing.secret ?? this.signingSecret).update(`v0:${timestamp}:${body}`);
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        'x-slack-request-timestamp': timestamp,
        'x-slack-signature': `v0=${mac.digest('hex')}`,
      },
      body: signing.body ?? body,
    });
    const text = await response.text();
    return { status: response.status, body: text.startsWith('{') ? JSON.parse(text) : text };
  }

  #connected(socket: WebSocket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('message', (data) => {
      const ack = JSON.parse(String(data)) as { envelope_id: string; payload?: unknown };
      this.#acks.get(ack.envelope_id)?.(ack.payload ?? '');
    });
    socket.send(JSON.stringify({ type: 'hello', num_connections: this.#sockets.size }));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const path = new URL(request.url ?? '/', 'http://localhost').pathname;
    if (path.startsWith('/upload/')) {
      const upload = this.#uploads.get(path);
      if (upload !== undefined) upload.content = await uploaded(body, request.headers['content-type'] ?? '');
      response.writeHead(upload === undefined ? 404 : 200).end('OK');
      return;
    }
    const method = path.replace('/api/', '');
    const args = Object.fromEntries(new URLSearchParams(body.toString('utf8')));
    const token = (request.headers.authorization ?? '').replace('Bearer ', '');
    this.calls.push({ method, args, token });
    const scripted = (this.#script.get(method) ?? this.#script.get('*') ?? []).shift();
    if (scripted === 'cut') return void request.socket.destroy();
    if (scripted !== undefined && 'status' in scripted) {
      const headers = scripted.retryAfter === undefined ? {} : { 'retry-after': String(scripted.retryAfter) };
      return void response.writeHead(scripted.status, headers).end('try later');
    }
    if (scripted !== undefined && 'delayMs' in scripted) await sleep(scripted.delayMs);
    const result =
      scripted !== undefined && 'error' in scripted
        ? fail(scripted.error)
        : this.#answer(method, args, token);
    if (scripted !== undefined && 'lost' in scripted) return void request.socket.destroy();
    response.writeHead(200, { 'content-type': 'application/json', 'x-oauth-scopes': this.scopes });
    response.end(JSON.stringify(result));
  }

  #answer(method: string, args: Args, token: string): object {
    if (token !== (method === 'apps.connections.open' ? this.appToken : this.botToken))
      return fail('invalid_auth');
    const scope = SCOPES[method];
    if (scope === undefined) return fail('unknown_method');
    if (scope !== null && !this.scopes.split(',').includes(scope)) return fail('missing_scope');
    switch (method) {
      case 'auth.test':
        return {
          ok: true,
          team_id: this.teamId,
          team: 'Test',
          user_id: 'U0BOT',
          bot_id: 'B0BOT',
          ...(this.enterpriseId === null ? {} : { enterprise_id: this.enterpriseId }),
        };
      case 'apps.connections.open':
        return {
          ok: true,
          url: `ws://127.0.0.1:${this.#port}/link/?ticket=${randomBytes(8).toString('hex')}`,
        };
      case 'chat.postMessage':
      case 'chat.update':
        return this.#message(method, args);
      case 'chat.postEphemeral':
        this.ephemerals.push({
          user: arg(args, 'user'),
          channel: arg(args, 'channel'),
          text: arg(args, 'blocks'),
        });
        return { ok: true, message_ts: this.#ts() };
      case 'views.open': {
        const view = { ...JSON.parse(arg(args, 'view')), id: `V${this.views.length}` };
        const wrong = refusalOfView(arg(args, 'trigger_id'), view.blocks, arg(args, 'view'));
        if (wrong !== null) return fail(wrong);
        this.views.push(view);
        return { ok: true, view };
      }
      case 'users.info':
        return this.#user(arg(args, 'user'));
      case 'conversations.info':
        return this.#info(arg(args, 'channel'));
      case 'usergroups.users.list': {
        const users = this.userGroups.get(arg(args, 'usergroup'));
        return users === undefined ? fail('no_such_subteam') : { ok: true, users };
      }
      case 'files.getUploadURLExternal': {
        const path = `/upload/F${this.#uploads.size}`;
        this.#uploads.set(path, { name: arg(args, 'filename'), content: '' });
        return {
          ok: true,
          upload_url: `http://127.0.0.1:${this.#port}${path}`,
          file_id: path.replace('/upload/', ''),
        };
      }
      case 'files.completeUploadExternal': {
        for (const { id } of JSON.parse(arg(args, 'files')) as { id: string }[]) {
          const upload = this.#uploads.get(`/upload/${id}`);
          if (upload !== undefined) this.files.push({ ...upload, threadTs: args['thread_ts'] ?? null });
        }
        return { ok: true, files: [] };
      }
      default:
        return fail('unknown_method');
    }
  }

  #info(id: string): object {
    const channel = this.#channel(id);
    return channel === undefined ? fail('channel_not_found') : { ok: true, channel: { id, ...channel } };
  }

  #channel(id: string): Channel | undefined {
    return id === this.channel ? { is_member: this.inChannel } : this.channels.get(id);
  }

  /** The id of a user opens the direct messages with him, which have an id of their own. */
  #conversation(id: string): string | null {
    if (this.users.has(id)) return id.replace(/^./, 'D');
    if (id.startsWith('D') && this.users.has(id.replace(/^./, 'U'))) return id;
    return this.#channel(id) === undefined ? null : id;
  }

  #message(method: string, args: Args): object {
    const channel = this.#conversation(args['channel'] ?? '');
    if (channel === null) return fail('channel_not_found');
    if (method === 'chat.update' && channel !== args['channel']) return fail('channel_not_found');
    if (this.#channel(channel)?.is_archived === true) return fail('is_archived');
    if (this.#channel(channel)?.is_member === false) return fail('not_in_channel');
    const blocks = JSON.parse(args['blocks'] ?? '[]') as Block[];
    const wrong = refusalOfBlocks(blocks);
    if (wrong !== null) return fail(wrong);
    if (method === 'chat.update') {
      const known = this.messages.find((one) => one.ts === args['ts'] && one.channel === channel);
      if (known === undefined) return fail('message_not_found');
      Object.assign(known, { text: arg(args, 'text'), blocks });
      return { ok: true, channel, ts: known.ts };
    }
    const ts = this.#ts();
    const threadTs = args['thread_ts'] ?? null;
    this.messages.push({ channel, ts, text: arg(args, 'text'), blocks, threadTs });
    return { ok: true, channel, ts };
  }

  #user(id: string): object {
    const user = this.users.get(id);
    return user === undefined ? fail('user_not_found') : { ok: true, user };
  }

  /** As Slack's: seconds with six digits, never twice the same. */
  #ts(): string {
    this.#clock = Math.max(this.#clock + 1, Date.now() * 1000);
    return `${Math.floor(this.#clock / 1e6)}.${String(this.#clock % 1e6).padStart(6, '0')}`;
  }
}

export function buttonsOf(message: Message): { action_id: string; value?: string; url?: string }[] {
  return message.blocks
    .filter(({ type }) => type === 'actions')
    .flatMap(({ elements }) => elements as { action_id: string; value?: string; url?: string }[]);
}

/** A modal may be larger than a message. https://docs.slack.dev/reference/views/modal-views */
function refusalOfView(trigger: string, blocks: Block[], json: string): string | null {
  if (!trigger.startsWith('trigger.')) return 'invalid_trigger_id';
  if (Buffer.byteLength(json) > 250_000) return 'view_too_large';
  return blocks.length > 100 || blocks.some(isWrong) ? 'invalid_arguments' : null;
}

/** Slack's limits, as far as a card could meet them. https://docs.slack.dev/reference/block-kit/blocks */
function refusalOfBlocks(blocks: Block[]): string | null {
  if (JSON.stringify(blocks).length > BLOCKS_CHARACTERS) return 'msg_blocks_too_long';
  if (blocks.length > 50) return 'invalid_blocks';
  return blocks.some(isWrong) ? 'invalid_blocks' : null;
}

function isWrong(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(isWrong);
  if (typeof value !== 'object' || value === null) return false;
  const node = value as { type?: string; text?: unknown; value?: unknown };
  const text = (node.text as { text?: unknown } | undefined)?.text;
  if (node.type === 'text' && (typeof node.text !== 'string' || node.text === '')) return true;
  if (node.type === 'header' && String(text).length > 150) return true;
  if (node.type === 'section' && String(text).length > 3000) return true;
  if (node.type === 'button' && String(node.value ?? '').length > 2000) return true;
  return Object.values(value).some(isWrong);
}

/** Files come as the one part of a form. */
async function uploaded(body: Buffer, type: string): Promise<string> {
  const form = await new Response(new Uint8Array(body), { headers: { 'content-type': type } }).formData();
  const parts = [...form.values()];
  return parts.map((part) => (typeof part === 'string' ? Promise.resolve(part) : part.text()))[0] ?? '';
}

function arg(args: Args, name: string): string {
  return args[name] ?? '';
}

function fail(error: string): object {
  return { ok: false, error };
}
