import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Metergate } from '@metergate/client';

import { cut, faulty, json, silence, taken } from '../../kit/faulty.mjs';
import { KEY, Server } from '../../kit/server.mjs';

let server;
before(async () => {
  server = await Server.start();
  for (const key of ['acme', 'poison', 'killed']) await server.organization(key, []);
});
after(() => server?.stop());

/** The events of a batch that a faulty server was asked to take. */
const events = (asked) => asked.flatMap(({ body }) => JSON.parse(body));
const ids = (asked) => events(asked).map(({ id }) => id);
const named = (count) => Array.from({ length: count }, (_, n) => `e-${n}`);

test('usage is recorded in the background, once per id, with all that was said', async () => {
  const client = new Metergate({ url: server.url, apiKey: KEY });
  client.record({ organization: 'acme', meter: 'tokens', quantity: 120, id: 'one', source: '/api', time: new Date(), properties: { model: 'gpt-4o' }, durationMs: 83.4, status: 200 });
  client.record({ organization: 'acme', meter: 'tokens', quantity: 120, id: 'one', source: '/api' });
  client.record({ organization: 'acme', meter: 'tokens', quantity: '7' });
  assert.equal(await client.flush(), true);
  assert.deepEqual(client.stats(), { queued: 0, sent: 3, dropped: 0, rejected: 0 });
  assert.equal(await server.used('acme', 'tokens'), 127);
  const { data } = await server.call('GET', '/v1/events?organization=acme&meter=tokens&source=/api');
  assert.deepEqual([data[0].id, data[0].durationMs, data[0].status, data[0].properties?.model ?? data[0].data?.model], ['one', 83, 200, 'gpt-4o']);
  await client.close();
});

test('events go in their order, in batches, when there are enough or the interval is over', async () => {
  const proxy = await faulty(taken);
  const client = new Metergate({ url: proxy.url, batchSize: 3, flushIntervalMs: 200 });
  for (const id of named(7)) client.record({ organization: 'a', meter: 'b', id });
  await new Promise((resolve) => setTimeout(resolve, 100));
  await new Promise((resolve) => setTimeout(resolve, 400));
  assert.deepEqual(proxy.asked.map(({ body }) => JSON.parse(body).length), [3, 3, 1]);
  assert.deepEqual(ids(proxy.asked), named(7));
  assert.match(proxy.asked[0].headers['content-type'], /^application\/cloudevents-batch\+json/);
  client.record({ organization: 'a', meter: 'b', id: 'late' });
  assert.equal(client.stats().queued, 1);
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.equal(client.stats().sent, 8);
  await client.close();
  await proxy.stop();
});

test('a batch that fails is sent again with the same ids, before what came later', async () => {
  const errors = [];
  const proxy = await faulty(cut, json(503, { code: 'unavailable' }), (_, response) => response.writeHead(200).end('garbage'), taken);
  const client = new Metergate({ url: proxy.url, batchSize: 2, flushIntervalMs: 50, onError: (error) => errors.push(error.name) });
  for (const id of named(3)) client.record({ organization: 'a', meter: 'b', id });
  for (let waited = 0; client.stats().queued > 0 && waited < 100; waited++) await new Promise((resolve) => setTimeout(resolve, 100));
  assert.deepEqual(ids(proxy.asked.slice(0, 4)), ['e-0', 'e-1', 'e-0', 'e-1', 'e-0', 'e-1', 'e-0', 'e-1']);
  assert.deepEqual(ids(proxy.asked.slice(4)), ['e-2']);
  assert.deepEqual(errors, ['UnreachableError', 'ProblemError', 'MetergateError']);
  assert.deepEqual(client.stats(), { queued: 0, sent: 3, dropped: 0, rejected: 0 });
  await client.close();
  await proxy.stop();
});

