/**
 * A script of the console, served as a file (the policy allows no other). It exchanges the page's content for
 * the newest while nobody writes, selects, uses a passkey, or has a button or a choice in focus; without it the page works and is reloaded by hand.
 */
export const REFRESH_SCRIPT = `'use strict';
const EVERY_MS = 3000;
function busy(main) {
  const fields = [...main.querySelectorAll('textarea')];
  const written = fields.some((field) => field.value !== '' || field === document.activeElement);
  const selected = String(document.getSelection()) !== '';
  const active = document.activeElement;
  const control = active instanceof HTMLButtonElement || active instanceof HTMLSelectElement;
  const signing = main.querySelector('[aria-busy="true"], .trouble:not([hidden])') !== null;
  return written || selected || signing || (control && main.contains(active)) || main.querySelector('details[open]') !== null;
}
async function refresh() {
  const main = document.querySelector('main');
  if (document.hidden || busy(main)) return;
  const response = await fetch(location.pathname, { cache: 'no-store' });
  if (response.status === 401) return location.reload();
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), 'text/html');
  const next = page.querySelector('main');
  if (next === null || busy(main) || next.innerHTML === main.innerHTML) return;
  document.title = page.title;
  main.replaceWith(document.adoptNode(next));
}
setInterval(() => { refresh().catch(() => {}); }, EVERY_MS);
`;
