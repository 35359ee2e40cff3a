import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Metergate, ProblemError, UnreachableError } from '@metergate/client';

import { cut, faulty, json, silence } from '../../kit/faulty.mjs';
import { freePort, KEY, Server } from '../../kit/server.mjs';

let server;
let client;

before(async () => {
  server = await Server.start();
  client = new Metergate({ url: server.url, apiKey: KEY });
});
after(async () => {
  await client?.close();
  await server?.stop();
});

test('a decision is recorded, carries its limits, and the rate headers of its answer', async () => {
  await server.organization('acme', [['api_calls', 'minute', 60], ['api_calls', 'billingPeriod', 100]]);
  const decided = await client.consume({ organization: 'acme', meter: 'api_calls', quantity: 3 });
  assert.equal(decided.allowed, true);
  assert.equal(decided.status, 200);
  assert.equal(decided.reason, null);
  assert.deepEqual(decided.limits.map(({ window, used, remaining }) => [window, used, remaining]), [['minute', 3, 57], ['billingPeriod', 3, 97]]);
  assert.equal(decided.headers['x-ratelimit-remaining-minute'], '57');
  assert.match(decided.headers['ratelimit-policy'], /"api_calls-minute";q=60;w=60/);
  assert.equal(await server.used('acme', 'api_calls'), 3);
});

test('a check records nothing', async () => {
  await server.organization('checked', [['api_calls', 'billingPeriod', 5]]);
  assert.equal((await client.check({ organization: 'checked', meter: 'api_calls', quantity: 5 })).allowed, true);
  assert.equal((await client.check({ organization: 'checked', meter: 'api_calls', quantity: 6 })).allowed, false);
  assert.equal(await server.used('checked', 'api_calls'), 0);
});

test('a refusal is a value with the status that its limit says, and a problem to pass on', async () => {
  await server.organization('full', [['api_calls', 'minute', 1], ['tokens', 'billingPeriod', 10, { status: 402 }]]);
  await client.consume({ organization: 'full', meter: 'api_calls' });
  const late = await client.consume({ organization: 'full', meter: 'api_calls' });
  assert.deepEqual([late.allowed, late.reason, late.status], [false, 'quota-exceeded', 429]);
  assert.ok(late.retryAfterSeconds > 0 && late.retryAfterSeconds <= 61);
  assert.equal(late.headers['retry-after'], String(late.retryAfterSeconds));
  assert.equal(late.problem.code, 'quota-exceeded');
  assert.equal('decision' in late.problem, false);
  const unpaid = await client.consume({ organization: 'full', meter: 'tokens', quantity: 11 });
  assert.equal(unpaid.status, 402);
});

test('a lock is a refusal with 403', async () => {
  await server.organization('locked', [['api_calls', 'billingPeriod', 5]]);
  await server.call('PUT', '/v1/organizations/locked/lock', { reason: 'abuse' });
  const decided = await client.consume({ organization: 'locked', meter: 'api_calls' });
  assert.deepEqual([decided.reason, decided.status], ['organization-locked', 403]);
});

test('decisions are exact where many ask at once', async () => {
  await server.organization('many', [['api_calls', 'billingPeriod', 50]]);
  const decided = await Promise.all(Array.from({ length: 120 }, () => client.consume({ organization: 'many', meter: 'api_calls' })));
  assert.equal(decided.filter((one) => one.allowed).length, 50);
  assert.equal(await server.used('many', 'api_calls'), 50);
});

test('many decisions go at once, a bad one in its place', async () => {
  await server.organization('array', [['api_calls', 'billingPeriod', 1]]);
  const [first, second, third] = await client.consumeMany([
    { organization: 'array', meter: 'api_calls' },
    { organization: 'array', meter: 'nothing' },
    { organization: 'array', meter: 'api_calls' },
  ]);
  assert.equal(first.allowed, true);
  assert.equal(second.code, 'unknown-meter');
  assert.equal(third.allowed, false);
});

test('an error of the API is a typed problem', async () => {
  await assert.rejects(client.consume({ organization: 'acme', meter: 'nothing' }), (error) => {
    assert.ok(error instanceof ProblemError);
    assert.deepEqual([error.status, error.code], [404, 'unknown-meter']);
    return true;
  });
  const stranger = new Metergate({ url: server.url, apiKey: 'mg_wrong' });
  await assert.rejects(stranger.usage('acme'), (error) => error instanceof ProblemError && error.status === 401);
  await stranger.close();
});

