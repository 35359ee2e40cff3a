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
let client;
before(async () => {
  server = await Server.start();
  client = new Metergate({ url: server.url, apiKey: KEY, timeoutMs: 20_000 });
});
after(async () => {
  await client?.close();
  await server?.stop();
});

/** What a report says of an organization's meter over all time. */
async function reported(organization, meter) {
  const { data } = await server.call('GET', `/v1/usage?organization=${organization}&meter=${meter}&granularity=total&from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z&durations=true`);
  return data[0];
}
const events = async (organization, meter) => (await server.call('GET', `/v1/events?organization=${organization}&meter=${meter}&limit=200`)).data;

for (const [name, framework] of [['Express 5', express], ['Express 4', express4]]) {
  test(`${name}: what is allowed passes with rate headers, what is not is a 429 problem`, async () => {
    const organization = name.replace(' ', '-').toLowerCase();
    await server.organization(organization, [['api_calls', 'minute', 2], ['api_calls', 'day', 100]]);
    const app = await listen(framework, { client });
    const first = await get(app, '/ok', organization);
    assert.deepEqual([first.status, first.body], [200, { ok: true }]);
    assert.equal(first.headers.get('x-ratelimit-limit-minute'), '2');
    assert.equal(first.headers.get('x-ratelimit-remaining-minute'), '1');
    assert.equal(first.headers.get('x-ratelimit-remaining-day'), '99');
    assert.match(first.headers.get('ratelimit'), /"api_calls-minute";r=1/);
    await get(app, '/ok', organization);
    const late = await get(app, '/ok', organization);
    assert.equal(late.status, 429);
    assert.equal(late.headers.get('content-type'), 'application/problem+json');
    assert.equal(late.headers.get('cache-control'), 'no-store');
    assert.equal(late.headers.get('x-ratelimit-remaining-minute'), '0');
    assert.ok(Number(late.headers.get('retry-after')) > 0);
    assert.deepEqual([late.body.status, late.body.code, late.body['violated-policies']], [429, 'quota-exceeded', ['api_calls-minute']]);
    assert.equal(await server.used(organization, 'api_calls'), 2);
    await app.stop();
  });
}

test('a limit may say 402, a lock is 403, a plan without the meter 403', async () => {
  await server.organization('unpaid', [['api_calls', 'billingPeriod', 1, { status: 402 }]]);
  const app = await listen(express, { client });
  await get(app, '/ok', 'unpaid');
  assert.equal((await get(app, '/ok', 'unpaid')).status, 402);
  await server.call('PUT', '/v1/organizations/unpaid/lock', { reason: 'abuse' });
  const locked = await get(app, '/ok', 'unpaid');
  assert.deepEqual([locked.status, locked.body.code], [403, 'organization-locked']);
  await app.stop();
});

test('one request is one call in the figures, with its duration and how it ended', async () => {
  await server.organization('figures', [['api_calls', 'billingPeriod', 1_000]]);
  const app = await listen(express, { client, routes: (app) => app.get('/slow', (_, response) => setTimeout(() => response.status(201).end(), 60)) });
  for (let n = 0; n < 5; n++) await get(app, '/ok', 'figures');
  assert.equal((await get(app, '/slow', 'figures')).status, 201);
  assert.equal((await get(app, '/broken', 'figures')).status, 500);
  await wait(50);
  assert.equal(await client.flush(), true);
  const row = await reported('figures', 'api_calls');
  assert.deepEqual([row.value, row.count], [7, 7]);
  const seen = await events('figures', 'api_calls');
  assert.equal(seen.length, 7);
  assert.deepEqual(seen.map(({ status }) => status).sort(), [200, 200, 200, 200, 200, 201, 500]);
  assert.ok(seen.find(({ status }) => status === 201).durationMs >= 55);
  assert.equal((await reported('figures', 'errors')).value, 1);
  assert.equal(client.stats().rejected, 0);
  await app.stop();
});

test('with held reservations one request is one call, too, and durations and statuses are told', async () => {
  await server.organization('held-figures', [['api_calls', 'billingPeriod', 100_000]]);
  const own = new Metergate({ url: server.url, apiKey: KEY, timeoutMs: 20_000 });
  const app = await listen(express, { client: own, quota: { hold: { holdMs: 300 } } });
  for (let n = 0; n < 40; n++) assert.equal((await get(app, '/ok', 'held-figures')).status, 200);
  await wait(50);
  await own.close();
  const row = await reported('held-figures', 'api_calls');
  assert.deepEqual([row.value, row.count, row.durations.count], [40, 40, 40]);
  const seen = await events('held-figures', 'api_calls');
  assert.ok(seen.length < 40, `${seen.length} records`);
  const told = seen.map(({ status, calls }) => (status === 200 ? 1 : (calls.statuses['200'] ?? 0)));
  assert.equal(told.reduce((sum, one) => sum + one, 0), 40);
  assert.deepEqual([own.stats().rejected, own.stats().dropped], [0, 0]);
  await app.stop();
});

