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
/** Folded parts of a page that are unfolded, and how much of a page stands in a picture, in pixels: browsers end with larger ones. */
const UNFOLDED = 40;
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
  // What is folded is judged too; of hundreds that are alike, as operations of the API are, some.
  await page.evaluate((most) => [...document.querySelectorAll('details')].slice(0, most).forEach((details) => (details.open = true)), UNFOLDED);
  for (const { theme, width, height } of LOOKS) {
    const look = `${place} (${theme}, ${width})`;
    await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
    await page.setViewportSize({ width, height });
    await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
    const wide = await page.evaluate(tooWide);
    if (wide) faults.add(look, `scrolls sideways: ${wide}`);
    await axe(page, faults, look);
    await picture(page, `${place} ${width} ${theme}`);
  }
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