test('what is held is committed with the true quantity, extended and released', async () => {
  await server.organization('held', [['tokens', 'billingPeriod', 100]]);
  const held = await client.reserve({ organization: 'held', meter: 'tokens', quantity: 80, ttlSeconds: 60 });
  assert.equal(held.allowed, true);
  const refused = await client.reserve({ organization: 'held', meter: 'tokens', quantity: 30, ttlSeconds: 60 });
  assert.deepEqual([refused.allowed, refused.reason, refused.id], [false, 'quota-exceeded', null]);
  await assert.rejects(async () => refused.release(), /nothing is held/);
  const longer = await held.extend(600);
  assert.ok(Date.parse(longer.decision.expiresAt) > Date.parse(held.decision.expiresAt));
  await held.commit({ quantity: 30, durationMs: 12, status: 200 });
  // Once more is the same: it has its key.
  await held.commit({ quantity: 30, durationMs: 12, status: 200 });
  assert.equal(await server.used('held', 'tokens'), 30);
  const other = await client.reserve({ organization: 'held', meter: 'tokens', quantity: 70, ttlSeconds: 60 });
  await other.release();
  await assert.rejects(other.commit({ quantity: 1 }), (error) => error.code === 'reservation-released');
  assert.equal(await server.used('held', 'tokens'), 30);
});

test('usage, reports, entitlements and portal links are read', async () => {
  const usage = await client.usage('acme');
  assert.equal(usage.organization, 'acme');
  const report = await client.report({ organization: ['acme'], meter: ['api_calls'], granularity: 'total', from: '2020-01-01T00:00:00Z', to: '2100-01-01T00:00:00Z' });
  assert.equal(report.data[0].value, 3);
  assert.ok((await client.entitlements('acme')).limits.length > 0);
  assert.match((await client.portalLink('acme')).url, /\/portal\?token=/);
});

