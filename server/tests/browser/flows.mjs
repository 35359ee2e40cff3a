// What people do, through the forms that they see: once in the dialogs that script makes of them, once on pages without it.

import { PASSWORD, address } from './seed.mjs';
import { judge } from './visit.mjs';

/** Signs somebody in by address and password, and waits for the page that this leads to. */
export async function signIn(page, name, to) {
  await page.goto('/sign-in');
  await page.getByLabel('E-mail address').fill(address(name));
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL((url) => url.pathname === to);
}

/** Somebody at a browser, with script or without. */
export class Person {
  constructor(page, { script }) {
    this.page = page;
    this.script = script;
  }

  /** Where a form is: in a dialog, or on a page of its own. */
  get form() {
    return this.script ? this.page.getByRole('dialog') : this.page.locator('main');
  }

  /** Follows a link to a form. */
  async ask(link) {
    await this.page.getByRole('link', { name: link }).first().click();
    await this.form.locator('form').first().waitFor();
  }

  /** Fills fields by their labels. */
  async fill(fields) {
    for (const [label, value] of Object.entries(fields)) {
      const field = this.form.getByLabel(new RegExp(`^${label}`)).first();
      const kind = await field.evaluate((element) => element.type);
      if (kind === 'select-one') await field.selectOption(value);
      else if (kind === 'checkbox') await field.setChecked(value);
      else await field.fill(value);
    }
  }

  async send() {
    await this.form.locator('form button[type=submit]').first().click();
  }

  /** Does what a link offers, and waits until it is said to be done. */
  async act(link, fields, said) {
    await this.ask(link);
    await this.fill(fields);
    await this.send();
    // Of all words on the page that may be the same only these come afterwards.
    await this.page.getByRole('status').filter({ hasText: said }).first().waitFor();
  }

  /** Waits until a text is shown. */
  async sees(text) {
    await this.page.getByText(text).first().waitFor();
  }

  /** Fails where a text is shown. */
  async seesNo(role, name) {
    const many = await this.page.getByRole(role, { name }).count();
    if (many > 0) throw new Error(`${name} is shown`);
  }
}

const reason = 'Asked for by their manager';

/** A platform administrator's work on one organization. Both passes do it on an organization of their own. */
export async function administer(person, key, api) {
  const { page } = person;
  const top = `/admin/organizations/${key}`;
  await page.goto('/admin/organizations');
  await page.getByRole('searchbox').fill(key);
  await page.getByRole('button', { name: 'Search' }).click();
  await page.getByRole('link', { name: `Flow ${key}` }).click();
  await page.waitForURL(`**${top}`);

  await person.act('Set extra quota', { Meter: 'messages', 'Extra quota': '250', Reason: reason }, 'Extra quota set');
  await person.act('Grant credit', { Meter: 'messages', Amount: '75', Reason: reason }, 'Credit granted');
  await changed(person);
  await person.act('Override a limit', { Meter: 'conversations', Limit: '4321', Reason: reason }, 'Limit overridden');
  await person.sees('4,321');
  await page.goto(top);
  await person.act('Reset quota', { Reason: reason }, 'Usage reset');
  const { meters } = await api('GET', `/v1/organizations/${key}/usage?numbers=string`);
  const messages = meters.find((meter) => meter.meter === 'messages');
  if (messages.used !== '0' || messages.limit !== '100325') throw new Error(`messages: ${JSON.stringify(messages)}`);

  await page.goto(top);
  await person.act(/^Lock$/, { Reason: reason }, 'Organization locked');
  await person.sees('Account locked');
  await person.act(/^Unlock$/, { Reason: reason }, 'Organization unlocked');

  // What is wrong is said at its field, and what was typed is kept.
  await page.goto(`${top}/limits`);
  await person.ask('Grant credit');
  await person.fill({ Meter: 'messages', Amount: '0', Reason: reason });
  await person.send();
  await person.form.locator('[aria-invalid=true]').first().waitFor();
  const kept = await person.form.getByLabel(/^Reason/).inputValue();
  if (kept !== reason) throw new Error(`the reason was lost: ${kept}`);
}

