import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

/** A browser comes with the machine or not at all; undefined: there is none, and its tests are left out. */
export const CHROMIUM = [
  process.env['COUNTERSIGN_TEST_CHROMIUM'] ?? '',
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
].find((path) => path !== '' && existsSync(path));
if (CHROMIUM === undefined)
  console.info('no Chromium found: pages are not tried in a browser (set COUNTERSIGN_TEST_CHROMIUM to one)');

export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: CHROMIUM ?? '',
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
  });
}
