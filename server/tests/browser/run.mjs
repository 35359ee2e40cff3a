// The pages in a real browser: what is on them, what they lead to, what can be done with them.
//
//   METERGATE_BROWSER_NODE=FOLDER node run.mjs METERGATE [PART…]
//
// FOLDER has the packages of package.json. Parts are the functions in PARTS; without one, all are run. With METERGATE_BROWSER_SCREENSHOTS, a folder, pictures of every page are kept there.

import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { crawl } from './crawl.mjs';
import { Person, administer, another, audit, look, overtaken, own, phone, plan, portal, pricedAgain, removed, replayed, signIn, signedOut, spent } from './flows.mjs';
import { work } from './keyboard.mjs';
import { address, seed } from './seed.mjs';
import { start } from './server.mjs';
import { judge, visit } from './visit.mjs';
import { Faults, launch, open } from './watch.mjs';

/** All of it may take this long. */
const MINUTES = 15;
/** How many pages are looked at beside each other: each is a process of the browser's, and there is the server besides. */
const BESIDE = Math.max(2, Math.min(availableParallelism(), 6));

/** Who looks at pages, where signing in leads them, and what they must at least be able to reach. */
const READERS = [
  {
    name: 'root',
    home: '/admin',
    pages: ['/admin', '/admin/organizations', '/admin/organizations/acme', '/admin/organizations/globex', '/admin/organizations/initech',
      '/admin/organizations/acme/do/plan?plan=pro', '/admin/audit?organization=acme',
      '/admin/organizations/globex/subscription', '/admin/stripe', '/admin/plans', '/admin/meters',
      '/admin/do/plan', '/admin/do/plan?key=pro', '/admin/prices', '/admin/prices/recompute', '/admin/audit', '/admin/audit/verify', '/admin/keys',
      '/admin/webhooks', '/admin/settings', '/dashboard/settings?org=acme'],
  },
  {
    name: 'owner',
    home: '/portal',
    pages: ['/portal', '/portal/billing', '/organizations/acme/settings', '/organizations/acme/settings/members'],
  },
  { name: 'viewer', home: '/portal', pages: ['/portal', '/portal/billing', '/organizations/acme/settings'] },
  { name: 'aged', home: '/portal', pages: ['/portal', '/portal/billing', '/organizations/initech/settings'] },
  { name: 'locked', home: '/portal', pages: ['/portal', '/portal/billing', '/organizations/globex/settings'] },
];
const OF_ANYBODY = ['/sign-in', '/sign-up', '/setup', '/reset', '/docs', '/docs/deciding', '/docs/documented-paths', '/docs/schemas', '/docs/schemas/Problem'];

const [metergate, ...only] = process.argv.slice(2);
const faults = new Faults();
let passed = 0;