/** Another plan: what it changes is shown before anything is sent. */
async function changed(person) {
  await person.ask('Change plan');
  await person.form.getByText('Choose another plan to see what it changes.').waitFor();
  await person.fill({ Plan: 'pro' });
  if (!person.script) await person.form.getByRole('button', { name: 'Preview' }).click();
  await person.form.getByText('Pro, version 1').waitFor();
  const messages = person.form.locator('.changes div').filter({ hasText: 'Messages, billing period' });
  const words = (await messages.textContent()).replace(/\s+/g, ' ').trim();
  if (!words.includes('10,000 messages → 100,000 messages')) throw new Error(`the plan would change ${words}`);
  if (person.page.url().includes('csrf=')) throw new Error('what proves a form stands in the address');
  await person.fill({ Reason: reason });
  await person.send();
  await person.sees('Plan changed');
}

/** How high what stands above a page may be on a phone, in pixels. */
const HIGH = 64;

/** A narrow screen: the places are behind one button, which needs no script. */
export async function phone(person, found) {
  const { page, script } = person;
  const before = page.viewportSize();
  await page.setViewportSize({ width: 360, height: 740 });
  await page.goto('/admin');
  const { height } = await page.locator('.side').boundingBox();
  if (height > HIGH) throw new Error(`what stands above the page takes ${height} pixels`);
  const [menu, places] = [page.getByRole('button', { name: 'Menu' }), page.getByRole('navigation', { name: 'Pages' })];
  if (await places.isVisible()) throw new Error('the menu is open before anybody has asked for it');
  await menu.focus();
  await page.keyboard.press('Enter');
  await places.getByRole('link', { name: 'Overview' }).waitFor();
  if (script) await judge(page, found, 'root with the menu open', [{ width: 360, height: 740 }]);
  await page.keyboard.press('Escape');
  await places.waitFor({ state: 'hidden' });
  if (!(await menu.evaluate((element) => element === document.activeElement))) throw new Error('the focus is not on the button again');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  const link = places.getByRole('link', { name: 'Organizations' });
  if (!(await link.evaluate((element) => element === document.activeElement))) throw new Error('the tabulator does not lead into the menu');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/admin/organizations');
  if (before) await page.setViewportSize(before);
}

/** The audit log, found by a filter, and verified. */
export async function audit(person, key) {
  const { page } = person;
  await page.goto('/admin/audit');
  await page.getByLabel('Organization').fill(key);
  await page.getByLabel('Action').fill('quota.grant');
  await page.getByRole('button', { name: 'Search' }).click();
  await person.sees(reason);
  await person.sees(/set the extra quota of Messages from 0 messages to 250 messages/);
  await page.goto('/admin/audit');
  await page.getByRole('link', { name: 'Verify' }).click();
  await person.sees('Every chain is whole.');
}

/** An owner's own organization: its cycle, its members. */
export async function own(person, key) {
  const { page } = person;
  const top = `/organizations/${key}/settings`;
  await page.goto(top);
  await person.seesNo('link', 'Reset Quota');
  await person.ask('Change Billing Cycle');
  await person.sees('The quota counter will not be reset immediately.');
  await person.sees('Current billing period');
  await person.fill({ 'Billing cycle starts on': new Date(Date.now() - 5 * 86_400_000).toISOString().slice(0, 10) });
  await person.send();
  await person.sees('Billing cycle updated');
  await page.goto(`${top}/members`);
  await person.ask('Invite somebody');
  await person.fill({ 'E-mail address': `someone-${person.script}@example.com`, Role: 'editor' });
  await person.send();
  const link = await page.locator('input[readonly]').inputValue();
  if (!link.includes('/join?token=')) throw new Error(`the invitation leads to ${link}`);
  await page.goto(`${top}/members`);
  await invited(person, `someone-${person.script}@example.com`, link);
  await page.goto(`${top}/members`);
  await person.act(/^Change Viewer/, { Role: 'editor' }, 'Member changed');
  await person.act(/^Change Viewer/, { Role: 'viewer' }, 'Member changed');
}

/** Who is invited is listed, gets another link, and is invited no more. */
async function invited(person, who, link) {
  const { page } = person;
  const members = page.url();
  await person.sees('Link works until');
  await person.ask(`Send again to ${who}`);
  await person.send();
  const again = await page.locator('input[readonly]').inputValue();
  if (!again.includes('/join?token=') || again === link) throw new Error(`the other link is ${again}`);
  await page.goto(members);
  await person.act(`Withdraw the invitation of ${who}`, { Reason: reason }, 'Invitation withdrawn');
  await person.seesNo('link', `Send again to ${who}`);
}

