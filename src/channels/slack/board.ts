import type { CardStore, RequestView } from '../../approval/guard.ts';
import { failureOf, type SlackClient } from './api.ts';
import { fitsWhole, type Mentions, renderCard, renderOutcome } from './card.ts';
import { Escalations } from './escalations.ts';
import { isDue, type MessageKey, type Place, placesOf } from './places.ts';
import type { Log } from './port.ts';
import {
  attachWhole,
  digestOf,
  type Posted,
  postCard,
  postReply,
  readPosted,
  writePosted,
} from './posting.ts';
import { ChannelQueue, ChannelQueues, Gate } from './queue.ts';

/** Slack takes about one message a second in a channel; updates have a limit of their own. */
const POST_INTERVAL_MS = 1_000;
/** A process that claimed a card and died gives it up after this. */
const CLAIM_MS = 60_000;
/**
 * A request that comes first because the one before it was answered: an answer to all of them is given one by one, so its
 * card waits a moment.
 */
const SETTLE_MS = 1_500;
/** Ended requests remembered against a late, older view. */
const ENDED_REMEMBERED = 1_000;

export type BoardSetup = {
  readonly client: SlackClient;
  /** For requests whose rule names none. */
  readonly channel: string;
  readonly cards: CardStore;
  /** A request as the store has it now. */
  readonly get: (id: string) => Promise<RequestView | null>;
  readonly mentions: (request: RequestView, key: MessageKey) => Mentions;
  readonly log: Log;
  readonly redact: (text: string) => string;
};

/** A message of a request, in its place. */
type Job = Place & { readonly id: string };

/**
 * The cards in their channels, one for each request, another when it escalates, brought up to date with every change.
 * In each channel new cards wait for their turn, one a second, an agent's own in order and agents in turn, so that a
 * flood by one does not bury the others; updates do not wait behind them, nor one channel behind another.
 */
export class Board {
  readonly #setup: BoardSetup;
  readonly #posts: ChannelQueues;
  readonly #updates: ChannelQueues;
  readonly #escalations: Escalations;
  readonly #latest = new Map<string, RequestView>();
  readonly #jobs = new Map<string, Job>();
  /** Until when a claim of ours holds, by name of the message, milliseconds. */
  readonly #claims = new Map<string, number>();
  /** Posted, and not yet in the card store. */
  readonly #unsaved = new Map<string, Posted>();
  /** Requests that another one of the very same kind stood before. */
  readonly #behind = new Set<string>();
  readonly #turns = new Map<string, number>();
  readonly #nextPostAt = new Map<string, number>();
  readonly #retries = new Set<NodeJS.Timeout>();
  #turn = 0;

  constructor(setup: BoardSetup) {
    this.#setup = setup;
    const { log } = setup;
    const gate = new Gate();
    this.#updates = new ChannelQueues(
      (channel) => new ChannelQueue({ work: (name) => this.#update(this.#job(name)), channel, log, gate }),
    );
    this.#posts = new ChannelQueues(
      (channel) =>
        new ChannelQueue({
          work: (name) => this.#post(this.#job(name)),
          channel,
          log,
          pick: (waiting) => this.#nextInTurn(waiting),
        }),
    );
    this.#escalations = new Escalations(setup.get, (request) => this.#escalated(request));
  }