test('a caller who leaves is recorded as 499', async () => {
  await server.organization('left', [['api_calls', 'billingPeriod', 1_000]]);
  const app = await listen(express, { client, routes: (app) => app.get('/never', () => {}) });
  const request = http.get(`${app.url}/never`, { headers: { 'x-organization': 'left' } });
  request.on('error', () => {});
  await wait(300);
  request.destroy();
  await wait(100);
  await client.flush();
  assert.deepEqual((await events('left', 'api_calls')).map(({ status }) => status), [499]);
  await app.stop();
});

test('an estimate is reserved, and what was truly used is committed; what is never said is given back', async () => {
  await server.organization('tokens', [['tokens', 'billingPeriod', 1_000]]);
  const seen = [];
  const held = async () => (await server.call('GET', '/v1/organizations/tokens/usage')).meters.find(({ meter }) => meter === 'tokens').held;
  /** It is settled after the response, which comes before. */
  const settled = async () => {
    for (let waited = 0; (await held()) > 0 && waited < 250; waited++) await wait(20);
  };
  const routes = (app) => {
    app.get('/chat', async (request, response) => {
      seen.push(await held());
      request.metergate.used(120, { model: 'gpt-4o', inputTokens: 100, outputTokens: 20 });
      response.json({ ok: true });
    });
    app.get('/silent', (_, response) => response.json({ ok: true }));
  };
  const app = await listen(express, { client, quota: { meter: 'tokens', estimate: 600 }, routes });
  const answer = await get(app, '/chat', 'tokens');
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get('ratelimit'), /^"tokens-billingPeriod";r=400;t=\d+$/);
  assert.deepEqual(seen, [600]);
  await settled();
  assert.equal((await get(app, '/silent', 'tokens')).status, 200);
  await settled();
  assert.equal(await server.used('tokens', 'tokens'), 120);
  const large = await listen(express, { client, quota: { meter: 'tokens', estimate: 900 } });
  const refused = await get(large, '/ok', 'tokens');
  assert.deepEqual([refused.status, refused.body.code], [429, 'quota-exceeded']);
  assert.equal(await held(), 0);
  await app.stop();
  await large.stop();
});

test('a handler may reserve another meter, and what it does not commit is given back', async () => {
  await server.organization('both', [['api_calls', 'billingPeriod', 10], ['tokens', 'billingPeriod', 100]]);
  const routes = (app) =>
    app.get('/work', async (request, response) => {
      const [kept, left] = [await request.metergate.reserve('tokens', 40), await request.metergate.reserve('tokens', 50)];
      assert.ok(kept.allowed && left.allowed);
      await kept.commit({ quantity: 33 });
      response.end();
    });
  const app = await listen(express, { client, routes });
  await get(app, '/work', 'both');
  await wait(50);
  await client.flush();
  assert.equal(await server.used('both', 'tokens'), 33);
  const { meters } = await server.call('GET', '/v1/organizations/both/usage');
  assert.equal(meters.find(({ meter }) => meter === 'tokens').held, 0);
  await app.stop();
});

test('organization, meter, quantity and name come from the request; some use nothing', async () => {
  await server.organization('own', [['messages', 'billingPeriod', 100], ['api_calls', 'billingPeriod', 100]]);
  const quota = {
    organization: async (request) => request.query.org,
    meter: (request) => (request.path === '/ok' ? 'messages' : 'api_calls'),
    quantity: (request) => Number(request.query.n ?? 1),
    id: (request) => request.get('x-request'),
    skip: (request) => request.query.free === '1',
  };
  const app = await listen(express, { client, quota });
  await get(app, '/ok?org=own&n=7', undefined, { 'x-request': 'r-1' });
  await get(app, '/ok?org=own&n=7', undefined, { 'x-request': 'r-1' });
  await get(app, '/ok?org=own&free=1');
  await get(app, '/broken?org=own');
  assert.deepEqual([await server.used('own', 'messages'), await server.used('own', 'api_calls')], [7, 1]);
  await app.stop();
});

test('a session may name the organization', async () => {
  await server.organization('seated', [['api_calls', 'billingPeriod', 5]]);
  const app = express();
  app.use((request, _, next) => {
    request.session = { tenant: 'seated' };
    next();
  });
  app.use(tenantQuota({ client, organization: { session: 'tenant' } }));
  app.get('/ok', (_, response) => response.end('ok'));
  const listening = app.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const answer = await fetch(`http://127.0.0.1:${listening.address().port}/ok`);
  assert.equal(answer.status, 200);
  assert.equal(await server.used('seated', 'api_calls'), 1);
  listening.closeAllConnections();
  listening.close();
});