/** One thing that must hold; `body` is given where to say what does not. */
async function check(name, body) {
  const [own, began] = [faults.within(), Date.now()];
  try {
    await body(own);
  } catch (error) {
    own.add(name, error.message);
  }
  if (own.count === 0) passed += 1;
  console.log(`${own.count ? '✗' : '✓'} ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
}

/** Does all of these, some beside each other, each in its turn. */
async function beside(jobs) {
  const waiting = [...jobs];
  const work = async () => {
    for (let job = waiting.shift(); job; job = waiting.shift()) await job();
  };
  await Promise.all(Array.from({ length: BESIDE }, work));
}

/** Before there is anybody. */
async function setup(browser, server, found) {
  const context = await open(browser, server, faults, 'the first');
  await visit(await context.newPage(), found, 'the first', '/setup');
  await context.close();
}

/** A look at each page that somebody can reach, as jobs. */
async function looked(context, server, { name, pages }) {
  const all = await crawl(context, faults, name, server.url, pages);
  return all.map((path) => () => check(`${name} sees ${path}`, (found) => sight(context, found, name, path)));
}

/** Tabs that nobody uses now, by whose they are. In a tab that has judged before, axe is compiled already. */
const idle = new Map();

/** Does something in a tab that is used again, unless that went wrong. */
async function inTab(context, body) {
  const tabs = idle.get(context) ?? [];
  idle.set(context, tabs);
  const page = tabs.pop() ?? (await context.newPage());
  try {
    await body(page);
    // What a page follows it follows no more.
    await page.goto('about:blank');
    tabs.push(page);
  } catch (error) {
    await page.close();
    throw error;
  }
}

/** Looks at a page. */
async function sight(context, found, name, path, options) {
  await inTab(context, (page) => visit(page, found, name, path, options));
}

/** What somebody has had worked out, as jobs. */
function workedOut(context) {
  return [['a replay', replayed], ['prices again', pricedAgain]].map(([name, work]) => () => {
    return check(`root sees ${name}`, (found) => {
      return inTab(context, async (page) => {
        await work(page);
        await judge(page, found, `root ${name}`);
      });
    });
  });
}

async function readers(browser, server) {
  const contexts = [];
  const opened = async (name, options) => {
    contexts.push(await open(browser, server, faults, name, options));
    return contexts.at(-1);
  };
  const all = READERS.map((reader) => async () => {
    const context = await opened(reader.name);
    await check(`${reader.name} signs in`, () => enter(context, reader.name, reader.home));
    return [...(await looked(context, server, reader)), ...(reader.name === 'root' ? workedOut(context) : [])];
  });
  const nobody = async () => looked(await opened('nobody'), server, { name: 'nobody', pages: OF_ANYBODY });
  const lost = async () => troubles(await opened('somebody lost', { expects: [404] }));
  const jobs = await Promise.all([...all, nobody, lost].map((start) => start()));
  await beside([...jobs.flat(), ...byLink(browser, server)]);
  await Promise.all(contexts.map((context) => context.close()));
}

async function enter(context, name, home) {
  const page = await context.newPage();
  await signIn(page, name, home);
  await page.close();
}

/** Pages that say that something is not there. */
async function troubles(context) {
  await enter(context, 'viewer', '/portal');
  return ['/organizations/globex/settings', '/admin', '/portal/nothing'].map((path) => () => {
    return check(`somebody lost sees ${path}`, (found) => sight(context, found, 'somebody lost', path, { status: 404 }));
  });
}

/** The portal by a link, and what is left of the link afterwards, as jobs. */
function byLink(browser, server) {
  const job = (name, expects, flow) => async () => {
    const context = await open(browser, server, faults, name, { expects });
    await check(name, (found) => flow(context, server.api, found));
    await context.close();
  };
  const sees = async (context, api, found) => {
    const page = await portal(context, api);
    for (const path of ['/portal', '/portal/billing']) await visit(page, found, 'by a link', path);
  };
  return [
    job('a link opens the portal of one organization', [401, 403, 404], sees),
    job('a link that is over opens nothing', [401, 403, 404, 409, 410], spent),
    job('a link of another organization leads there alone', [401, 403, 404, 409, 410], another),
  ];
}

/** With script and without: administrators' work, each on an organization of its own; after it what is done to one that they share. */
async function flows(browser, server) {
  const ways = [true, false].map((script) => ({
    script,
    how: script ? 'with script' : 'without script',
    options: { javaScriptEnabled: script, expects: [412, 422] },
  }));
  await beside([...ways.map((way) => () => administrators(browser, server, way)), () => live(browser, server)]);
  for (const { script, how, options } of ways) {
    await as(browser, server, 'owner', '/portal', options, (page) => {
      return check(`an owner works, ${how}`, () => own(new Person(page, { script }), 'acme'));
    });
    await as(browser, server, 'viewer', '/portal', options, (page) => {
      return check(`a viewer looks, ${how}`, () => look(new Person(page, { script }), 'acme'));
    });
  }
}

async function administrators(browser, server, { script, how, options }) {
  const key = script ? 'scripted' : 'plain';
  await server.api('POST', '/v1/organizations', { key, name: `Flow ${key}`, plan: 'starter' });
  await server.api('POST', '/v1/consume', { organization: key, meter: 'messages', quantity: 1_234 });
  await as(browser, server, 'root', '/admin', options, async (page) => {
    const person = new Person(page, { script });
    await check(`an administrator works, ${how}`, () => administer(person, key, server.api));
    await check(`an administrator reads the audit log, ${how}`, () => audit(person, key));
    await check(`an administrator is on the phone, ${how}`, (found) => phone(person, found));
    await check(`somebody else was quicker, ${how}`, () => overtaken(person, key, server.api));
    if (script) await check('a session ends while a dialog is open', () => signedOut(person, key));
    await server.api('PUT', `/v1/plans/${key}`, { name: `Plan of ${key}`, features: { sso: true } });
    await check(`a plan is edited in rows, ${how}`, () => plan(person, key, server.api));
    await check(`what is taken away asks why, ${how}`, () => removed(person, key, server.api));
  });
}

async function keyboard(browser, server) {
  const context = await open(browser, server, faults, 'the keyboard');
  await check('the keyboard is enough', async (found) => work(await context.newPage(), found));
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

/** The organizations of the seed are looked at before the parts that change them. */
const PARTS = { readers, flows, keyboard };

const browser = await launch();
const server = await start(metergate);
const timer = setTimeout(() => {
  console.error(`✗ not done within ${MINUTES} minutes`);
  process.exit(1);
}, MINUTES * 60_000);
try {
  if (only.length === 0) await check('the first sees /setup', (found) => setup(browser, server, found));
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
