import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';

import { Metergate } from '@metergate/client';
import { tenantQuota, usageMeter } from '@metergate/express';
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
    const reserved = (one) => decided(one, { id: `r-${number++}`, state: 'held' });
    json(200, Array.isArray(body) ? { data: body.map(reserved) } : decided(body, { id: body.id }))(request, response);
  });
  const own = new Metergate({ url: proxy.url, apiKey: KEY, timeoutMs: 20_000 });
  const app = await listen(express, { client: own, quota: { hold: { holdMs: 25_000 }, meter: (request) => request.query.meter } });
  for (let meter = 0; meter < 100; meter++) {
    for (let n = 0; n < 6; n++) assert.equal((await get(app, `/ok?meter=m-${meter}`, 'acme')).status, 200);
  }
  const reserved = () => proxy.asked.filter(({ path }) => path === '/v1/reservations').flatMap(({ body }) => JSON.parse(body)).filter(({ meter }) => meter !== undefined);
  const held = new Set(reserved().map(({ meter }) => meter));
  const asked = proxy.asked.filter(({ path }) => path.startsWith('/v1/consume')).map(({ body }) => JSON.parse(body).meter);
  assert.equal(held.size, 32);
  assert.deepEqual([asked.filter((meter) => meter === 'm-40').length, asked.filter((meter) => meter === 'm-99').length], [6, 6]);
  // Those that nobody uses any more make room.
  const brief = await listen(express, { client: own, quota: { hold: { holdMs: 100 }, meter: (request) => request.query.meter } });
  for (let meter = 0; meter < 70; meter++) await get(brief, `/ok?meter=b-${meter}`, 'globex');
  await wait(400);
  for (let n = 0; n < 6; n++) assert.equal((await get(brief, '/ok?meter=later', 'globex')).status, 200);
  assert.ok(reserved().some(({ meter }) => meter === 'later'));
  await brief.stop();
  await own.close();
  await app.stop();
  await proxy.stop();
});

/** Leaves before the answer. */
async function leave(app, path) {
  const request = http.get(app.url + path, { headers: { 'x-organization': 'acme' } });
  request.on('error', () => {});
  await wait(150);
  request.destroy();
}

/** An application of these middlewares, that says of what it was asked what `request.metergate` knows. */
async function serve(make, ...guards) {
  const app = make();
  for (const guard of guards) app.use(guard);
  app.get('/ok', (request, response) => response.json({ organization: request.metergate.organization, how: request.metergate.how }));
  app.get('/never', () => {});
  app.get('/cut', (_, response) => void response.write('a part'));
  app.get('/broken', (_, response) => response.status(503).end());
  const listening = app.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const stop = async () => {
    listening.closeAllConnections();
    listening.close();
    await once(listening, 'close');
  };
  return { url: `http://127.0.0.1:${listening.address().port}`, stop };
}

/** What connects middlewares as Express does, without its requests and responses. */
function connect() {
  const [guards, routes] = [[], new Map()];
  const handle = (request, response) => {
    const next = (at) => (at < guards.length ? guards[at](request, response, () => next(at + 1)) : routes.get(request.url)(request, more(response)));
    next(0);
  };
  const more = (response) => {
    response.json = (value) => response.setHeader('content-type', 'application/json').end(JSON.stringify(value));
    response.status = (status) => Object.assign(response, { statusCode: status });
    return response;
  };
  return { use: (guard) => guards.push(guard), get: (path, route) => routes.set(path, route), listen: (...given) => http.createServer(handle).listen(...given) };
}

const late = (_, __, next) => void setTimeout(next, 20);
const patched = (_, response, next) => {
  const before = response._storeHeader;
  response._storeHeader = function (...given) {
    return before.apply(this, given);
  };
  next();
};
for (const [name, make, order] of [
  ['Express 5', express, ['quota', 'meter']],
  ['Express 4', express4, ['quota', 'meter']],
  ['the meter first', express, ['meter', 'quota']],
  ['the meter twice', express, ['quota', 'meter', 'meter']],
  ['the meter on both sides', express, ['meter', 'quota', 'meter']],
  ['something slow between', express, [late, 'quota', late, 'meter']],
  ['somebody else who writes heads', express, [patched, 'quota', 'meter']],
  ['no Express', connect, ['quota', 'meter']],
]) {
  test(`${name}: each request that is decided from what is held is told once with how it ended`, async () => {
    const limit = { window: 'minute', enforcement: 'hard', limit: 1e6, used: 0, held: 0, remaining: 1e6, resetsAt: null, violated: false };
    const said = [];
    const proxy = await faulty((request, response, text) => {
      const body = JSON.parse(text);
      if (request.url.endsWith('/commit')) said.push(body);
      if (request.url.startsWith('/v1/events')) said.push(...body.map(({ type, data }) => ({ type, ...data })));
      const decided = (one) => ({ ...one, allowed: true, reason: null, overage: 0, limits: [limit], id: 'r-1', state: 'held' });
      const reserved = () => (Array.isArray(body) ? { data: body.map(decided) } : decided(body));
      const answer = request.url.startsWith('/v1/events') ? { accepted: body.length, duplicates: 0, rejected: [] } : reserved();
      json(200, answer, { 'x-ratelimit-limit-minute': '1000000', 'x-ratelimit-remaining-minute': '999999' })(request, response);
    });
    const client = new Metergate({ url: proxy.url, apiKey: KEY, timeoutMs: 20_000 });
    const guards = { quota: tenantQuota({ client, organization: { header: 'x-organization' }, hold: { holdMs: 20_000 } }), meter: usageMeter() };
    const app = await serve(make, ...order.map((one) => guards[one] ?? one));
    // The first is asked for, and completed by its id.
    await get(app, '/ok', 'acme');
    for (let n = 0; n < 5; n++) {
      const { status, body, headers } = await get(app, '/ok', 'acme');
      assert.deepEqual([status, body], [200, { organization: 'acme', how: 'held' }]);
      assert.equal(headers.get('x-ratelimit-limit-minute'), '1000000');
    }
    for (let n = 0; n < 2; n++) assert.equal((await get(app, '/broken', 'acme')).status, 503);
    await leave(app, '/never');
    await leave(app, '/cut');
    await wait(100);
    assert.equal(await client.flush(20_000), true);
    const [settled] = said.filter(({ calls }) => calls !== undefined);
    assert.deepEqual([settled.quantity, settled.calls.count, settled.calls.statuses], [9, 9, { 200: 5, 503: 2, 499: 2 }]);
    assert.equal(said.filter(({ type }) => type === 'errors').length, 2);
    await client.close();
    await app.stop();
    await proxy.stop();
  });
}
