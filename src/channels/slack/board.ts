import type { CardStore, RequestView } from '../../approval/guard.ts';
import type { RequestState } from '../../approval/port.ts';
import { failureOf, type SlackClient } from './api.ts';
import { fitsWhole, type Mentions, renderCard } from './card.ts';
import type { Log } from './port.ts';
import { attachWhole, digestOf, type Posted, postCard, readPosted, writePosted } from './posting.ts';
import { ChannelQueue } from './queue.ts';

/** Slack takes about one message a second in a channel; updates have a limit of their own. */
const POST_INTERVAL_MS = 1_000;
/** A process that claimed a card and died gives it up after this. */
const CLAIM_MS = 60_000;
/** Ended requests remembered against a late, older view. */
const ENDED_REMEMBERED = 1_000;

const ENDED: Record<RequestState, boolean> = {
  open: false,
  approved: false,
  consumed: false,
  denied: true,
  expired: true,
  withdrawn: true,
  executed: true,
  failed: true,
  unknown: true,
};

export type BoardSetup = {
  readonly client: SlackClient;
  /** For requests whose rule names none. */
  readonly channel: string;
  readonly cards: CardStore;
  readonly mentions: (request: RequestView) => Mentions;
  readonly log: Log;
  readonly redact: (text: string) => string;
};

/**
 * The cards in the channel, one for each request, brought up to date with every change. New cards wait for their turn,
 * one a second, an agent's own in order and agents in turn, so that a flood by one does not bury the others; updates
 * do not wait behind them.
 */
export class Board {
  readonly #setup: BoardSetup;
  readonly #posts: ChannelQueue;
  readonly #updates: ChannelQueue;
  readonly #latest = new Map<string, RequestView>();
  /** Until when a claim of ours holds, by request, milliseconds. */
  readonly #claims = new Map<string, number>();
  /** Posted, and not yet in the card store. */
  readonly #unsaved = new Map<string, Posted>();
  readonly #turns = new Map<string, number>();
  readonly #retries = new Set<NodeJS.Timeout>();
  #turn = 0;
  #nextPostAt = 0;

  constructor(setup: BoardSetup) {
    this.#setup = setup;
    this.#updates = new ChannelQueue((id) => this.#update(id), setup.log);
    this.#posts = new ChannelQueue(
      (id) => this.#post(id),
      setup.log,
      (waiting) => this.#nextInTurn(waiting),
    );
  }

  /** Views may come twice and out of order. */
  changed(request: RequestView): void {
    const known = this.#latest.get(request.id);
    if (known !== undefined && known.revision >= request.revision) return;
    this.#latest.set(request.id, request);
    this.#updates.add(request.id);
    this.#forgetEnded();
  }

  /**
   * A second message that shows the same request: Slack had taken a card and its answer was lost. Best effort, so
   * that no card keeps buttons that mean nothing.
   */
  async alsoAt(request: RequestView, channel: string, ts: string): Promise<void> {
    const { client, mentions, log } = this.#setup;
    try {
      const stored = await this.#stored(request.id);
      if (stored === null || stored.channel !== channel || stored.ts === ts) return;
      await client.chat.update({ channel, ts, ...renderCard(request, mentions(request)) });
    } catch (error) {
      const failure = failureOf(error);
      log.warn(
        { channel: 'slack', request: request.id, error: failure.kind },
        'a second card was not updated',
      );
    }
  }

  get trouble(): string | null {
    return this.#posts.trouble ?? this.#updates.trouble;
  }

  async close(): Promise<void> {
    for (const timer of this.#retries) clearTimeout(timer);
    await Promise.all([this.#posts.close(), this.#updates.close()]);
  }

  /** Brings a posted card up to date, and lets one that is not there be posted. */
  async #update(id: string): Promise<void> {
    const posted = await this.#stored(id);
    // Only now, after the wait, what is newest.
    const request = this.#latest.get(id);
    if (request === undefined) return;
    if (posted === null) {
      if (!ENDED[request.state]) this.#posts.add(id);
      return;
    }
    const { client, cards, mentions } = this.#setup;
    const card = renderCard(request, mentions(request));
    const shown = digestOf(card);
    if (posted.shown === shown) return;
    const { channel, ts } = posted;
    await client.chat.update({ channel, ts, ...card });
    await cards.save(id, 'slack', writePosted({ channel, ts, shown }));
  }

  async #post(id: string): Promise<void> {
    const { client, cards, mentions, log, redact } = this.#setup;
    if ((await this.#stored(id)) !== null) return this.#updates.add(id);
    if (!(await this.#claim(id))) {
      // Another process posts it, or died while it did.
      return this.#later(id, CLAIM_MS);
    }
    await this.#posts.pause(this.#nextPostAt - Date.now());
    const request = this.#latest.get(id);
    if (request === undefined || ENDED[request.state]) return;
    const channel = request.demand.channel ?? this.#setup.channel;
    const card = renderCard(request, mentions(request));
    const posted = await postCard(client, channel, request, card, log);
    this.#nextPostAt = Date.now() + POST_INTERVAL_MS;
    this.#turns.set(request.session.agent, ++this.#turn);
    this.#unsaved.set(id, posted);
    await cards.save(id, 'slack', writePosted(posted));
    this.#unsaved.delete(id);
    this.#claims.delete(id);
    log.info({ channel: 'slack', request: id }, 'card posted');
    if (!fitsWhole(request)) await attachWhole(client, posted, request, log, redact);
    // What changed meanwhile.
    this.#updates.add(id);
  }

  async #stored(id: string): Promise<Posted | null> {
    const unsaved = this.#unsaved.get(id);
    if (unsaved !== undefined) {
      await this.#setup.cards.save(id, 'slack', writePosted(unsaved));
      this.#unsaved.delete(id);
      return unsaved;
    }
    const reference = await this.#setup.cards.load(id, 'slack');
    return reference === null ? null : readPosted(reference);
  }

  /** A claim outlives a failed attempt, so the next attempt of this process goes on with it. */
  async #claim(id: string): Promise<boolean> {
    const until = this.#claims.get(id);
    if (until !== undefined && Date.now() < until) return true;
    // Counted from before the question, so that ours ends before the store's does.
    const end = Date.now() + CLAIM_MS;
    const mine = await this.#setup.cards.claim(id, 'slack', CLAIM_MS);
    if (mine) this.#claims.set(id, end);
    else this.#claims.delete(id);
    return mine;
  }

  /** The oldest request of the agent that had a card posted longest ago. */
  #nextInTurn(waiting: ReadonlySet<string>): string | undefined {
    let next: string | undefined;
    let best = Number.POSITIVE_INFINITY;
    for (const id of waiting) {
      const turn = this.#turns.get(this.#latest.get(id)?.session.agent ?? '') ?? 0;
      if (turn < best) {
        best = turn;
        next = id;
      }
    }
    return next;
  }

  #later(id: string, ms: number): void {
    const timer = setTimeout(() => {
      this.#retries.delete(timer);
      this.#updates.add(id);
    }, ms);
    timer.unref();
    this.#retries.add(timer);
  }

  #forgetEnded(): void {
    if (this.#latest.size <= ENDED_REMEMBERED) return;
    for (const [id, { state }] of this.#latest) {
      if (!ENDED[state]) continue;
      this.#latest.delete(id);
      this.#claims.delete(id);
      if (this.#latest.size <= ENDED_REMEMBERED) return;
    }
  }
}
