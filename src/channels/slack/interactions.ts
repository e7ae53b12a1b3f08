import { setTimeout as sleep } from 'node:timers/promises';
import type {
  Answer,
  ApprovalDesk,
  ChannelCode,
  GuardCode,
  GuardResult,
  RequestView,
} from '../../approval/guard.ts';
import { failureOf, type SlackClient } from './api.ts';
import { approvableHere } from './card.ts';
import { type Click, clickKey, foreignWorkspace, type Submission, staleClick } from './clicks.ts';
import { detailsView } from './details.ts';
import { denyForm } from './form.ts';
import { errorText } from './log.ts';
import type { Members } from './members.ts';
import { Once } from './once.ts';
import type { Log } from './port.ts';
import { ACTION, type Subject } from './values.ts';

export type InteractionSetup = {
  readonly client: SlackClient;
  readonly desk: ApprovalDesk;
  readonly members: Members;
  readonly teamId: string;
  /** The organization of our workspace, as far as Slack has said; null: none. */
  readonly enterpriseId: () => string | null;
  readonly now: () => number;
  /** Somebody in the configuration has this account of our workspace. */
  readonly isKnown: (userId: string) => boolean;
  /** Brings the card up to date at once, before the store's own notification. */
  readonly changed: (request: RequestView) => void;
  /** A message that shows this request was clicked: if it is not the card, it is brought up to date too. */
  readonly seenAt: (request: RequestView, channel: string, ts: string) => Promise<void>;
  readonly log: Log;
  readonly redact: (text: string) => string;
};

/** Longest wait for telling somebody, when Slack limits us, milliseconds. */
const PATIENCE_MS = 10_000;

/** What a person is told, and whether it may be tried again. */
type Answered =
  /** `notice`: what they should know all the same. */
  | { readonly kind: 'recorded'; readonly notice?: string }
  | { readonly kind: 'refused'; readonly code: string; readonly message: string }
  | { readonly kind: 'failed'; readonly message: string };

/** Slack took no view. */
class NotOpened extends Error {
  override readonly name = 'NotOpened';
  readonly url: string;
  constructor(url: string) {
    super('the view was not opened');
    this.url = url;
  }
}

type Speaker = Click | Submission;

/** What people do on cards and forms, made into verdicts for the guard. It has no rules of its own about people. */
export class Interactions {
  readonly #setup: InteractionSetup;
  readonly #once = new Once<Answered>((answered) => answered.kind !== 'failed');
  /** A refused form may be sent again with another reason, so only what was recorded is remembered. */
  readonly #onceForms = new Once<Answered>((answered) => answered.kind === 'recorded');

  constructor(setup: InteractionSetup) {
    this.#setup = setup;
  }

  /** A click on Approve. Tells the person in an ephemeral message when it does not count. */
  async approve(click: Click): Promise<void> {
    const { first, result } = this.#once.run(clickKey(click), () => this.#approveOnce(click));
    if (!first) return;
    const answered = await result;
    const [message, title] =
      answered.kind === 'recorded' ? [answered.notice, 'please note'] : [answered.message, 'not accepted'];
    const telling = message === undefined ? null : this.tell(click.channel, click.userId, message, title);
    await Promise.all([telling, this.#refresh(click.subject.requestId, click)]);
  }

  /** A click on Deny: opens the form, or says why not. */
  async askReason(click: Click): Promise<void> {
    const problem = this.#unacceptable(click);
    const { first, result } = this.#once.run(clickKey(click), async (): Promise<Answered> => {
      if (problem !== null) return problem;
      await this.#setup.client.views.open({ trigger_id: click.triggerId, view: denyForm(click) });
      return { kind: 'recorded' };
    });
    if (!first) return;
    const answered = await result.catch((error: unknown) => this.#failed(error, 'the form was not opened'));
    if (answered.kind !== 'recorded') await this.tell(click.channel, click.userId, answered.message);
  }

  /** A click on Details: opens all that the page shows, for whom it is; else tells where the page is. */
  async showDetails(click: Click): Promise<void> {
    const { client, desk, members, log } = this.#setup;
    const { first, result } = this.#once.run(clickKey(click), async (): Promise<Answered> => {
      const { requestId } = click.subject;
      const mayNot = (why: string): Answered => {
        log.info({ channel: 'slack', team: click.teamId, user: click.userId }, 'details refused');
        return { kind: 'refused', code: 'not_shown', message: why };
      };
      const why = this.#mayNotSee(click);
      if (why !== null) return mayNot(why);
      // Slack lets a view be opened within three seconds only: both are asked at once.
      const [objection, request] = await Promise.all([members.objection(click.userId), desk.get(requestId)]);
      if (objection !== null) return mayNot(objection);
      if (request === null)
        return { kind: 'refused', code: 'not_found', message: `There is no request ${requestId}.` };
      await client.views
        .open({ trigger_id: click.triggerId, view: detailsView(request) })
        .catch((error: unknown) => {
          log.warn(
            { channel: 'slack', error: this.#setup.redact(failureWords(error)) },
            'details not opened',
          );
          return Promise.reject(new NotOpened(request.url));
        });
      return { kind: 'recorded' };
    });
    if (!first) return;
    const answered = await result.catch((error: unknown): Answered => {
      if (!(error instanceof NotOpened)) return this.#failed(error, 'the details were not opened');
      return {
        kind: 'failed',
        message: `Slack did not show the details. The page has all of it: ${error.url}`,
      };
    });
    if (answered.kind !== 'recorded')
      await this.tell(click.channel, click.userId, answered.message, 'no details');
  }

