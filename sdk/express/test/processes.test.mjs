import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { KEY, Server } from '../../kit/server.mjs';
import { get } from './app.mjs';

const APP = fileURLToPath(new URL('./app.mjs', import.meta.url));
/** What each plan lets an organization do in its period. */
const PLANS = { free: 60, pro: 400, enterprise: 1_500 };

let server;
before(async () => {
  server = await Server.start();
});
after(() => server?.stop());

/** An application in a process of its own. */
async function start(quota) {
  const environment = { PATH: process.env.PATH, METERGATE_URL: server.url, METERGATE_API_KEY: KEY, METERGATE_CHECK: process.env.METERGATE_CHECK ?? '' };
  const child = spawn(process.execPath, [APP, JSON.stringify(quota)], { env: environment, stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = [];
  child.stdout.on('data', (part) => lines.push(...String(part).split('\n').filter(Boolean)));
  while (lines.length === 0) await wait(20);
  const stop = async () => {
    child.kill('SIGTERM');
    const [code] = await once(child, 'exit');
    assert.equal(code, 0);
    return JSON.parse(lines.at(-1));
  };
  return { url: lines[0], stop };
}

/** Asks for all organizations at all applications, more often than any may; counts the answers of each organization. */
async function load(apps, organizations, { width = 6, until }) {
  const seen = Object.fromEntries(organizations.map((one) => [one, { passed: 0, degraded: 0, refused: 0, failed: 0 }]));
  const one = async (app, organization) => {
    for (let n = 0; !until(seen[organization], n); n++) {
      const answer = await get(app, '/ok', organization);
      const counts = seen[organization];
      if (answer.headers.get('x-quota-degraded') === 'true') answer.status === 200 ? counts.degraded++ : counts.failed++;
      else if (answer.status === 200) counts.passed++;
      else if (answer.status === 429) counts.refused++;
      else counts.failed++;
      // Who is refused asks again a little later, as callers do.
      if (answer.status !== 200) await wait(20);
    }
  };
  await Promise.all(apps.flatMap((app) => organizations.flatMap((name) => Array.from({ length: width }, () => one(app, name)))));
  return seen;
}

for (const [name, hold] of [['a round trip each', false], ['held reservations', { holdMs: 200, refusalMs: 10 }]]) {
  test(`two processes with ${name} meet each plan's limit exactly`, async () => {
    const organizations = [];
    for (const [plan, max] of Object.entries(PLANS)) {
      const key = `${plan}-${hold ? 'held' : 'asked'}`;
      await server.organization(key, [['api_calls', 'billingPeriod', max], ['api_calls', 'minute', 100_000]]);
      organizations.push(key);
    }
    // A timeout would be the policy's decision, and this is about Metergate's.
    const apps = [await start({ hold, timeoutMs: 20_000 }), await start({ hold, timeoutMs: 20_000 })];
    const seen = await load(apps, organizations, { until: (counts) => counts.refused >= 150 });
    for (const app of apps) {
      const { dropped, rejected } = await app.stop();
      assert.deepEqual([dropped, rejected], [0, 0]);
    }
    for (const [index, max] of Object.values(PLANS).entries()) {
      const key = organizations[index];
      assert.equal(await server.used(key, 'api_calls'), max, `${key}: ${JSON.stringify(seen[key])}`);
      assert.deepEqual([seen[key].passed, seen[key].failed], [max, 0], key);
    }
  });

  test(`two processes with ${name} go on by policy while the server is killed, and all is recorded once`, async () => {
    const key = `killed-${hold ? 'held' : 'asked'}`;
    await server.organization(key, [['api_calls', 'billingPeriod', 1_000_000]]);
    const apps = [await start({ hold, policy: 'allow', timeoutMs: 300 }), await start({ hold, policy: 'allow', timeoutMs: 300 })];
    let isOver = false;
    const loading = load(apps, [key], { until: () => isOver });
    for (let round = 0; round < 3; round++) {
      await wait(500);
      await server.kill();
      await wait(700);
      await server.startAgain();
    }
    await wait(700);
    isOver = true;
    const seen = (await loading)[key];
    for (const app of apps) {
      const { dropped, rejected } = await app.stop();
      assert.deepEqual([dropped, rejected], [0, 0]);
    }
    assert.ok(seen.degraded > 0 && seen.passed > 0, JSON.stringify(seen));
    assert.deepEqual([seen.refused, seen.failed], [0, 0]);
    assert.equal(await server.used(key, 'api_calls'), seen.passed + seen.degraded);
  });
}
