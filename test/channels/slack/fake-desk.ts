import { randomBytes } from 'node:crypto';
import type { Answer, ApprovalDesk, GuardResult, RequestView } from '../../../src/approval/guard.ts';

/** People of the tests, by Slack id, as the guard would map them. */
export const PEOPLE: Readonly<Record<string, string>> = {
  'T0TEST/U0REVIEWER': 'reviewer',
  'T0TEST/U0OWNER': 'owner',
};

/** Approvals in memory: one quorum of one, the owner refused, unknown people refused, everything counted. */
export class FakeDesk implements ApprovalDesk {
  readonly answers: Answer[] = [];
  /** Verdicts that counted. */
  readonly recorded: { id: string; person: string; verdict: string; reason: string | null }[] = [];
  readonly requests = new Map<string, RequestView>();
  /** While true every call rejects, as it does when the store is away. */
  away = false;
  /** What the guard tells a person whose answer counts. */
  notice: string | undefined;
  /** What the channel refused by itself. */
  readonly refused: string[] = [];
  readonly guard = {
    decide: (answer: Answer) => this.#decide(answer),
    decideAll: async (answer: Answer, only: readonly string[] | null) =>
      Promise.all((only ?? [answer.requestId]).map((requestId) => this.#decide({ ...answer, requestId }))),
    refuse: async (_answer: Answer, code: string) => void this.refused.push(code),
  };
  readonly cards: ApprovalDesk['cards'];
  readonly #listeners = new Set<(view: RequestView) => void>();
  readonly #cards = new Map<string, string>();
  readonly #claims = new Set<string>();

  constructor() {
    this.cards = {
      claim: async (id, card) => {
        if (this.#claims.has(`${id} ${card}`)) return false;
        this.#claims.add(`${id} ${card}`);
        return true;
      },
      save: async (id, card, reference) => void this.#cards.set(`${id} ${card}`, reference),
      load: async (id, card) => this.#cards.get(`${id} ${card}`) ?? null,
    };
  }

  async list(): Promise<RequestView[]> {
    this.#check();
    return [...this.requests.values()]
      .filter(({ state }) => state === 'open' || state === 'approved')
      .reverse();
  }

  async get(id: string): Promise<RequestView | null> {
    this.#check();
    return this.requests.get(id) ?? null;
  }

  onRequestChanged(changed: (view: RequestView) => void): () => void {
    this.#listeners.add(changed);
    return () => this.#listeners.delete(changed);
  }

  /** Stores a new or changed request and tells the channel. */
  put(view: RequestView): RequestView {
    const next = { ...view, revision: (this.requests.get(view.id)?.revision ?? 0n) + 1n };
    this.requests.set(view.id, next);
    for (const listener of this.#listeners) listener(next);
    return next;
  }

  change(id: string, changes: Partial<RequestView>): RequestView {
    const known = this.requests.get(id);
    if (known === undefined) throw new Error(`no request ${id}`);
    return this.put({ ...known, ...changes });
  }

  #check(): void {
    if (this.away) throw new Error('the approval store is away');
  }

  async #decide(answer: Answer): Promise<GuardResult> {
    this.#check();
    this.answers.push(answer);
    const request = this.requests.get(answer.requestId);
    const refuse = (
      code: 'not_found' | 'unknown_person' | 'self_approval' | 'already_ended',
      message: string,
    ) => ({
      ok: false as const,
      code,
      message,
      state: request?.state ?? null,
    });
    if (request === undefined) return refuse('not_found', 'There is no such request.');
    const person = PEOPLE[answer.person[0]?.value ?? ''];
    if (person === undefined)
      return refuse('unknown_person', 'Nobody in the configuration has this identity.');
    if (person === request.session.owner) return refuse('self_approval', 'You answer for this agent.');
    const wanted = answer.verdict === 'approve' ? 'approved' : 'denied';
    const same = { id: request.id, person, approvals: 1, quorum: 1, ok: true as const };
    if (request.state !== 'open') {
      if (request.state === wanted) return { ...same, state: request.state, repeated: true };
      return refuse('already_ended', 'This request has already ended.');
    }
    const { verdict, reason } = answer;
    this.recorded.push({ id: request.id, person, verdict, reason });
    const shown = {
      person,
      channel: 'slack' as const,
      verdict,
      reason,
      assurance: 1 as const,
      at: new Date(),
    };
    this.change(request.id, { state: wanted, verdicts: [...request.verdicts, shown] });
    const told = this.notice === undefined ? {} : { notice: this.notice };
    return { ...same, state: wanted, repeated: false, ...told };
  }
}

export function requestId(): string {
  return `req_${randomBytes(11).toString('hex')}`;
}

const PLAIN = { approvers: [], quorum: 1, assurance: 1 } as const;

export function request(changes: Partial<RequestView> = {}): RequestView {
  const id = requestId();
  return {
    id,
    state: 'open',
    session: {
      sessionId: 's1',
      agent: 'reporting-bot',
      owner: 'owner',
      onBehalfOf: 'deputy@example.com',
      run: 'nightly-7',
      runVerified: false,
      database: 'shop',
      role: 'shop_agent',
      applicationName: 'langchain',
      clientAddress: '127.0.0.1',
      tls: false,
    },
    sql: 'DROP TABLE payments',
    sqlLength: 19,
    sqlSha256: 'a'.repeat(64),
    parameters: null,
    command: 'DROP TABLE',
    class: 'ddl',
    rule: 'default:ddl',
    reasons: ['DROP TABLE changes the schema'],
    relations: [{ name: 'public.payments', mode: 'write' }],
    searchPath: '"$user", public',
    policyDigest: 'b'.repeat(64),
    demand: PLAIN,
    escalatesAt: null,
    escalated: false,
    demandNow: changes.demand ?? PLAIN,
    limits: { rows: null, bytes: null },
    inTransaction: false,
    context: null,
    digest: randomBytes(32).toString('hex'),
    createdAt: new Date(),
    expiresAt: new Date(Date.now() + 3_600_000),
    url: `https://countersign.example/requests/${id}`,
    waiting: true,
    waitsUntil: null,
    alike: [],
    refusals: 0,
    verdicts: [],
    endedAt: null,
    endReason: null,
    outcome: null,
    elapsedMs: null,
    receipt: null,
    revision: 0n,
    ...changes,
  };
}
