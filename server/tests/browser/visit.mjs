// Looks at a page in both themes, wide and narrow.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { AxeBuilder } from './packages.mjs';

const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
/** The rules that a theme can break alone, where it changes nothing but colours. */
const OF_COLOURS = ['color-contrast', 'link-in-text-block'];
/** Widths, each in both themes: the light one comes first, and is judged by every rule. */
const SIZES = [
  { width: 1280, height: 900 },
  { width: 360, height: 740 },
];
const THEMES = ['light', 'dark'];
/** A page of more elements than this is one that nobody reads: it is to be folded, or to be several. */
const LARGE = 10_000;
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

/** Judges what a page shows now, in every look. It is loaded once: the looks follow from its size and its theme. */
export async function judge(page, faults, place, sizes = SIZES) {
  // What is folded is judged too.
  const elements = await page.evaluate(() => {
    document.querySelectorAll('details').forEach((details) => (details.open = true));
    return document.querySelectorAll('*').length;
  });
  if (elements > LARGE) return faults.add(place, `has ${elements} elements: fold it, or make several pages of it`);
  for (const size of sizes) {
    let before;
    for (const theme of THEMES) {
      const look = { ...size, theme };
      await fit(page, faults, place, look);
      // Where a theme shows something else, or puts it elsewhere, colours are not all that is new.
      const layout = await page.evaluate(laidOut);
      await axe(page, faults, named(place, look), layout === before ? OF_COLOURS : undefined);
      before = layout;
      await picture(page, `${place} ${look.width} ${look.theme}`);
    }
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

/** What is where, as a text that differs where anything does. Runs in the page. */
function laidOut() {
  const parts = [];
  for (const element of document.querySelectorAll('*')) {
    const { x, y, width, height } = element.getBoundingClientRect();
    parts.push(element.tagName, Math.round(x), Math.round(y), Math.round(width), Math.round(height));
  }
  return parts.join(' ');
}

/** Judges by the rules that are named, else by all. */
async function axe(page, faults, look, rules) {
  const builder = new AxeBuilder({ page }).setLegacyMode(true).options({ resultTypes: ['violations'] });
  const { violations } = await (rules ? builder.withRules(rules) : builder.withTags(TAGS)).analyze();
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