test('nobody, and an organization that is not known, are told so with 403', async () => {
  const app = await listen(express, { client });
  const nobody = await get(app, '/ok');
  assert.deepEqual([nobody.status, nobody.body.code], [403, 'no-organization']);
  const unknown = await get(app, '/ok', 'nowhere');
  assert.deepEqual([unknown.status, unknown.body.code], [403, 'unknown-organization']);
  await app.stop();
});

test('a wrong key or an unknown meter is an error of the application, whatever the policy', async () => {
  await server.organization('plain', [['api_calls', 'billingPeriod', 5]]);
  const stranger = new Metergate({ url: server.url, apiKey: 'mg_wrong' });
  const app = await listen(express, { client: stranger, quota: { policy: 'allow' } });
  assert.equal((await get(app, '/ok', 'plain')).status, 500);
  const other = await listen(express, { client, quota: { meter: 'nothing', policy: 'allow' } });
  assert.match((await get(other, '/ok', 'plain')).body.error, /unknown-meter/);
  await app.stop();
  await other.stop();
  await stranger.close(10);
});

test('without Metergate the policy of the meter decides, says so, and recording catches up', async (t) => {
  const dropped = [];
  const late = await Server.start();
  t.after(() => late.stop());
  // Its limit is below what will pass: that is used all the same.
  await late.organization('caught-up', [['api_calls', 'billingPeriod', 1]]);
  const away = new Metergate({ url: late.url, apiKey: KEY, timeoutMs: 2_000, onDropped: (items, why) => dropped.push([why, items]) });
  const app = (policy) => listen(express, { client: away, quota: { policy, meter: 'api_calls' } });
  const denies = await app('deny');
  // While it is there the names of its policies are learnt.
  assert.equal((await get(denies, '/ok', 'caught-up')).status, 200);
  await wait(50);
  await away.flush();
  await late.kill();
  const [allows, safe, other] = [await app({ api_calls: 'allow' }), await app({ safe: 2 }), await app({ tokens: 'allow' })];
  t.after(() => Promise.all([away.close(10), ...[denies, allows, safe, other].map((one) => one.stop())]));
  const denied = await get(denies, '/ok', 'caught-up');
  assert.deepEqual([denied.status, denied.body.code, denied.headers.get('x-quota-degraded')], [503, 'unavailable', 'true']);
  assert.ok(Number(denied.headers.get('retry-after')) > 0);
  assert.match(denied.body.type, /#temporary-reduced-capacity$/);
  assert.match(denied.body.instance, /^urn:request:[0-9a-f-]{36}$/);
  assert.deepEqual([denied.body.status, denied.body['violated-policies']], [503, ['api_calls-billingPeriod']]);
  assert.equal((await get(other, '/ok', 'caught-up')).status, 503);
  const allowed = await get(allows, '/ok', 'caught-up');
  assert.deepEqual([allowed.status, allowed.headers.get('x-quota-degraded')], [200, 'true']);
  const statuses = [];
  for (let n = 0; n < 4; n++) statuses.push((await get(safe, '/ok', 'caught-up')).status);
  // A minute may begin between two of them.
  assert.ok(statuses.filter((status) => status === 200).length >= 2 && statuses.includes(503), statuses.join());
  const passed = 2 + statuses.filter((status) => status === 200).length;
  await late.startAgain();
  assert.equal(await away.flush(20_000), true);
  assert.equal(await late.used('caught-up', 'api_calls'), passed, JSON.stringify([dropped, away.stats()]));
  const { data } = await late.call('GET', '/v1/events?organization=caught-up&meter=api_calls');
  assert.deepEqual(data.map(({ durationMs, status }) => [typeof durationMs, status]), Array.from({ length: passed }, () => ['number', 200]));
});

test('a caller who leaves uses what the handler then says, estimated or not', async () => {
  await server.organization('gone', [['tokens', 'billingPeriod', 1_000]]);
  let done;
  const worked = new Promise((resolve) => (done = resolve));
  const routes = (app) =>
    app.get('/long', async (request) => {
      await once(request.res, 'close');
      await wait(50);
      request.metergate.used(130);
      done();
    });
  const app = await listen(express, { client, quota: { meter: 'tokens', estimate: 600 }, routes });
  const request = http.get(`${app.url}/long`, { headers: { 'x-organization': 'gone' } });
  request.on('error', () => {});
  await wait(500);
  request.destroy();
  await worked;
  await client.flush();
  const { meters } = await server.call('GET', '/v1/organizations/gone/usage');
  const { used, held } = meters.find(({ meter }) => meter === 'tokens');
  assert.deepEqual([used, held], [130, 0]);
  await app.stop();
});

test('a caller who leaves before the answer leaves nothing held', async () => {
  await server.organization('early', [['tokens', 'billingPeriod', 1_000]]);
  let reached = 0;
  const slow = {
    settings: client.settings,
    settlements: client.settlements,
    reserve: async (...given) => {
      const reservation = await client.reserve(...given);
      await wait(300);
      return reservation;
    },
  };
  const app = await listen(express, { client: slow, quota: { meter: 'tokens', estimate: 600 }, routes: (app) => app.get('/late', () => reached++) });
  const request = http.get(`${app.url}/late`, { headers: { 'x-organization': 'early' } });
  request.on('error', () => {});
  await wait(150);
  request.destroy();
  await wait(500);
  await client.flush();
  const { meters } = await server.call('GET', '/v1/organizations/early/usage');
  assert.deepEqual([meters.find(({ meter }) => meter === 'tokens').held, reached], [0, 0]);
  await app.stop();
});

test('a request that is sent again under its id counts once, also where quantity is held', async () => {
  await server.organization('again', [['api_calls', 'billingPeriod', 100_000]]);
  const own = new Metergate({ url: server.url, apiKey: KEY, timeoutMs: 20_000 });
  const app = await listen(express, { client: own, quota: { hold: true, id: (request) => request.get('x-request') } });
  for (let n = 0; n < 12; n++) await get(app, '/ok', 'again');
  for (let n = 0; n < 5; n++) await get(app, '/ok', 'again', { 'x-request': 'same' });
  await own.close();
  assert.equal(await server.used('again', 'api_calls'), 13);
  await app.stop();
});

test('a quantity that is no number is an error, not one', async () => {
  await server.organization('numbers', [['api_calls', 'billingPeriod', 100]]);
  for (const hold of [false, true]) {
    const app = await listen(express, { client, quota: { hold, quantity: (request) => Number(request.headers['x-size']) } });
    assert.match((await get(app, '/ok', 'numbers')).body.error, /not a number/);
    await app.stop();
  }
  assert.equal(await server.used('numbers', 'api_calls'), 0);
});

test('a route may have a quota of its own: both decisions are completed, and an error counts once', async () => {
  await server.organization('route', [['api_calls', 'billingPeriod', 100], ['messages', 'billingPeriod', 100]]);
  const routes = (app) =>
    app.get('/send', tenantQuota({ client, organization: { header: 'x-organization' }, meter: 'messages' }), usageMeter(), (_, response) => response.status(503).end());
  const app = await listen(express, { client, routes });
  assert.equal((await get(app, '/send', 'route')).status, 503);
  await wait(50);
  await client.flush();
  for (const meter of ['api_calls', 'messages']) assert.deepEqual((await events('route', meter)).map(({ status }) => status), [503], meter);
  assert.equal((await reported('route', 'errors')).value, 1);
  await app.stop();
});

test('an answer that the application gave meanwhile stands, and nothing ends the process', async () => {
  const proxy = await faulty((_, response) => setTimeout(() => json(503, { code: 'unavailable' })(_, response), 200));
  const away = new Metergate({ url: proxy.url, apiKey: KEY, timeoutMs: 1_000 });
  const app = express();
  app.use((_, response, next) => {
    setTimeout(() => response.status(504).end('late'), 50);
    next();
  });
  app.use(tenantQuota({ client: away, organization: () => 'acme' }));
  const listening = app.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const answer = await fetch(`http://127.0.0.1:${listening.address().port}/`);
  assert.equal(answer.status, 504);
  await wait(400);
  listening.closeAllConnections();
  listening.close();
  await away.close(10);
  await proxy.stop();
});

test('while Metergate is away requests are decided by policy without asking it, but for one at a time', async () => {
  const proxy = await faulty(json(503, { code: 'unavailable' }));
  const away = new Metergate({ url: proxy.url, apiKey: KEY, enabled: false });
  const app = await listen(express, { client: away, quota: { policy: 'allow' } });
  for (let n = 0; n < 30; n++) assert.equal((await get(app, '/ok', 'acme')).status, 200);
  const asked = proxy.asked.filter(({ path }) => path.startsWith('/v1/consume')).length;
  // Each of the first few is repeated, as it has an id.
  assert.ok(asked >= 3 && asked < 25, `asked ${asked} times`);
  await app.stop();
  await away.close(10);
  await proxy.stop();
});
