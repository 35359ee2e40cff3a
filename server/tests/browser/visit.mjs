// Looks at a page in both themes, wide and narrow.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { AxeBuilder } from './packages.mjs';

const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
const LOOKS = [
  { theme: 'light', width: 1280, height: 900 },
  { theme: 'dark', width: 1280, height: 900 },
  { theme: 'dark', width: 360, height: 740 },
  { theme: 'light', width: 360, height: 740 },
];
/**
 * A page of more elements than this has most of its articles taken out before axe looks at it: /docs has some 27,000, of which axe
 * takes minutes a look, even of those that are hidden. Its operations are all rendered by the same code, so the first two of each
 * section stand for the others. No other page comes near it, and how wide a page is, is always judged of the whole.
 */
const LARGE = 10_000;
const OF_A_SECTION = 2;
/** How much of a page stands in a picture, in pixels. */
const TALLEST = 12_000;
/** Where pictures go, if they are wanted. */
const SCREENSHOTS = process.env.METERGATE_BROWSER_SCREENSHOTS;

/** Opens a page and judges it. */
export async function visit(page, faults, name, path, { status = 200 } = {}) {
  const answer = await page.goto(path, { waitUntil: 'load' });
  if (answer.status() !== status) faults.add(`${name} ${path}`, `is ${answer.status()} and not ${status}`);
  await judge(page, faults, `${name} ${path}`);
}

/** Judges what a page shows now, in every look. */
export async function judge(page, faults, place) {
  // What is folded is judged too.
  await page.evaluate(() => document.querySelectorAll('details').forEach((details) => (details.open = true)));
  if (await page.evaluate((large) => document.querySelectorAll('*').length > large, LARGE)) {
    for (const look of LOOKS) await fit(page, faults, place, look);
    const left = await page.evaluate(thin, OF_A_SECTION);
    if (left > LARGE) faults.add(place, `has ${left} elements even without most of its articles`);
  }
  for (const look of LOOKS) {
    await fit(page, faults, place, look);
    await axe(page, faults, named(place, look));
    await picture(page, `${place} ${look.width} ${look.theme}`);
  }
}

const named = (place, { theme, width }) => `${place} (${theme}, ${width})`;

/** Puts a page into a look; it must fit the screen. */
async function fit(page, faults, place, look) {
  await page.emulateMedia({ colorScheme: look.theme, reducedMotion: 'reduce' });
  await page.setViewportSize({ width: look.width, height: look.height });
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
  const wide = await page.evaluate(tooWide);
  if (wide) faults.add(named(place, look), `scrolls sideways: ${wide}`);
}

/** Leaves the first articles of each section, and says how many elements are left. Runs in the page. */
function thin(most) {
  for (const section of document.querySelectorAll('section')) {
    [...section.querySelectorAll(':scope > article')].slice(most).forEach((article) => article.remove());
  }
  return document.querySelectorAll('*').length;
}

async function axe(page, faults, look) {
  const { violations } = await new AxeBuilder({ page }).withTags(TAGS).setLegacyMode(true).analyze();
  for (const violation of violations) {
    for (const node of violation.nodes) {
      const [summary] = node.failureSummary.split('\n').slice(1);
      faults.add(look, `${violation.id} (${violation.help}): ${node.target.join(' ')}: ${summary?.trim()}`);
    }
  }
}

/** What is wider than the screen, if anything is. Runs in the page. */
function tooWide() {
  const { scrollWidth, clientWidth } = document.documentElement;
  if (scrollWidth <= clientWidth) return undefined;
  // What a part of the page scrolls within itself is no trouble.
  const isWithin = (element) => {
    for (let at = element.parentElement; at && at !== document.body; at = at.parentElement) {
      if (getComputedStyle(at).overflowX !== 'visible') return true;
    }
    return false;
  };
  const over = [...document.body.querySelectorAll('*')].filter((element) => {
    return element.getBoundingClientRect().right > clientWidth + 0.5 && !isWithin(element);
  });
  const named = over.slice(-3).map((element) => `${element.tagName.toLowerCase()}.${element.getAttribute('class') ?? ''}`);
  return `${scrollWidth} of ${clientWidth} pixels, by ${named.join(', ')}`;
}

/** Keeps a picture of the whole page. */
export async function picture(page, name) {
  if (!SCREENSHOTS) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  const file = `${name.replace(/[^a-z0-9]+/gi, '-').replace(/^-|-$/g, '')}.png`;
  const [width, height] = await page.evaluate(() => [document.documentElement.clientWidth, document.documentElement.scrollHeight]);
  const clip = { x: 0, y: 0, width, height: Math.min(height, TALLEST) };
  await page.screenshot({ path: join(SCREENSHOTS, file), fullPage: true, clip, animations: 'disabled' });
}