/** What is taken away asks for a reason, which the audit log shows. */
export async function removed(person, key, api) {
  const { page } = person;
  await api('PUT', `/v1/meters/${key}`, { name: `Meter ${key}`, aggregation: 'sum' });
  await page.goto('/admin/meters');
  await person.ask(`Delete Meter ${key}`);
  await person.form.getByLabel(/^Reason/).fill(' ');
  await person.send();
  await person.form.locator('[aria-invalid=true]').first().waitFor();
  const why = `${reason}: ${key}`;
  await person.fill({ Reason: why });
  await person.send();
  await person.sees('Meter deleted');
  await page.goto('/admin/audit');
  await person.sees(why);
  await page.goto('/admin/settings');
  await person.ask('Add an administrator');
  await person.fill({ 'E-mail address': `${key}@example.com` });
  await person.send();
  await page.locator('input[readonly]').waitFor();
  await page.goto('/admin/settings');
  await person.sees('the link works until');
  await person.act(`Withdraw ${key}@example.com`, { Reason: reason }, 'Administrator removed');
}

/** A viewer, who may look and nothing else. */
export async function look(person, key) {
  const { page } = person;
  await page.goto(`/organizations/${key}/settings`);
  await person.seesNo('link', 'Change Billing Cycle');
  await person.seesNo('link', 'Reset Quota');
  const refused = await page.request.get(`/organizations/${key}/settings/do/cycle`, { maxRedirects: 0 });
  if (refused.status() < 400) throw new Error(`a viewer is shown how to move the cycle: ${refused.status()}`);
  const other = await page.request.get('/organizations/globex/settings', { maxRedirects: 0 });
  if (other.status() !== 404) throw new Error(`another organization is ${other.status()}`);
}

/** A plan, edited in rows: with script they come and go at once. */
export async function plan(person, key, api) {
  const { page, script } = person;
  await page.goto(`/admin/do/plan?key=${key}`);
  const rows = page.locator('[data-rows=limits] [data-row]');
  const before = await rows.count();
  for (const expected of [before + 1, before + 2]) {
    await page.getByRole('button', { name: 'Add a limit' }).click();
    await page.waitForFunction((count) => document.querySelectorAll('[data-rows=limits] > [data-row]').length === count, expected);
  }
  const [first, second] = [before + 1, before + 2].map((number) => page.getByRole('group', { name: `Limit ${number}` }));
  // The first of them is not wanted after all.
  if (script) await first.getByRole('button', { name: 'Remove' }).click();
  await second.getByLabel('Meter').selectOption('generations');
  await second.getByLabel('Window').selectOption('month');
  await page.getByRole('button', { name: 'Add a feature' }).click();
  const feature = page.locator('[data-rows=features] > [data-row]').last();
  await feature.getByLabel('Name').fill('seats');
  await feature.getByLabel('Value').fill('25');
  await second.getByLabel(/^Limit/).fill('12');
  await page.getByRole('button', { name: 'Save as a new version' }).last().click();
  await person.sees('Plan saved as a new version');
  const saved = await api('GET', `/v1/plans/${key}`);
  const limit = saved.limits.at(-1);
  const found = JSON.stringify([saved.limits.length - before, limit.meter, limit.window, limit.max, saved.features.seats]);
  if (found !== '[1,"generations","month",12,25]') throw new Error(`the plan became ${JSON.stringify(saved)}`);
}

/** Somebody else was quicker: what is there now is shown, and what was typed is kept. */
export async function overtaken(person, key, api) {
  const { page } = person;
  await page.goto(`/admin/organizations/${key}`);
  await person.ask('Edit');
  await api('PATCH', `/v1/organizations/${key}`, { name: 'Renamed meanwhile' });
  await person.fill({ Name: 'Renamed here' });
  await person.send();
  await person.sees('Somebody changed this');
  await person.form.locator('.changes').getByText('Renamed meanwhile').waitFor();
  if ((await person.form.getByLabel(/^Name/).inputValue()) !== 'Renamed here') throw new Error('what was typed is lost');
  await person.send();
  await person.sees('Changes saved');
}