  /** Whoever answers may read, and so may the owner of an agent: everybody whom the configuration knows. */
  #mayNotSee(click: Click): string | null {
    const foreign = this.#foreign(click);
    if (foreign !== null) return foreign;
    const stale = staleClick(click.actionTs, this.#setup.now());
    if (stale !== null) return stale;
    return this.#setup.isKnown(click.userId)
      ? null
      : 'Nobody in the configuration has this Slack account, so it is not shown more than this channel.';
  }

  /** A form that was sent; null: the denial is recorded, else what the person is told in the form. */
  async deny(form: Submission): Promise<string | null> {
    const { result } = this.#onceForms.run(`${form.teamId} ${form.viewId} ${form.userId}`, async () => {
      const foreign = this.#foreign(form);
      if (foreign !== null) return this.#refuse(form, 'other_workspace', foreign);
      return this.#answer(form, form.origin, 'deny', form.reason, { view: form.viewId });
    });
    const answered = await result;
    if (answered.kind !== 'recorded') return answered.message;
    void this.#refresh(form.origin.requestId, null);
    return null;
  }

  /** Shown to one person only. Best effort: a person who is not in the channel cannot be told. */
  async tell(channel: string, user: string, message: string, title = 'not accepted'): Promise<void> {
    const { client, log } = this.#setup;
    // Text is mrkdwn; blocks with plain text are not.
    const blocks = [
      { type: 'section' as const, text: { type: 'plain_text' as const, text: message.slice(0, 3000) } },
    ];
    const text = `Countersign: ${title}`;
    const send = () => client.chat.postEphemeral({ channel, user, text, blocks });
    try {
      await send().catch(async (error: unknown) => {
        const failure = failureOf(error);
        if (failure.kind !== 'limited' || failure.afterMs > PATIENCE_MS) throw error;
        await sleep(failure.afterMs, undefined, { ref: false });
        return send();
      });
    } catch (error) {
      log.warn({ channel: 'slack', user, error: failureWords(error) }, 'the person could not be told');
    }
  }

  async #approveOnce(click: Click): Promise<Answered> {
    const problem = this.#unacceptable(click);
    if (problem !== null) return problem;
    return this.#answer(click, click.subject, 'approve', null, {
      action_ts: click.actionTs,
      message_ts: click.messageTs,
    });
  }

  #unacceptable(click: Click): Answered | null {
    const foreign = this.#foreign(click);
    if (foreign !== null) return this.#refuse(click, 'other_workspace', foreign);
    const stale = staleClick(click.actionTs, this.#setup.now());
    return stale === null ? null : this.#refuse(click, 'stale_click', stale);
  }

  #foreign(from: Speaker): string | null {
    const { teamId, enterpriseId } = this.#setup;
    return foreignWorkspace(from, teamId, enterpriseId());
  }

  async #answer(
    speaker: Speaker,
    subject: Subject,
    verdict: 'approve' | 'deny',
    reason: string | null,
    facts: Readonly<Record<string, string>>,
  ): Promise<Answered> {
    const { desk, members, teamId } = this.#setup;
    try {
      const objection = await members.objection(speaker.userId);
      if (objection !== null) return this.#refuse(speaker, 'not_a_member', objection);
      const shown = this.#notAsShown(await desk.get(subject.requestId), subject, verdict);
      if (shown !== null) return this.#refuse(speaker, 'not_as_shown', shown);
      const answer: Answer = {
        requestId: subject.requestId,
        channel: 'slack',
        person: [{ kind: 'slack', value: `${teamId}/${speaker.userId}` }],
        verdict,
        reason,
        attestation: { assurance: 1, facts: { team: teamId, user: speaker.userId, ...facts } },
      };
      if (subject.alike.length === 0) return this.#said(speaker, await desk.guard.decide(answer));
      return this.#saidOfAll(speaker, await desk.guard.decideAll(answer, subject.alike));
    } catch (error) {
      return this.#failed(error, `the ${verdict === 'approve' ? 'approval' : 'denial'} was not recorded`);
    }
  }

  /** A button is good for the question that its card showed, and for approval only where it showed all of it. */
  #notAsShown(request: RequestView | null, subject: Subject, verdict: 'approve' | 'deny'): string | null {
    if (request === null) return `There is no request ${subject.requestId}.`;
    if (request.digest !== subject.digest)
      return 'This card shows another question than the request holds now.';
    if (verdict === 'approve' && request.state === 'open' && !approvableHere(request)) {
      return `This request cannot be approved in Slack. Use its page: ${request.url}`;
    }
    return null;
  }

  #said(speaker: Speaker, result: GuardResult): Answered {
    if (result.ok)
      return { kind: 'recorded', ...(result.notice === undefined ? {} : { notice: result.notice }) };
    return this.#refuse(speaker, result.code, result.message);
  }

  /** Each is a verdict of its own: what was refused of some is said, and what counted counts. */
  #saidOfAll(speaker: Speaker, results: readonly GuardResult[]): Answered {
    const refused = results.find((result) => !result.ok);
    const counted = results.filter((result) => result.ok);
    const [first] = counted;
    if (first === undefined || !first.ok) {
      return refused === undefined ? { kind: 'recorded' } : this.#said(speaker, refused);
    }
    if (refused === undefined || refused.ok) return this.#said(speaker, first);
    const notice = `${counted.length} counted; of another: ${refused.message}`;
    this.#refuse(speaker, refused.code, refused.message);
    return { kind: 'recorded', notice };
  }

  #refuse(speaker: Speaker, code: GuardCode | ChannelCode, message: string): Answered {
    const { log } = this.#setup;
    log.info({ channel: 'slack', team: speaker.teamId, user: speaker.userId, code }, 'answer refused');
    if (isChannelCode(code)) void this.#record(speaker, code);
    return { kind: 'refused', code, message };
  }

  /** What is refused here, before the guard is asked, is an entry all the same. Nobody waits for it. */
  async #record(speaker: Speaker, code: ChannelCode): Promise<void> {
    const { desk, log, redact } = this.#setup;
    const [subject, verdict] =
      'subject' in speaker
        ? ([speaker.subject, speaker.actionId === ACTION.deny ? 'deny' : 'approve'] as const)
        : ([speaker.origin, 'deny'] as const);
    const team = speaker.userTeamId ?? speaker.teamId ?? '';
    try {
      await desk.guard.refuse(
        {
          requestId: subject.requestId,
          channel: 'slack',
          person: [{ kind: 'slack', value: `${team}/${speaker.userId}` }],
          verdict,
          reason: null,
          attestation: { assurance: 1, facts: {} },
        },
        code,
      );
    } catch (error) {
      log.warn({ channel: 'slack', error: redact(failureWords(error)) }, 'a refused answer was not recorded');
    }
  }

  #failed(error: unknown, what: string): Answered {
    const why = this.#setup.redact(failureWords(error));
    this.#setup.log.error({ channel: 'slack', error: why }, what);
    return {
      kind: 'failed',
      message: `Nothing has changed: ${what}. Try again, or use the request's page.`,
    };
  }

  async #refresh(id: string, clicked: Click | null): Promise<void> {
    try {
      const request = await this.#setup.desk.get(id);
      if (request === null) return;
      this.#setup.changed(request);
      if (clicked !== null) await this.#setup.seenAt(request, clicked.channel, clicked.messageTs);
    } catch {
      // The verdict stands; the store's own notification brings the card up to date.
    }
  }
}

function isChannelCode(code: GuardCode | ChannelCode): code is ChannelCode {
  return CHANNEL_CODES.some((one) => one === code);
}

const CHANNEL_CODES: readonly ChannelCode[] = [
  'other_workspace',
  'stale_click',
  'not_a_member',
  'not_as_shown',
];

function failureWords(error: unknown): string {
  const failure = failureOf(error);
  return failure.kind === 'limited' ? 'rate limited' : failure.why || errorText(error);
}
