import { html } from 'hono/html';
import { askedAt } from '../../approval/eligibility.ts';
import { REASON_CHARACTERS, type RequestView } from '../../approval/guard.ts';
import { challengeOf } from '../../signing/assertion.ts';
import { visible } from '../visible.ts';
import type { Markup, Visitor, Ways } from './visitor.ts';

/** What a person can do with a request: answer it, answer all that are shown as one with it, put it off. */
export function answerForm(visitor: Visitor, view: RequestView, ways: Ways): Markup | string {
  if (view.state !== 'open') return '';
  const { alike } = view;
  const many = alike.length > 1;
  return html`${progress(view)}
${many ? html`<p class="notice">${alike.length} requests wait for the very same. An approval is for one of them, the oldest first; those that come later are not among the ${alike.length}.</p>` : ''}
${ways.hindrance === null ? '' : html`<p class="notice">${ways.hindrance}${ways.lacksPasskey ? html` <a href="/passkeys">Make a passkey</a>` : ''}</p>`}
${ways.deny ? answers(visitor, view, ways) : ''}
${snoozeForm(visitor, view)}`;
}

function answers(visitor: Visitor, view: RequestView, ways: Ways): Markup {
  const { alike } = view;
  const many = alike.length > 1;
  const given = view.verdicts.some(
    ({ person, verdict }) => person === visitor.person && verdict === 'approve',
  );
  // A text area, not an input: there, the Enter key would press the first button.
  return html`${given ? html`<p class="notice">You have approved this. It needs ${view.demand.quorum} people; you can still deny it.</p>` : ''}
<form class="answer" method="post" action="/requests/${view.id}/verdict">
<input type="hidden" name="csrf" value="${visitor.formToken}">
${many ? html`<input type="hidden" name="alike" value="${alike.join(' ')}">` : ''}
<div><label for="reason-${view.id}">Reason (goes into the audit log; the agent sees it on denial)</label>
<textarea id="reason-${view.id}" name="reason" rows="1" maxlength="${REASON_CHARACTERS}"></textarea></div>
<div class="buttons">
<button class="deny" name="verdict" value="${many ? 'deny_all' : 'deny'}">${many ? `Deny all ${alike.length}` : 'Deny'}</button>
${many && ways.approve ? html`<button class="approve all" name="verdict" value="approve_all">Approve all ${alike.length}</button>` : ''}
${given || !ways.approve ? '' : html`<button class="approve${ways.approveWithPasskey ? ' all' : ''}" name="verdict" value="approve">${many ? 'Approve one' : 'Approve'}${ways.approveWithPasskey ? ' without passkey' : ''}</button>`}
${given || !ways.approveWithPasskey ? '' : passkeyButton(visitor, view)}
</div>
<p class="notice trouble" role="alert" hidden></p>
</form>`;
}

/** The device signs the digest of this request, and so no other. Without the script it is refused: nothing was signed. */
function passkeyButton({ passkeys, rpId }: Visitor, { digest, alike }: RequestView): Markup {
  return html`<button class="approve" name="verdict" value="approve_passkey" data-passkey="sign" data-challenge="${challengeOf(digest)}" data-rp="${rpId ?? ''}" data-credentials="${passkeys.map(({ id }) => id).join(' ')}">${alike.length > 1 ? 'Approve one' : 'Approve'} with passkey</button>`;
}

/** How far it is, and who is asked just now. */
function progress(view: RequestView): Markup | string {
  const { demand, verdicts, id } = view;
  const approvers = verdicts.filter(({ verdict }) => verdict === 'approve').map(({ person }) => person);
  const asked = askedAt(demand, Date.now());
  const words = [
    ...(demand.quorum === 1 && approvers.length === 0
      ? []
      : [
          `${approvers.length} of ${demand.quorum} approvals${approvers.length === 0 ? '' : `: ${approvers.join(', ')}`}`,
        ]),
    ...(asked.length === 0
      ? []
      : [`asked now: ${asked.map((names) => names.join(', ')).join(', and of these ')}`]),
  ];
  if (words.length === 0) return '';
  return html`<p class="progress">${
    demand.quorum > 1
      ? html`<progress id="progress-${id}" max="${demand.quorum}" value="${approvers.length}" aria-label="Approvals">${approvers.length} of ${demand.quorum}</progress> `
      : ''
  }${visible(words.join(' · '))}</p>`;
}

const PUT_OFF: readonly (readonly [number, string])[] = [
  [15, '15 minutes'],
  [60, 'an hour'],
  [240, 'four hours'],
];

/** For the visitor alone. */
function snoozeForm({ snoozed, formToken }: Visitor, view: RequestView): Markup {
  const until = snoozed.get(view.id);
  const action = `/requests/${view.id}/snooze`;
  const csrf = html`<input type="hidden" name="csrf" value="${formToken}">`;
  if (until !== undefined) {
    return html`<form class="snooze" method="post" action="${action}">${csrf}<input type="hidden" name="minutes" value="0">
<span>You have put it off until ${until.toISOString().slice(11, 16)} UTC.</span> <button class="quiet">Bring it back</button></form>`;
  }
  return html`<form class="snooze" method="post" action="${action}">${csrf}
<label for="snooze-${view.id}">Not now: put it off, for yourself, for</label>
<select id="snooze-${view.id}" name="minutes">${PUT_OFF.map(([minutes, words]) => html`<option value="${minutes}">${words}</option>`)}</select>
<button class="quiet">Put off</button></form>`;
}