  /** Views may come twice and out of order. */
  changed(request: RequestView): void {
    const known = this.#latest.get(request.id);
    if (known !== undefined && known.revision >= request.revision) return;
    this.#latest.set(request.id, request);
    if ((request.alike[0] ?? request.id) !== request.id) this.#behind.add(request.id);
    this.#escalations.expect(request);
    for (const place of this.#places(request)) this.#queue(this.#updates, { ...place, id: request.id });
    this.#forgetEnded();
  }

  /**
   * A second message that shows the same request: Slack had taken a card and its answer was lost. Best effort, so
   * that no card keeps buttons that mean nothing.
   */
  async alsoAt(request: RequestView, channel: string, ts: string): Promise<void> {
    const { client, mentions, log } = this.#setup;
    try {
      const places = this.#places(request);
      const stored = await Promise.all(places.map((place) => this.#stored({ ...place, id: request.id })));
      const known = stored.flatMap((posted) => (posted === null ? [] : [posted]));
      if (known.some((posted) => posted.channel === channel && posted.ts === ts)) return;
      if (!known.some((posted) => posted.channel === channel)) return;
      await client.chat.update({ channel, ts, ...renderCard(request, mentions(request, 'slack'), 'slack') });
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
    this.#escalations.close();
    await Promise.all([this.#posts.close(), this.#updates.close()]);
  }

  #places(request: RequestView): readonly Place[] {
    return placesOf(request, this.#setup.channel);
  }

  #queue(queues: ChannelQueues, job: Job): void {
    const name = nameOf(job);
    this.#jobs.set(name, job);
    queues.of(job.channel).add(name);
  }

  #job(name: string): Job {
    const job = this.#jobs.get(name);
    if (job === undefined) throw new Error(`no message ${name}`);
    return job;
  }

  /** Its time has come, by the store. The revision is the same: nothing in its row has changed. */
  #escalated(request: RequestView): void {
    const known = this.#latest.get(request.id);
    if (known !== undefined && known.revision > request.revision) return;
    this.#latest.set(request.id, request);
    for (const place of this.#places(request)) this.#queue(this.#updates, { ...place, id: request.id });
  }

  /** Brings a posted card up to date, and lets one that is not there be posted. */
  async #update(job: Job): Promise<void> {
    const { id, key } = job;
    const posted = await this.#stored(job);
    // Only now, after the wait, what is newest.
    const request = this.#latest.get(id);
    if (request === undefined) return;
    if (posted === null) {
      if (!isDue(key, request)) return;
      if (!this.#behind.has(id)) this.#queue(this.#posts, job);
      // Answered together with the one before: that one's card has said so.
      else if (request.state === 'open') this.#settle(job);
      return;
    }
    if (key === 'slack' && isDue('slack-outcome', request))
      this.#queue(this.#posts, { id, key: 'slack-outcome', channel: job.channel });
    const { client, cards, mentions } = this.#setup;
    const card = renderCard(request, mentions(request, key), key);
    const shown = digestOf(card);
    if (posted.shown === shown) return;
    const { channel, ts } = posted;
    await client.chat.update({ channel, ts, ...card });
    await cards.save(id, key, writePosted({ channel, ts, shown }));
  }

  async #post(job: Job): Promise<void> {
    const { id, key, channel } = job;
    if ((await this.#stored(job)) !== null) {
      if (key !== 'slack-outcome') this.#queue(this.#updates, job);
      return;
    }
    if (!(await this.#claim(job))) {
      // Another process posts it, or died while it did.
      return this.#later(job, CLAIM_MS);
    }
    await this.#posts.of(channel).pause((this.#nextPostAt.get(channel) ?? 0) - Date.now());
    const request = this.#latest.get(id);
    if (request === undefined || !isDue(key, request)) return;
    const posted = await this.#send(job, request);
    if (posted === null) return;
    this.#nextPostAt.set(channel, Date.now() + POST_INTERVAL_MS);
    this.#turns.set(request.session.agent, ++this.#turn);
    const name = nameOf(job);
    this.#unsaved.set(name, posted);
    const { client, cards, log, redact } = this.#setup;
    await cards.save(id, key, writePosted(posted));
    this.#unsaved.delete(name);
    this.#claims.delete(name);
    log.info({ channel: 'slack', request: id, message: key }, 'posted');
    if (key === 'slack-outcome') return;
    if (!fitsWhole(request)) await attachWhole(client, posted, request, log, redact);
    // What changed meanwhile.
    this.#queue(this.#updates, job);
  }

  /** Null: there is nothing to reply to. */
  async #send({ id, key, channel }: Job, request: RequestView): Promise<Posted | null> {
    const { client, mentions, log } = this.#setup;
    if (key !== 'slack-outcome')
      return postCard(client, channel, request, renderCard(request, mentions(request, key), key), log);
    const card = await this.#stored({ id, key: 'slack', channel });
    return card === null ? null : postReply(client, card, renderOutcome(request));
  }

  async #stored(job: Job): Promise<Posted | null> {
    const { cards } = this.#setup;
    const name = nameOf(job);
    const unsaved = this.#unsaved.get(name);
    if (unsaved !== undefined) {
      await cards.save(job.id, job.key, writePosted(unsaved));
      this.#unsaved.delete(name);
      return unsaved;
    }
    const reference = await cards.load(job.id, job.key);
    return reference === null ? null : readPosted(reference);
  }

  /** A claim outlives a failed attempt, so the next attempt of this process goes on with it. */
  async #claim(job: Job): Promise<boolean> {
    const name = nameOf(job);
    const until = this.#claims.get(name);
    if (until !== undefined && Date.now() < until) return true;
    // Counted from before the question, so that ours ends before the store's does.
    const end = Date.now() + CLAIM_MS;
    const mine = await this.#setup.cards.claim(job.id, job.key, CLAIM_MS);
    if (mine) this.#claims.set(name, end);
    else this.#claims.delete(name);
    return mine;
  }

  /** The oldest request of the agent that had a card posted longest ago. */
  #nextInTurn(waiting: ReadonlySet<string>): string | undefined {
    let next: string | undefined;
    let best = Number.POSITIVE_INFINITY;
    for (const name of waiting) {
      const agent = this.#latest.get(this.#job(name).id)?.session.agent ?? '';
      const turn = this.#turns.get(agent) ?? 0;
      if (turn < best) {
        best = turn;
        next = name;
      }
    }
    return next;
  }

  #settle(job: Job): void {
    this.#after(SETTLE_MS, () => {
      if (this.#latest.get(job.id)?.state !== 'open') return;
      this.#behind.delete(job.id);
      this.#queue(this.#updates, job);
    });
  }

  #later(job: Job, ms: number): void {
    this.#after(ms, () => this.#queue(job.key === 'slack-outcome' ? this.#posts : this.#updates, job));
  }

  #after(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#retries.delete(timer);
      work();
    }, ms);
    timer.unref();
    this.#retries.add(timer);
  }

  #forgetEnded(): void {
    if (this.#latest.size <= ENDED_REMEMBERED) return;
    for (const [id, request] of this.#latest) {
      if (request.endedAt === null) continue;
      this.#latest.delete(id);
      this.#behind.delete(id);
      for (const key of ['slack', 'slack-escalation', 'slack-outcome'] as const) {
        const name = nameOf({ id, key });
        this.#claims.delete(name);
      }
      if (this.#latest.size <= ENDED_REMEMBERED) return;
    }
  }
}

function nameOf({ id, key }: Pick<Job, 'id' | 'key'>): string {
  return `${key} ${id}`;
}
