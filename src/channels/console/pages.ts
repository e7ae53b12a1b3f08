import { html } from 'hono/html';
import type { RequestView } from '../../approval/guard.ts';
import { type FactLine, factLines, factText } from '../fact-lines.ts';
import { visible } from '../visible.ts';
import { answerForm } from './answer-form.ts';
import type { Markup, Visitor, Ways } from './visitor.ts';

/** Longer than this, a statement is not shown whole in the list, and so has no buttons there. */
const LIST_CHARACTERS = 1_500;
const LIST_LINES = 24;
/** Of what it would touch; more is on the request's own page, and so are the buttons then. */
const LIST_ITEMS = 8;

/** `scripts`: of the assets; each page works without them, but for passkeys. */
export function layout(
  title: string,
  visitor: Visitor | null,
  body: Markup,
  scripts: readonly string[] = visitor === null ? [] : scriptsFor(visitor),
): Markup {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${visible(title)} · Countersign</title>
<link rel="icon" type="image/svg+xml" href="/assets/icon.svg">
<link rel="stylesheet" href="/assets/console.css">
${scripts.map((name) => html`<script src="/assets/${name}.js" defer></script>`)}
</head>
<body>
<a class="skip" href="#content">Skip to content</a>
<header class="top">
<a class="name" href="/">Countersign</a>
${
  visitor === null
    ? ''
    : html`<span class="who">Signed in as <strong>${visitor.person}</strong></span>
<a href="/passkeys">Passkeys</a>
<form method="post" action="/sign-out"><input type="hidden" name="csrf" value="${visitor.formToken}">
<button class="quiet">Sign out</button></form>`
}
</header>
<main id="content">
${body}
</main>
</body>
</html>`;
}

/** The library first: the page's own script calls it. */
export const PASSKEY_SCRIPTS = ['webauthn', 'passkey'] as const;

function scriptsFor({ passkeys }: Visitor): readonly string[] {
  return ['refresh', ...(passkeys.length > 0 ? PASSKEY_SCRIPTS : [])];
}

export function messagePage(title: string, text: string): Markup {
  return layout(title, null, html`<h1>${title}</h1><p>${text}</p>`);
}

/** Goes on by itself: a redirect would not carry the new SameSite=Strict cookie when the link was on another site. */
export function signedInPage(): Markup {
  return layout(
    'Signed in',
    null,
    html`<meta http-equiv="refresh" content="0;url=/"><h1>Signed in</h1><p><a href="/">See what waits for approval</a></p>`,
  );
}

/** `live`: those that are shown as one are shown once; what the visitor has put off comes last. */
export function listPage(
  visitor: Visitor,
  live: readonly { readonly view: RequestView; readonly ways: Ways }[],
  ended: readonly RequestView[],
  now: Date,
): Markup {
  const open = live.filter(({ view }) => view.state === 'open').length;
  const ids = new Set(live.map(({ view }) => view.id));
  // The oldest that is here: with very many, an older one is beyond the list.
  const shown = live.filter(
    ({ view }) => view.alike.length < 2 || view.alike.find((id) => ids.has(id)) === view.id,
  );
  const putOff = shown.filter(({ view }) => visitor.snoozed.has(view.id));
  return layout(
    open === 0 ? 'Nothing waits' : `${open} waiting`,
    visitor,
    html`<h1>${open === 0 ? 'Nothing waits for an answer' : `${open} ${open === 1 ? 'statement waits' : 'statements wait'} for an answer`}</h1>
${live.length === 0 ? html`<p class="card empty">When an agent sends a statement that needs a person, it appears here.</p>` : ''}
${floods(live.map(({ view }) => view))}
${shown.filter(({ view }) => !visitor.snoozed.has(view.id)).map(({ view, ways }) => card(visitor, view, ways, now))}
${putOff.length === 0 ? '' : html`<h2 class="later">Put off by you</h2>`}
${putOff.map(({ view, ways }) => card(visitor, view, ways, now))}
${ended.length === 0 ? '' : endedTable(ended)}`,
  );
}

/** Agents that are over their limits: whoever answers should know that there would be more. */
function floods(views: readonly RequestView[]): readonly Markup[] {
  const refusals = new Map(views.map(({ session, refusals }) => [session.agent, refusals]));
  return [...refusals]
    .filter(([, count]) => count > 0)
    .map(
      ([agent, count]) =>
        html`<p class="notice" role="status">${count.toLocaleString('en-US')} more statements of <strong>${visible(agent)}</strong> were refused in the last ten minutes: it asks more than its limits let it.</p>`,
    );
}

function card(visitor: Visitor, view: RequestView, ways: Ways, now: Date): Markup {
  const whole =
    view.cut !== true && view.sql.length <= LIST_CHARACTERS && view.sql.split('\n').length <= LIST_LINES;
  const told = (view.context?.findings ?? []).length;
  const touches = told === 0 ? [] : factLines(view).slice(-told);
  const readable =
    whole && (view.parameters ?? []).length === 0 && touches.every(({ of }) => of <= LIST_ITEMS);
  return html`<article class="card" aria-labelledby="${view.id}">
<h2 id="${view.id}"><a href="/requests/${view.id}">${visible(view.command)}</a> <span class="badge ${view.state}">${view.state}</span>${view.alike.length > 1 ? html` <span class="badge open">${view.alike.length} waiting</span>` : ''}</h2>
<p class="meta"><strong>${visible(view.session.agent)}</strong>${behalf(view)} on <strong>${visible(view.session.database)}</strong> as ${visible(view.session.role)} · ${until(view, now)}${view.waiting ? ' · the client is waiting' : ''}</p>
<ul class="why">${view.reasons.map((reason) => html`<li>${visible(reason)}</li>`)}</ul>
<pre>${visible(whole ? view.sql : view.sql.slice(0, LIST_CHARACTERS / 2))}</pre>
${touches.length === 0 ? '' : html`<dl class="facts">${touches.map((line) => html`<dt>${line.label}</dt><dd>${factText(line, LIST_ITEMS)}</dd>`)}</dl>`}
${
  readable
    ? answerForm(visitor, view, ways)
    : html`<p><a href="/requests/${view.id}">${whole ? 'See all of it, and answer' : `Read all ${view.sqlLength} bytes, and answer`}</a></p>`
}
</article>`;
}

export function requestPage(
  visitor: Visitor,
  view: RequestView,
  ways: Ways,
  now: Date,
  message: string | null,
): Markup {
  return layout(
    `${view.command} by ${view.session.agent}`,
    visitor,
    html`<h1>${visible(view.command)} by ${visible(view.session.agent)} <span class="badge ${view.state}">${view.state}</span></h1>
${message === null ? '' : html`<p class="notice" role="alert">${message}</p>`}
${view.inTransaction ? html`<p class="notice">The client is inside a transaction: it keeps its locks while it waits.</p>` : ''}
<section class="card" aria-label="Statement">
<h2>Statement</h2>
<pre>${visible(view.sql)}</pre>
<p class="claim">${view.sqlLength} bytes, all of them shown. Invisible characters are written ‹U+…›; secret literals are written ‹secret, N bytes›, and the approval is bound to the real ones. Comments are the agent's own words.</p>
${view.parameters === null || view.parameters.length === 0 ? '' : parameterTable(view)}
${answerForm(visitor, view, ways)}
</section>
<section class="card" aria-label="Context">
<h2>What is known about it</h2>
${factList(view, now)}
</section>
${view.verdicts.length === 0 ? '' : verdictTable(view)}
${view.receipt === null ? '' : html`<details class="card"><summary>Receipt (JWS)</summary><pre>${view.receipt}</pre></details>`}`,
  );
}

function parameterTable(view: RequestView): Markup {
  return html`<h3>Parameters</h3><div class="scroll"><table>
<thead><tr><th scope="col">#</th><th scope="col">Value</th><th scope="col">Type OID</th><th scope="col">Format</th><th scope="col">Bytes</th></tr></thead>
<tbody>${view.parameters?.map(
    ({ shown, typeOid, format, length }, index) =>
      html`<tr><td>$${index + 1}</td><td>${shown === null ? html`<em>NULL</em>` : html`<code>${visible(shown)}</code>`}</td><td>${typeOid}</td><td>${format === 1 ? 'binary' : 'text'}</td><td>${length}</td></tr>`,
  )}</tbody></table></div>`;
}

function factList(view: RequestView, now: Date): Markup {
  const { demand, outcome } = view;
  const facts: readonly (readonly [string, Markup | string])[] = [
    ['Request', html`<code>${view.id}</code>`],
    ...factLines(view).map((line): readonly [string, Markup | string] => [line.label, factMarkup(line)]),
    [
      'Needs',
      `${demand.quorum} ${demand.quorum === 1 ? 'person' : 'people'} of ${demand.approvers.join(', ') || 'everyone who may approve'}${ASSURANCE_WORDS[demand.assurance]}`,
    ],
    ['Asked', time(view.createdAt)],
    ['Until', html`${time(view.expiresAt)} (${until(view, now)})`],
    ['Ended', view.endedAt === null ? '–' : html`${time(view.endedAt)} ${visible(view.endReason ?? '')}`],
    ['Outcome', outcome === null ? '–' : outcomeText(view)],
    ['Policy', html`<code>${view.policyDigest}</code>`],
    ['SHA-256 of the statement', html`<code>${view.sqlSha256}</code>`],
    ['Digest that an approval binds', html`<code>${view.digest}</code>`],
  ];
  return html`<dl class="facts">${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

const ASSURANCE_WORDS = { 1: '', 2: ', after a fresh log-in', 3: ', each with a passkey' } as const;

/** A few items in a row; many as a list. */
function factMarkup(line: FactLine): Markup | string {
  const { text, items, of } = line;
  if (items.length <= 1) return factText(line, 1);
  const more = of - items.length;
  return html`${text}<ul class="items">${items.map((item) => html`<li>${item}</li>`)}${more > 0 ? html`<li>and ${more.toLocaleString('en-US')} more</li>` : ''}</ul>`;
}

function verdictTable(view: RequestView): Markup {
  return html`<section class="card" aria-label="Verdicts"><h2>Verdicts</h2><div class="scroll"><table>
<thead><tr><th scope="col">Who</th><th scope="col">Verdict</th><th scope="col">Reason</th><th scope="col">Through</th><th scope="col">When</th></tr></thead>
<tbody>${view.verdicts.map(
    ({ person, verdict, reason, channel, assurance, at }) =>
      html`<tr><td>${person}</td><td>${verdict}</td><td>${visible(reason ?? '')}</td><td>${channel}${assurance === 3 ? ', passkey' : ''}</td><td>${time(at)}</td></tr>`,
  )}</tbody></table></div></section>`;
}

function endedTable(ended: readonly RequestView[]): Markup {
  return html`<section class="card" aria-label="Recently ended"><h2>Recently ended</h2><div class="scroll"><table>
<thead><tr><th scope="col">State</th><th scope="col">Agent</th><th scope="col">Statement</th><th scope="col">Answered by</th><th scope="col">Outcome</th><th scope="col">When</th></tr></thead>
<tbody>${ended.map(
    (
      view,
    ) => html`<tr><td><span class="badge ${view.state}">${view.state}</span></td><td>${visible(view.session.agent)}</td>
<td class="statement"><a href="/requests/${view.id}">${visible(view.sql.slice(0, 120))}</a></td>
<td>${view.verdicts.map(({ person }) => person).join(', ') || '–'}</td><td>${view.outcome === null ? '–' : outcomeText(view)}</td><td>${view.endedAt === null ? '–' : time(view.endedAt)}</td></tr>`,
  )}</tbody></table></div></section>`;
}

function outcomeText({ outcome }: RequestView): string {
  if (outcome === null) return '–';
  const { tag, rows, sqlstate } = outcome;
  if (sqlstate !== null) return `SQLSTATE ${visible(sqlstate)}`;
  return `${visible(tag ?? 'done')}${rows > 0n ? `, ${rows} rows` : ''}`;
}

function behalf({ session }: RequestView): string {
  return session.onBehalfOf === null ? '' : ` for ${visible(session.onBehalfOf)}`;
}

function until({ expiresAt, endedAt }: RequestView, now: Date): string {
  if (endedAt !== null) return 'ended';
  const minutes = Math.ceil((expiresAt.getTime() - now.getTime()) / 60_000);
  return minutes <= 0 ? 'time is over' : `${minutes} min left`;
}

function time(at: Date): Markup {
  const iso = at.toISOString();
  return html`<time datetime="${iso}">${iso.slice(0, 19).replace('T', ' ')} UTC</time>`;
}
