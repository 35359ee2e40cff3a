// The keyboard alone.

import { PASSWORD, address } from './seed.mjs';
import { judge } from './visit.mjs';

/** How often the tabulator is pressed on the way to anything. */
const FAR = 200;

/** Presses the tabulator until this has the focus. */
async function tabTo(page, target) {
  await target.waitFor();
  for (let times = 0; times < FAR; times += 1) {
    await page.keyboard.press('Tab');
    if (await target.evaluate((element) => element === document.activeElement)) return seen(target);
  }
  throw new Error(`the tabulator does not reach ${target}`);
}

/** Fails where nothing shows that an element has the focus. */
async function seen(target) {
  const shown = await target.evaluate((element) => {
    const marked = (style) => (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none';
    const hit = element.querySelector('.hit');
    return marked(getComputedStyle(element)) || (hit && getComputedStyle(hit).stroke !== 'none');
  });
  if (!shown) throw new Error(`nothing shows that ${target} has the focus`);
}

/** Signs in, finds an organization, opens a dialog and leaves it, sends one. */
export async function work(page, faults) {
  await page.goto('/sign-in');
  await tabTo(page, page.getByLabel('E-mail address'));
  await page.keyboard.type(address('root'));
  await tabTo(page, page.getByLabel('Password'));
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press('Enter');
  await page.waitForURL('**/admin');

  await tabTo(page, page.getByRole('link', { name: 'Skip to the content' }));
  await page.keyboard.press('Enter');
  await page.goto('/admin');
  await tabTo(page, page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Organizations' }));
  await page.keyboard.press('Enter');
  await page.waitForURL('**/admin/organizations');
  await tabTo(page, page.getByRole('searchbox'));
  await page.keyboard.type('acme');
  await page.keyboard.press('Enter');
  await page.waitForURL('**search=acme**');
  await tabTo(page, page.getByRole('link', { name: 'Acme' }));
  await page.keyboard.press('Enter');
  await page.waitForURL('**/admin/organizations/acme');

  await dialog(page, faults);
  await cycle(page);
  await chart(page);
}

async function dialog(page, faults) {
  const link = page.getByRole('link', { name: 'Set extra quota' });
  await tabTo(page, link);
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog');
  await dialog.waitFor();
  const isInside = () => page.evaluate(() => document.querySelector('dialog').contains(document.activeElement));
  if (!(await isInside())) throw new Error('the focus is not in the dialog that was opened');
  await judge(page, faults, 'the dialog of extra quota');
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  await page.waitForFunction((element) => element === document.activeElement, await link.elementHandle());

  await page.keyboard.press('Enter');
  await dialog.waitFor();
  await dialog.getByLabel(/^Meter/).selectOption('generations');
  await tabTo(page, dialog.getByLabel(/^Extra quota/));
  await page.keyboard.type('50');
  await tabTo(page, dialog.getByLabel(/^Reason/));
  await page.keyboard.type('By keyboard');
  await tabTo(page, dialog.getByRole('button', { name: 'Set extra quota' }));
  await page.keyboard.press('Enter');
  await page.getByText('Extra quota set').waitFor();
}

/** A date, part by part with the arrows; the next resets are shown before anything is sent. */
async function cycle(page) {
  await page.goto('/admin/organizations/acme');
  await tabTo(page, page.getByRole('link', { name: 'Change billing cycle' }));
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog');
  await dialog.waitFor();
  const field = dialog.getByLabel('Billing cycle starts on');
  await field.focus();
  const before = await field.inputValue();
  await dialog.getByRole('heading', { name: 'Preview' }).waitFor();
  const asked = page.waitForResponse((response) => new URL(response.url()).searchParams.has('billingCycleStartDate'));
  await page.keyboard.press('ArrowDown');
  const moved = await field.inputValue();
  if (moved === before) throw new Error(`the arrow does not move the date ${before}`);
  // Leaving the field shows what it would change.
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  await asked;
  await dialog.getByRole('heading', { name: 'Preview' }).waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
}

/** One stop for the tabulator, and from there the arrows; what is focused shows its figures until Escape. */
async function chart(page) {
  await page.goto('/admin/organizations/acme?meter=tokens&by=model&range=30d');
  const points = page.locator('#usage-chart [data-point]');
  const tip = page.locator('#usage-chart .chart-tip');
  await tabTo(page, points.first());
  await tip.waitFor({ state: 'visible' });
  const before = await tip.textContent();
  await page.keyboard.press('ArrowRight');
  if (!(await points.nth(1).evaluate((element) => element === document.activeElement))) throw new Error('the arrow does not move on');
  if ((await tip.textContent()) === before) throw new Error('the next day shows the figures of the one before');
  await page.keyboard.press('End');
  await page.keyboard.press('Escape');
  await tip.waitFor({ state: 'hidden' });
  await page.keyboard.press('Home');
  await tip.waitFor({ state: 'visible' });
  if ((await tip.textContent()) !== before) throw new Error('the first day shows other figures than before');
}
