// The pages in a real browser: what is on them, what they lead to, what can be done with them.
//
//   METERGATE_BROWSER_NODE=FOLDER node run.mjs METERGATE [PART…]
//
// FOLDER has the packages of package.json. Parts are the functions in PARTS; without one, all are run. With METERGATE_BROWSER_SCREENSHOTS, a folder, pictures of every page are kept there.

import { readFileSync } from 'node:fs';
import { crawl } from './crawl.mjs';
import { Person, administer, another, audit, look, overtaken, own, plan, portal, signIn, spent } from './flows.mjs';
import { work } from './keyboard.mjs';
import { address, seed } from './seed.mjs';
import { start } from './server.mjs';
import { visit } from './visit.mjs';
import { Faults, launch, open } from './watch.mjs';

/** All of it may take this long. */
const MINUTES = 20;

/** Who looks at pages, where signing in leads them, and what they must at least be able to reach. */
const READERS = [
  {
    name: 'root',
    home: '/admin',
    pages: ['/admin', '/admin/organizations', '/admin/organizations/acme', '/admin/organizations/globex', '/admin/plans', '/admin/meters',
      '/admin/do/plan', '/admin/do/plan?key=pro', '/admin/prices', '/admin/prices/recompute', '/admin/audit', '/admin/audit/verify', '/admin/keys',
      '/admin/webhooks', '/admin/settings', '/dashboard/settings?org=acme'],
  },
  {
    name: 'owner',
    home: '/portal',
    pages: ['/portal', '/portal/billing', '/organizations/acme/settings', '/organizations/acme/settings/members'],
  },
  { name: 'viewer', home: '/portal', pages: ['/portal', '/portal/billing', '/organizations/acme/settings'] },
  { name: 'locked', home: '/portal', pages: ['/portal', '/portal/billing', '/organizations/globex/settings'] },
];
const OF_ANYBODY = ['/sign-in', '/sign-up', '/setup', '/reset', '/docs'];

const [metergate, ...only] = process.argv.slice(2);
const faults = new Faults();
let passed = 0;