test('Retry-After holds the next attempt back', async () => {
  const proxy = await faulty(json(429, { code: 'too-many-requests' }, { 'retry-after': '1' }), taken);
  const client = new Metergate({ url: proxy.url, batchSize: 1 });
  const began = performance.now();
  client.record({ organization: 'a', meter: 'b' });
  for (let waited = 0; client.stats().queued > 0 && waited < 100; waited++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(performance.now() - began >= 1_000);
  await client.close();
  await proxy.stop();
});

test('what is not taken for what it says is told and holds up nothing', async () => {
  const dropped = [];
  const client = new Metergate({ url: server.url, apiKey: KEY, onDropped: (lost, why) => dropped.push([lost[0].id, why.split(':')[0]]) });
  client.record({ organization: 'poison', meter: 'api_calls', id: 'good-1' });
  client.record({ organization: 'poison', meter: 'no_such_meter', id: 'bad' });
  client.record({ organization: 'poison', meter: 'api_calls', quantity: 'much', id: 'worse' });
  client.record({ organization: 'poison', meter: 'api_calls', id: 'good-2' });
  assert.equal(await client.flush(), true);
  assert.deepEqual(client.stats(), { queued: 0, sent: 2, dropped: 0, rejected: 2 });
  assert.deepEqual(dropped, [['bad', 'unknown-meter'], ['worse', 'invalid-quantity']]);
  assert.equal(await server.used('poison', 'api_calls'), 2);
  await client.close();
});

test('a batch that is refused whole is sent in smaller ones until the bad event is alone', async () => {
  const bad = (_, response, body) => {
    const all = JSON.parse(body);
    if (all.some(({ id }) => id === 'e-5')) json(413, { code: 'payload-too-large', detail: 'too large' })(_, response);
    else taken(_, response, body);
  };
  const proxy = await faulty(bad);
  const client = new Metergate({ url: proxy.url, batchSize: 8 });
  for (const id of named(8)) client.record({ organization: 'a', meter: 'b', id });
  assert.equal(await client.flush(), true);
  assert.deepEqual(client.stats(), { queued: 0, sent: 7, dropped: 0, rejected: 1 });
  await client.close();
  await proxy.stop();
});

test('memory is bounded: beyond it the newest are dropped, counted and told', async () => {
  const lost = [];
  const proxy = await faulty(silence);
  const client = new Metergate({ url: proxy.url, maxQueued: 5, batchSize: 2, timeoutMs: 60_000, onDropped: (some, why) => lost.push([some[0].id, why]) });
  for (const id of named(7)) client.record({ organization: 'a', meter: 'b', id });
  assert.deepEqual([client.stats().queued, client.stats().dropped], [5, 2]);
  assert.deepEqual(lost, [['e-5', '5 events wait already'], ['e-6', '5 events wait already']]);
  await client.close(50);
  assert.deepEqual(client.stats(), { queued: 0, sent: 0, dropped: 7, rejected: 0 });
  await proxy.stop();
});

test('what waits is bounded by its size, too', async () => {
  const lost = [];
  const proxy = await faulty(silence);
  const client = new Metergate({ url: proxy.url, maxQueuedSize: 2_000, batchSize: 100, timeoutMs: 60_000, onDropped: (some, why) => lost.push([some[0].id, why]) });
  const large = { text: 'x'.repeat(700) };
  for (const id of named(4)) client.record({ organization: 'a', meter: 'b', id, properties: large });
  client.record({ organization: 'a', meter: 'b', id: 'small' });
  assert.deepEqual([client.stats().queued, client.stats().dropped], [3, 2]);
  assert.deepEqual(lost.map(([id]) => id), ['e-2', 'e-3']);
  assert.match(lost[0][1], /^\d+ characters wait already$/);
  await client.close(50);
  await proxy.stop();
  assert.throws(() => new Metergate({ maxQueuedSize: 0 }), /maxQueuedSize must be a whole number/);
});

test('what was acted upon without an answer is caught up on with how it went, once', async () => {
  await server.organization('unanswered', [['api_calls', 'billingPeriod', 2]]);
  const client = new Metergate({ url: server.url, apiKey: KEY });
  const asked = (id) => ({ organization: 'unanswered', meter: 'api_calls', quantity: 1, id });
  // The server had recorded it, and only the answer was lost.
  await client.consume(asked('u-0'));
  for (const id of ['u-0', 'u-1', 'u-2']) client.recordUnanswered(asked(id), { durationMs: 40, status: 200 });
  assert.equal(await client.flush(), true);
  assert.equal(await server.used('unanswered', 'api_calls'), 3);
  const { data } = await server.call('GET', '/v1/events?organization=unanswered&meter=api_calls');
  assert.deepEqual(data.map(({ durationMs, status }) => [durationMs, status]), [[40, 200], [40, 200], [40, 200]]);
  assert.deepEqual([client.stats().dropped, client.stats().rejected], [0, 0]);
  await client.close();
});

test('what was refused in the end counts on its meter alone, also where two meters had the same id', async () => {
  await server.call('PUT', '/v1/meters/pages', { aggregation: 'sum', eventType: 'document', valueProperty: 'pages' });
  await server.call('PUT', '/v1/meters/words', { aggregation: 'sum', eventType: 'document', valueProperty: 'words' });
  await server.organization('refused', [['pages', 'billingPeriod', 1], ['words', 'billingPeriod', 1]]);
  const client = new Metergate({ url: server.url, apiKey: KEY });
  for (const [meter, quantity] of [['pages', 5], ['words', 900]]) client.recordUnanswered({ organization: 'refused', meter, quantity, id: 'r-1' });
  assert.equal(await client.flush(), true);
  assert.deepEqual([await server.used('refused', 'pages'), await server.used('refused', 'words'), client.stats().rejected], [5, 900, 0]);
  await client.close();
});

test('recording can be turned off, and never throws, whatever happens to it', async () => {
  const off = new Metergate({ url: server.url, enabled: false });
  off.record({ organization: 'off', meter: 'api_calls' });
  assert.equal(await off.flush(), true);
  assert.deepEqual(off.stats(), { queued: 0, sent: 0, dropped: 0, rejected: 0 });
  await off.close();
  const loud = new Metergate({ url: 'http://127.0.0.1:1', onDropped: () => { throw new Error('mine'); }, maxQueued: 1 });
  loud.record({ organization: 'a', meter: 'b' });
  loud.record({ organization: 'a', meter: 'b' });
  await loud.close(10);
  loud.record({ organization: 'a', meter: 'b' });
  assert.equal(loud.stats().dropped, 3);
});

test('flush says when something still waits', async () => {
  const proxy = await faulty(json(503, { code: 'unavailable' }));
  const client = new Metergate({ url: proxy.url });
  client.record({ organization: 'a', meter: 'b' });
  assert.equal(await client.flush(200), false);
  assert.equal(client.stats().queued, 1);
  await client.close(10);
  await proxy.stop();
});

test('a server that is killed and started again has every event once', async () => {
  const client = new Metergate({ url: server.url, apiKey: KEY, batchSize: 10, flushIntervalMs: 20 });
  let recorded = 0;
  const recording = setInterval(() => {
    for (let n = 0; n < 10; n++) client.record({ organization: 'killed', meter: 'api_calls', id: `k-${recorded++}` });
  }, 10);
  for (let round = 0; round < 3; round++) {
    await new Promise((resolve) => setTimeout(resolve, 150));
    await server.kill();
    await new Promise((resolve) => setTimeout(resolve, 100));
    await server.startAgain();
  }
  clearInterval(recording);
  assert.equal(await client.flush(20_000), true);
  assert.deepEqual([client.stats().dropped, client.stats().rejected], [0, 0]);
  assert.equal(await server.used('killed', 'api_calls'), recorded);
  await client.close();
});

test('what is no JSON, or has no time, is dropped and told, and holds up nothing', async () => {
  const dropped = [];
  const client = new Metergate({ url: server.url, apiKey: KEY, onDropped: (_, why) => dropped.push(why) });
  const cycle = {};
  cycle.self = cycle;
  const good = { organization: 'poison', meter: 'tokens', quantity: 1 };
  client.record({ ...good, properties: { cycle } });
  client.record({ ...good, properties: { large: 1n } });
  client.record({ ...good, time: new Date('x') });
  client.record(undefined);
  client.record(good);
  assert.equal(await client.flush(), true);
  assert.deepEqual(client.stats(), { queued: 0, sent: 1, dropped: 4, rejected: 0 });
  assert.ok(dropped.length === 4 && dropped.every((why) => why.startsWith('it cannot be sent: ')), dropped.join());
  await client.close();
});

test('with batches of one nothing waits for the next', async () => {
  const proxy = await faulty(taken);
  const client = new Metergate({ url: proxy.url, batchSize: 1, flushIntervalMs: 50 });
  for (let n = 0; n < 200; n++) {
    client.record({ organization: 'a', meter: 'b' });
    if (n % 7 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  for (let waited = 0; client.stats().queued > 0 && waited < 100; waited++) await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(client.stats(), { queued: 0, sent: 200, dropped: 0, rejected: 0 });
  await client.close();
  await proxy.stop();
});

test('a settlement that hangs at the end loses no event, and is told', async () => {
  const dropped = [];
  const proxy = await faulty((request, response, body) => (request.url === '/v1/events' ? taken(request, response, body) : json(503, { code: 'unavailable' })(request, response)));
  const client = new Metergate({ url: proxy.url, onDropped: (lost) => dropped.push(...lost) });
  const { Reservation, byCall } = await import('../dist/esm/reservation.js');
  const held = { allowed: true, organization: 'a', meter: 'b', id: 'r-1', limits: [] };
  void client.settlements.commit(new Reservation(byCall(client.transport), held), { quantity: 3 });
  client.record({ organization: 'a', meter: 'b' });
  await client.close(400);
  assert.deepEqual([client.stats().sent, client.stats().dropped], [1, 0]);
  assert.deepEqual(dropped.map(({ reservation, settlement }) => [reservation, settlement.quantity]), [['r-1', 3]]);
  await proxy.stop();
});

test('errors of another copy of the module are told by their kind', async () => {
  const { createRequire } = await import('node:module');
  const { MetergateError, ProblemError, UnreachableError } = await import('@metergate/client');
  const other = createRequire(import.meta.url)('@metergate/client');
  assert.notEqual(other.ProblemError, ProblemError);
  assert.ok(new other.ProblemError(503, {}) instanceof ProblemError);
  assert.ok(new other.ProblemError(503, {}) instanceof MetergateError);
  assert.ok(!(new other.ProblemError(503, {}) instanceof UnreachableError));
  assert.ok(new other.UnreachableError('away', true) instanceof UnreachableError);
});