/** The session ends while a dialog is open: it says so where it can be read, and once somebody is signed in again it is sent. */
export async function signedOut(person, key) {
  const { page } = person;
  await page.goto(`/admin/organizations/${key}/limits`);
  await person.ask('Grant credit');
  await person.fill({ Meter: 'messages', Amount: '7', Reason: reason });
  await page.context().clearCookies();
  for (let tries = 0; tries < 2; tries += 1) {
    await person.send();
    const said = person.form.getByRole('alert').filter({ hasText: 'You are signed out' });
    await said.waitFor();
    await said.getByRole('button', { name: 'Close' }).click();
    await said.waitFor({ state: 'detached' });
  }
  const other = await page.context().newPage();
  await signIn(other, 'root', '/admin');
  await other.close();
  await person.send();
  await person.sees('Credit granted');
}

/** What a plan would have refused, worked out. */
export async function replayed(page) {
  await page.goto('/admin/what-if?plan=starter');
  await page.getByLabel(/^Messages/).first().fill('100');
  await page.getByRole('button', { name: 'Replay' }).click();
  await workedOut(page, page.getByText(/would have refused/).first());
}

/** What past use would cost by other prices, worked out. */
export async function pricedAgain(page) {
  await page.goto('/admin/prices/recompute');
  await page.getByRole('button', { name: 'Show what would change' }).click();
  await workedOut(page, page.getByText('Nothing is changed yet.'));
}

/** Looks again until an answer is there. */
async function workedOut(page, answer) {
  const again = page.getByRole('link', { name: 'Look again' });
  for (let tries = 0; tries < 20; tries += 1) {
    await answer.or(again).first().waitFor();
    if (await answer.isVisible()) return;
    await page.waitForTimeout(500);
    await again.click();
  }
  throw new Error('it was not worked out in time');
}

/** Links that open nothing: one whose time is over, and one that was used. */
export async function spent(context, api) {
  const page = await context.newPage();
  const over = await api('POST', '/v1/organizations/acme/portal-sessions', { expiresInSeconds: 1 });
  const used = await api('POST', '/v1/organizations/acme/portal-sessions', {});
  await opened(page, used);
  await page.waitForURL((now) => now.pathname === '/portal');
  await context.clearCookies();
  await new Promise((later) => setTimeout(later, 1_500));
  for (const link of [over, used]) {
    await opened(page, link);
    await page.getByText(/used already|is over|no longer/).first().waitFor();
    await page.goto('/portal');
    if (new URL(page.url()).pathname !== '/sign-in') throw new Error('a link that is over has opened the portal');
  }
}

/** Whoever opens another organization's link is in that one, and no longer in the first. */
export async function another(context, api) {
  const page = await context.newPage();
  for (const [key, name] of [['acme', 'Acme'], ['globex', 'Globex Corporation']]) {
    await opened(page, await api('POST', `/v1/organizations/${key}/portal-sessions`, {}));
    await page.waitForURL((now) => now.pathname === '/portal');
    await page.getByRole('heading', { name, level: 1 }).waitFor();
  }
  const left = await page.request.get('/portal?org=acme', { maxRedirects: 0 });
  if (left.status() !== 404) throw new Error(`the organization that was left is ${left.status()}`);
}

/** Opens a link: by itself with script, unless somebody is signed in. */
async function opened(page, { url }) {
  await page.goto(new URL(url).pathname + new URL(url).search);
  const button = page.getByRole('button', { name: 'Open' });
  if (await button.count()) await button.first().click({ timeout: 2_000 }).catch(() => {});
}

/** What a link into the portal opens, once, and nothing else. */
export async function portal(context, api) {
  const page = await context.newPage();
  const { url } = await api('POST', '/v1/organizations/acme/portal-sessions', {});
  await page.goto(new URL(url).pathname + new URL(url).search);
  const open = page.getByRole('button');
  if (await open.count()) await open.first().click();
  await page.waitForURL((now) => now.pathname === '/portal');
  await page.getByText('Messages').first().waitFor();
  const other = await page.request.get('/portal?org=globex', { maxRedirects: 0 });
  if (other.ok()) throw new Error('the portal of another organization opens');
  return page;
}