/** One thing that must hold. */
async function check(name, body) {
  const [before, began] = [faults.found.length, Date.now()];
  try {
    await body();
  } catch (error) {
    faults.add(name, error.message);
  }
  const held = faults.found.length === before;
  if (held) passed += 1;
  console.log(`${held ? '✓' : '✗'} ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
}

/** Before there is anybody. */
async function setup(browser, server) {
  const context = await open(browser, server, faults, 'the first');
  await visit(await context.newPage(), faults, 'the first', '/setup');
  await context.close();
}

/** Every page that somebody can reach, in every look. */
async function looked(context, server, { name, pages }) {
  const all = await crawl(context, faults, name, server.url, pages);
  const page = await context.newPage();
  for (const path of all) {
    await check(`${name} sees ${path}`, () => visit(page, faults, name, path));
  }
  await page.close();
}

async function readers(browser, server) {
  for (const reader of READERS) {
    const context = await open(browser, server, faults, reader.name);
    await check(`${reader.name} signs in`, async () => signIn(await context.newPage(), reader.name, reader.home));
    await looked(context, server, reader);
    await context.close();
  }
  const nobody = await open(browser, server, faults, 'nobody');
  await looked(nobody, server, { name: 'nobody', pages: OF_ANYBODY });
  await nobody.close();
  await troubles(browser, server);
}

/** Pages that say that something is not there. */
async function troubles(browser, server) {
  const context = await open(browser, server, faults, 'somebody lost', { expects: [404] });
  const page = await context.newPage();
  await signIn(page, 'viewer', '/portal');
  for (const path of ['/organizations/globex/settings', '/admin', '/portal/nothing']) {
    await check(`somebody lost sees ${path}`, () => visit(page, faults, 'somebody lost', path, { status: 404 }));
  }
  await context.close();
}

/** The portal by a link, and what is left of the link afterwards. */
async function byLink(browser, server) {
  const context = await open(browser, server, faults, 'by a link', { expects: [401, 403, 404] });
  await check('a link opens the portal of one organization', async () => {
    const page = await portal(context, server.api);
    for (const path of ['/portal', '/portal/billing']) await visit(page, faults, 'by a link', path);
  });
  await context.close();
  for (const [name, flow] of [['a link that is over opens nothing', spent], ['a link of another organization leads there alone', another]]) {
    const context = await open(browser, server, faults, name, { expects: [401, 403, 404, 409, 410] });
    await check(name, () => flow(context, server.api));
    await context.close();
  }
}

async function flows(browser, server) {
  for (const script of [true, false]) {
    const how = script ? 'with script' : 'without script';
    const [key, options] = [`flow-${script ? 'with' : 'without'}`, { javaScriptEnabled: script, expects: [412, 422] }];
    await server.api('POST', '/v1/organizations', { key, name: `Flow ${key}`, plan: 'starter' });
    await server.api('POST', '/v1/consume', { organization: key, meter: 'messages', quantity: 1_234 });
    await as(browser, server, 'root', '/admin', options, async (page) => {
      const person = new Person(page, { script });
      await check(`an administrator works, ${how}`, () => administer(person, key, server.api));
      await check(`an administrator reads the audit log, ${how}`, () => audit(person, key));
      await check(`somebody else was quicker, ${how}`, () => overtaken(person, key, server.api));
      await server.api('PUT', `/v1/plans/${key}`, { name: `Plan of ${key}`, features: { sso: true } });
      await check(`a plan is edited in rows, ${how}`, () => plan(person, key, server.api));
    });
    await as(browser, server, 'owner', '/portal', options, (page) => {
      return check(`an owner works, ${how}`, () => own(new Person(page, { script }), 'acme'));
    });
    await as(browser, server, 'viewer', '/portal', options, (page) => {
      return check(`a viewer looks, ${how}`, () => look(new Person(page, { script }), 'acme'));
    });
  }
}

async function keyboard(browser, server) {
  const context = await open(browser, server, faults, 'the keyboard');
  await check('the keyboard is enough', async () => work(await context.newPage(), faults));
  await context.close();
}

async function as(browser, server, name, home, options, body) {
  const context = await open(browser, server, faults, name, options);
  const page = await context.newPage();
  await check(`${name} signs in`, () => signIn(page, name, home));
  await body(page);
  await context.close();
}

/** A page that is open shows what is used meanwhile, and nobody has to load it anew. */
async function live(browser, server) {
  await as(browser, server, 'root', '/admin', {}, (page) => {
    return check('numbers move while traffic runs', async () => {
      await page.goto('/admin/organizations/many-1');
      await page.locator('[data-live][data-state=open]').waitFor();
      await server.api('POST', '/v1/consume', { organization: 'many-1', meter: 'generations', quantity: 17 });
      await page.getByText('17 of 50 generations used').waitFor();
    });
  });
}

/** The organizations of the seed before the parts that change them. */
const PARTS = { readers, byLink, flows, keyboard, live };

const browser = await launch();
const server = await start(metergate);
const timer = setTimeout(() => {
  console.error(`✗ not done within ${MINUTES} minutes`);
  process.exit(1);
}, MINUTES * 60_000);
try {
  if (only.length === 0) await check('the first sees /setup', () => setup(browser, server));
  await seed(server.api);
  for (const [name, part] of Object.entries(PARTS)) {
    if (only.length === 0 || only.includes(name)) await part(browser, server);
  }
} catch (error) {
  faults.add('the run', error.stack);
} finally {
  clearTimeout(timer);
  if (faults.found.length > 0) console.error(readFileSync(server.log, 'utf8').split('\n').slice(-20).join('\n'));
  await browser.close();
  await server.stop();
}
console.log(`test result: ${faults.found.length ? 'FAILED' : 'ok'}. ${passed} passed; ${faults.found.length} faults`);
process.exit(faults.found.length > 0 ? 1 : 0);
