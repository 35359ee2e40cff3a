import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';

import { Metergate } from '@metergate/client';
import { tenantQuota } from '@metergate/express';
import express from 'express';
import express4 from 'express4';

import { faulty, json } from '../../kit/faulty.mjs';
import { KEY, Server } from '../../kit/server.mjs';
import { get, listen } from './app.mjs';

let server;
before(async () => {
  server = await Server.start();
});
after(async () => {
  await server?.stop();
});

/** The rate headers of an answer as they were sent, each with how often. */
async function sent(app, path, organization) {
  const request = http.get(app.url + path, { headers: { 'x-organization': organization } });
  const [response] = await once(request, 'response');
  response.resume();
  const names = response.rawHeaders.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase()).filter((name) => /ratelimit/.test(name));
  return { status: response.statusCode, names: names.sort(), headers: response.headers };
}

test('what is decided from what is held sends the same rate headers, once each, in whatever application the middleware stands', async () => {
  const limits = (meter) => [[meter, 'minute', 10_000], [meter, 'day', 20_000]];
  await server.organization('heads', [...limits('api_calls'), ...limits('messages')]);
  const own = new Metergate({ url: server.url, apiKey: KEY, timeoutMs: 20_000 });
  const quota = { client: own, organization: { header: 'x-organization' }, hold: true };
  const routes = (app) => {
    const inner = express();
    inner.use(tenantQuota({ ...quota, meter: 'messages' }));
    inner.get('/inner', (_, response) => response.json({}));
    app.use(inner);
    app.get('/outer', (_, response) => response.writeHead(200, { 'x-own': '1' }).end());
  };
  const app = await listen(express, { client: own, quota: { ...quota, skip: (request) => request.path === '/outer' }, routes });
  const plain = await listen(express4, { client: own, quota });
  const expected = ['ratelimit', 'ratelimit-policy', ...['limit-day', 'limit-minute', 'remaining-day', 'remaining-minute'].map((name) => `x-ratelimit-${name}`)];
  for (const [on, path, meter] of [[plain, '/ok', 'api_calls'], [app, '/inner', 'messages'], [app, '/outer', 'messages']]) {
    for (let n = 0; n < 12; n++) {
      const { status, names, headers } = await sent(on, path, 'heads');
      assert.deepEqual([status, names], [200, expected], `${path}, request ${n}`);
      const remaining = Number(headers['x-ratelimit-remaining-minute']);
      assert.ok(remaining < 10_000 && remaining > 9_000, `${path}: ${remaining}`);
      assert.ok(headers.ratelimit.startsWith(`"${meter}-minute";r=${remaining};t=`), headers.ratelimit);
      assert.ok(headers['ratelimit-policy'].startsWith(`"${meter}-minute";q=10000;w=60`), headers['ratelimit-policy']);
    }
  }
  await own.close();
  for (const one of [app, plain]) await one.stop();
});

test('meters that callers name are held of within bounds, and beyond them asked one by one', async () => {
  const limit = { window: 'day', enforcement: 'hard', limit: 1e6, used: 0, held: 0, remaining: 1e6, resetsAt: null, violated: false };
  const decided = (body, more) => ({ ...body, allowed: true, reason: null, overage: 0, limits: [limit], ...more });
  let number = 0;
  const proxy = await faulty((request, response, text) => {
    const body = JSON.parse(text);
    const more = request.url === '/v1/reservations' ? { id: `r-${number++}`, state: 'held' } : { id: body.id };
    json(200, decided(body, more))(request, response);
  });
  const own = new Metergate({ url: proxy.url, apiKey: KEY, timeoutMs: 20_000 });
  const app = await listen(express, { client: own, quota: { hold: { holdMs: 25_000 }, meter: (request) => request.query.meter } });
  for (let meter = 0; meter < 100; meter++) {
    for (let n = 0; n < 6; n++) assert.equal((await get(app, `/ok?meter=m-${meter}`, 'acme')).status, 200);
  }
  const held = new Set(proxy.asked.filter(({ path }) => path === '/v1/reservations').map(({ body }) => JSON.parse(body).meter));
  const asked = proxy.asked.filter(({ path }) => path.startsWith('/v1/consume')).map(({ body }) => JSON.parse(body).meter);
  assert.equal(held.size, 32);
  assert.deepEqual([asked.filter((meter) => meter === 'm-40').length, asked.filter((meter) => meter === 'm-99').length], [6, 6]);
  // Those that nobody uses any more make room.
  const brief = await listen(express, { client: own, quota: { hold: { holdMs: 100 }, meter: (request) => request.query.meter } });
  for (let meter = 0; meter < 70; meter++) await get(brief, `/ok?meter=b-${meter}`, 'globex');
  await wait(400);
  for (let n = 0; n < 6; n++) assert.equal((await get(brief, '/ok?meter=later', 'globex')).status, 200);
  assert.ok(proxy.asked.some(({ path, body }) => path === '/v1/reservations' && JSON.parse(body).meter === 'later'));
  await brief.stop();
  await own.close(100);
  await app.stop();
  await proxy.stop();
});
