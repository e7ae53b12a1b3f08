import { html } from 'hono/html';
import type { Passkey } from '../../config/config.ts';
import { passkeyThumbprint } from '../../signing/passkey.ts';
import { layout, PASSKEY_SCRIPTS } from './pages.ts';
import type { Markup, Visitor } from './visitor.ts';

/** Where a person sees and makes passkeys. `publicUrl` is for whoever cannot have one here. */
export function passkeysPage(visitor: Visitor, publicUrl: string, problem: string | null): Markup {
  const { passkeys, rpId, formToken } = visitor;
  return layout(
    'Passkeys',
    visitor,
    html`<h1>Passkeys</h1>
${problem === null ? '' : html`<p class="notice" role="alert">${problem}</p>`}
<section class="card" aria-label="What a passkey is for">
<p>With a passkey your own device signs the digest of exactly the request that you approve, after it has verified that it is you. Rules with <code>assurance: 3</code> take nothing less.</p>
${rpId === null ? unusable(publicUrl) : makeForm(formToken)}
</section>
<section class="card" aria-label="Yours">
<h2>Yours in the configuration</h2>
${
  passkeys.length === 0
    ? html`<p class="claim">None${rpId === null ? ' that can be used here' : ''}.</p>`
    : html`<ul class="items">${passkeys.map(({ thumbprint }) => html`<li><code>${thumbprint}</code></li>`)}</ul>`
}
</section>`,
    PASSKEY_SCRIPTS,
  );
}

function makeForm(formToken: string): Markup {
  return html`<form method="post" action="/passkeys">
<input type="hidden" name="csrf" value="${formToken}">
<button class="approve" data-passkey="make">Make a passkey</button>
<p class="notice trouble" role="alert" hidden></p>
</form>
<noscript><p class="notice">Passkeys need JavaScript.</p></noscript>`;
}

function unusable(publicUrl: string): Markup {
  return html`<p class="notice">Browsers have passkeys only where the address is https:// and a name, or http://localhost. Here it is ${publicUrl} (<code>http.publicUrl</code>).</p>`;
}

/** What has to be done so that a passkey that was just made counts. */
export function madePage(visitor: Visitor, passkey: Passkey): Markup {
  return layout(
    'A passkey was made',
    visitor,
    html`<h1>A passkey was made, and counts for nothing yet</h1>
<section class="card" aria-label="For the configuration">
<p>It counts once these lines are in the configuration, and the program has been started with them. Give them to whoever keeps it.</p>
<pre>${passkeyYaml(visitor.person, passkey)}</pre>
<p>Thumbprint: <code>${passkeyThumbprint(passkey.key)}</code></p>
<p class="claim">Tell them the thumbprint in another way than the lines, so that nobody can exchange the key on its way: the log has it as of now, and at each start which passkeys the configuration has. Where the person has passkeys already, add the last six lines to theirs.</p>
<p><a href="/passkeys">Back to your passkeys</a></p>
</section>`,
    [],
  );
}

/** Quoted: an id may look like a number. */
export function passkeyYaml(person: string, { id, key }: Passkey): string {
  return `people:
  - id: ${person}
    passkeys:
      - id: '${id}'
        key:
          kty: EC
          crv: P-256
          x: '${key.x}'
          y: '${key.y}'`;
}
