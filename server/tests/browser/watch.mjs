// A browser whose every misstep is written down: errors on the console (a breach of the content policy is one), requests to
// elsewhere, answers that are errors.

import { chromium } from './packages.mjs';

/** The time that anything on a page may take. */
const PATIENCE = 30_000;

/** Debian's Chromium, asking nobody for updates. */
export function launch() {
  return chromium.launch({
    executablePath: '/usr/bin/chromium',
    timeout: 60_000,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--force-color-profile=srgb',
    ],
  });
}

/** What is wrong, each under the name of where it was seen. */
export class Faults {
  #found = [];
  #seen = new Set();

  /** Writes one down, once. */
  add(place, what) {
    const line = `${place}: ${what}`;
    if (this.#seen.has(line)) return;
    this.#seen.add(line);
    this.#found.push(line);
    console.log(`✗ ${line}`);
  }

  get found() {
    return this.#found;
  }

  /** What one thing finds, which may happen beside others: each is written down here as well. */
  within() {
    const part = { count: 0 };
    part.add = (place, what) => {
      part.count += 1;
      this.add(place, what);
    };
    return part;
  }
}

/** A new person's browser, signed in where `storageState` is given. `expects` has the statuses of errors that are meant. */
export async function open(browser, server, faults, name, options = {}) {
  const { expects = [], ...rest } = options;
  const context = await browser.newContext({ baseURL: server.url, reducedMotion: 'reduce', ...rest });
  context.setDefaultTimeout(PATIENCE);
  context.setDefaultNavigationTimeout(2 * PATIENCE);
  const where = (page) => `${name} at ${page ? new URL(page.url()).pathname : 'no page'}`;
  const isMeant = (status) => expects.includes(status);
  context.on('console', (message) => {
    if (message.type() !== 'error') return;
    // A failed load is told with its status by the answer below.
    if (/^Failed to load resource/.test(message.text())) return;
    faults.add(where(message.page()), `console: ${message.text()}`);
  });
  context.on('weberror', (error) => faults.add(where(error.page()), `script: ${error.error().message}`));
  context.on('request', (request) => {
    const url = new URL(request.url());
    if (url.protocol.startsWith('http') && url.origin !== server.url) faults.add(name, `asks another origin: ${url}`);
  });
  context.on('response', (response) => {
    if (response.status() < 400 || isMeant(response.status())) return;
    faults.add(name, `${response.request().method()} ${response.url()}: ${response.status()}`);
  });
  return context;
}