test('a decision with an id is asked again after a cut and counts once', async () => {
  await server.organization('once', [['api_calls', 'billingPeriod', 5]]);
  // The answer is lost after the server has decided.
  const proxy = await faulty(
    async (request, _, body) => {
      await fetch(server.url + request.url, { method: 'POST', headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' }, body });
      cut(request);
    },
    async (request, response, body) => {
      const answer = await fetch(server.url + request.url, { method: 'POST', headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' }, body });
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text());
    },
  );
  const careful = new Metergate({ url: proxy.url, apiKey: KEY });
  const decided = await careful.consume({ organization: 'once', meter: 'api_calls', id: 'request-1' });
  assert.equal(decided.allowed, true);
  assert.equal(proxy.asked.length, 2);
  assert.equal(await server.used('once', 'api_calls'), 1);
  await careful.close();
  await proxy.stop();
});

test('without an id what may have been done is not asked again, and says so', async () => {
  const proxy = await faulty(cut);
  const careful = new Metergate({ url: proxy.url, apiKey: KEY });
  await assert.rejects(careful.consume({ organization: 'once', meter: 'api_calls' }), (error) => {
    assert.ok(error instanceof UnreachableError);
    assert.equal(error.outcomeUnknown, true);
    return true;
  });
  assert.equal(proxy.asked.length, 1);
  await careful.close();
  await proxy.stop();
});

test('a server that is not there is unreachable, and nothing can have been done', async () => {
  const nobody = new Metergate({ url: `http://127.0.0.1:${await freePort()}`, timeoutMs: 200 });
  await assert.rejects(nobody.consume({ organization: 'acme', meter: 'api_calls' }), (error) => {
    assert.ok(error instanceof UnreachableError);
    assert.equal(error.outcomeUnknown, false);
    return true;
  });
  await nobody.close();
});

test('silence ends at the deadline, also where it would be asked again', async () => {
  const proxy = await faulty(silence);
  const careful = new Metergate({ url: proxy.url, timeoutMs: 150 });
  const began = performance.now();
  await assert.rejects(careful.consume({ organization: 'a', meter: 'b', id: 'c' }), /no answer within 150 ms/);
  assert.ok(performance.now() - began < 2_000);
  const ending = new AbortController();
  const asked = careful.check({ organization: 'a', meter: 'b' }, { timeoutMs: 10_000, signal: ending.signal });
  ending.abort();
  await assert.rejects(asked, /aborted/);
  await assert.rejects(careful.check({ organization: 'a', meter: 'b' }, { signal: ending.signal }), /aborted before it began/);
  await careful.close();
  await proxy.stop();
});

test('Retry-After is waited for where a repetition is safe, and is in the error where there is no time', async () => {
  const busy = json(503, { code: 'unavailable', detail: 'later' }, { 'retry-after': '1' });
  const fine = json(200, { allowed: true, limits: [] });
  const proxy = await faulty(busy, fine);
  const careful = new Metergate({ url: proxy.url, timeoutMs: 5_000 });
  const began = performance.now();
  assert.equal((await careful.consume({ organization: 'a', meter: 'b', id: 'c' })).allowed, true);
  assert.ok(performance.now() - began >= 1_000);
  await careful.close();
  await proxy.stop();
  const always = await faulty(busy);
  const hasty = new Metergate({ url: always.url, timeoutMs: 300 });
  await assert.rejects(hasty.consume({ organization: 'a', meter: 'b', id: 'c' }), (error) => error.status === 503 && error.retryAfterSeconds === 1);
  assert.equal(always.asked.length, 1);
  await hasty.close();
  await always.stop();
});

test('an answer that is no problem document is an error all the same', async () => {
  const proxy = await faulty((_, response) => response.writeHead(502, { 'content-type': 'text/html' }).end('<html>bad gateway</html>'));
  const careful = new Metergate({ url: proxy.url });
  await assert.rejects(careful.consume({ organization: 'a', meter: 'b' }), (error) => error.status === 502 && /bad gateway/.test(error.detail));
  await careful.close();
  await proxy.stop();
});

test('a settlement that another one forestalled counts nothing more, and is told', async () => {
  await server.organization('settled', [['tokens', 'billingPeriod', 100]]);
  const dropped = [];
  const own = new Metergate({ url: server.url, apiKey: KEY, onDropped: ([what], why) => dropped.push([what.settlement.quantity, why]) });
  const held = await own.reserve({ organization: 'settled', meter: 'tokens', quantity: 10, ttlSeconds: 60 });
  await held.commit({ quantity: 5 });
  await own.settlements.commit(held, { quantity: 6 });
  await own.flush();
  assert.equal(await server.used('settled', 'tokens'), 5);
  assert.equal(dropped[0][0], 6);
  await own.close();
});

test('what is not settled when the client closes is told once, and tried no more', async (t) => {
  const held = json(200, { allowed: true, id: '01980000-0000-7000-8000-000000000001', limits: [] });
  const away = await faulty(held, json(503, { code: 'unavailable', title: 'Later' }));
  t.after(() => away.stop());
  const dropped = [];
  const own = new Metergate({ url: away.url, timeoutMs: 200, onDropped: ([what], why) => dropped.push([what.settlement.quantity, why.split(':')[0]]) });
  const reservation = await own.reserve({ organization: 'a', meter: 'b', quantity: 10, ttlSeconds: 60 });
  const open = own.settlements.commit(reservation, { quantity: 5 });
  await own.close(300);
  await Promise.all([open, own.settlements.commit(reservation, { quantity: 6 })]);
  assert.deepEqual(dropped, [[5, 'not settled within 300 ms of closing'], [6, 'not settled after closing']]);
  const asked = away.asked.length;
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.equal(away.asked.length, asked);
});

test('what lapsed before it was committed is recorded all the same', async () => {
  await server.organization('lapsed', [['tokens', 'billingPeriod', 100]]);
  const held = await client.reserve({ organization: 'lapsed', meter: 'tokens', quantity: 10, ttlSeconds: 1 });
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  await client.settlements.commit(held, { quantity: 7 });
  await client.flush();
  assert.equal(await server.used('lapsed', 'tokens'), 7);
});

test('what lapsed counts on its meter alone, whatever the type and the property are that this counts', async () => {
  await server.call('PUT', '/v1/meters/pages', { aggregation: 'sum', eventType: 'document', valueProperty: 'pages' });
  await server.call('PUT', '/v1/meters/documents', { aggregation: 'count', eventType: 'document' });
  await server.organization('reading', [['pages', 'billingPeriod', 100], ['documents', 'billingPeriod', 100]]);
  const rejected = client.stats().rejected;
  for (const [meter, quantity] of [['pages', 7], ['documents', 3]]) {
    const held = await client.reserve({ organization: 'reading', meter, quantity: 10, ttlSeconds: 1 });
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    await client.settlements.commit(held, { quantity });
  }
  await client.flush();
  assert.deepEqual([await server.used('reading', 'pages'), await server.used('reading', 'documents'), client.stats().rejected], [7, 3, rejected]);
});

test('who is told of errors ends nothing by one of their own', async () => {
  const proxy = await faulty(cut, json(404, { code: 'not-found', detail: 'gone' }));
  const own = new Metergate({ url: proxy.url, apiKey: KEY, onError: () => { throw new Error('mine'); } });
  const held = await client.reserve({ organization: 'lapsed', meter: 'tokens', quantity: 1, ttlSeconds: 60 });
  const { byCall } = await import('../dist/esm/reservation.js');
  const elsewhere = new held.constructor(byCall(own.transport), held.decision);
  await own.settlements.commit(elsewhere, { quantity: 1 });
  await own.close(50);
  await held.release();
  await proxy.stop();
});
