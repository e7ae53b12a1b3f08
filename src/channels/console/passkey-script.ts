/**
 * The script of the pages with passkeys, served as a file beside the library's. A button that says so runs a ceremony
 * of WebAuthn first, and its form is sent with what the device has signed.
 */
export const PASSKEY_SCRIPT = `'use strict';
const TIMEOUT_MS = 120000;
function put(form, name, value) {
  const field = document.createElement('input');
  Object.assign(field, { type: 'hidden', name, value });
  form.append(field);
}
function requireSite(rp) {
  if (location.hostname !== rp) throw new Error('passkeys are bound to ' + rp + '; open this page there');
}
async function sign(form, button) {
  const { challenge, rp, credentials } = button.dataset;
  requireSite(rp);
  const { id, response } = await SimpleWebAuthnBrowser.startAuthentication({
    optionsJSON: {
      challenge,
      rpId: rp,
      timeout: TIMEOUT_MS,
      userVerification: 'required',
      allowCredentials: credentials.split(' ').map((known) => ({ id: known, type: 'public-key' })),
    },
  });
  const { authenticatorData, clientDataJSON, signature } = response;
  put(form, button.name, button.value);
  put(form, 'passkey', JSON.stringify({ id, authenticatorData, clientDataJSON, signature }));
}
async function make(form) {
  const body = new URLSearchParams({ csrf: form.elements.csrf.value });
  const response = await fetch('/passkeys/options', { method: 'POST', body });
  if (!response.ok) throw new Error('this page is too old; load it again');
  const optionsJSON = await response.json();
  requireSite(optionsJSON.rp.id);
  const made = await SimpleWebAuthnBrowser.startRegistration({ optionsJSON });
  put(form, 'credential', JSON.stringify(made));
}
function tell(form, text) {
  const place = form.querySelector('.trouble');
  place.textContent = text;
  place.hidden = text === '';
}
async function run(form, button) {
  if (form.getAttribute('aria-busy') === 'true') return;
  form.setAttribute('aria-busy', 'true');
  tell(form, '');
  try {
    await (button.dataset.passkey === 'make' ? make(form) : sign(form, button));
    form.submit();
  } catch (error) {
    form.removeAttribute('aria-busy');
    tell(form, 'No passkey was used, and nothing was sent: ' + error.message);
  }
}
document.addEventListener('submit', (event) => {
  const button = event.submitter;
  if (button === null || button.dataset.passkey === undefined) return;
  event.preventDefault();
  run(event.target, button);
});
`;
