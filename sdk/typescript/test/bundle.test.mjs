// What is held and settled in the background goes in few calls, and what happens to a call happens to each of its elements.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Metergate, ProblemError, UnreachableError } from '@metergate/client';

import { Bundle } from '../dist/esm/bundle.js';
import { cut, faulty, json } from '../../kit/faulty.mjs';
import { KEY, Server } from '../../kit/server.mjs';

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
let server;

before(async () => (server = await Server.start()));
after(() => server.stop());

/** Passes calls on to the server, but for those that `instead` answers, and cuts the answers of as many as `cuts` says once they are done. */
async function between(t, instead = () => undefined) {
  const left = { cuts: 0 };
  const proxy = await faulty(async (request, response, body) => {
    const { authorization, 'idempotency-key': key } = request.headers;
    const headers = { authorization, 'content-type': 'application/json', ...(key ? { 'idempotency-key': key } : {}) };
    const other = instead(request, body);
    if (other !== undefined) return other(request, response);
    const answer = await fetch(server.url + request.url, { method: request.method, headers, body });
    if (left.cuts-- > 0) return cut(request);
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text());
  });
  t.after(() => proxy.stop());
  const bundles = () => proxy.asked.filter(({ path }) => path === '/v1/reservations').map(({ body }) => JSON.parse(body)).filter(Array.isArray);
  return { url: proxy.url, left, bundles };
}

async function standing(organization) {
  const { meters } = await server.call('GET', `/v1/organizations/${organization}/usage`);
  const { used, held } = meters.find(({ meter }) => meter === 'tokens');
  return [used, held];
}

test('what is held of many organizations, and settled, goes in few calls, and each is exact', async (t) => {
  const names = Array.from({ length: 60 }, (_, n) => `many-${n}`);
  for (const name of names) await server.organization(name, [['tokens', 'billingPeriod', 100_000]]);
  const { url, bundles } = await between(t);
  const client = new Metergate({ url, apiKey: KEY, timeoutMs: 20_000 });
  const holds = client.hold({ meter: 'tokens', holdMs: 4_000 });
  const used = new Map(names.map((name) => [name, 0]));
  const ends = performance.now() + 6_000;
  for (let round = 0; performance.now() < ends; round++) {
    const taken = await Promise.all(names.map(async (name) => ({ name, allowed: (await holds.take(name)).allowed })));
    for (const { name } of taken.filter(({ allowed }) => allowed)) used.set(name, used.get(name) + 1);
    await wait(40);
  }
  await client.close(20_000);
  const sent = bundles();
  const elements = sent.flat();
  const reserved = elements.filter(({ organization }) => organization !== undefined).length;
  const settled = elements.filter(({ commit, release }) => commit !== undefined || release !== undefined).length;
  assert.ok(reserved >= 120 && reserved === settled, `${reserved} reserved, ${settled} settled`);
  assert.ok(elements.length >= 4 * sent.length, `${sent.length} calls for ${elements.length} elements`);
  assert.ok(Math.max(...sent.map(({ length }) => length)) >= 60, 'all that is settled at the end goes at once');
  for (const name of names) assert.deepEqual(await standing(name), [used.get(name), 0], name);
});

test('where the answer to a bundle was lost, what it held is given back and what it settled counts once', async (t) => {
  for (const name of ['lost', 'kept']) await server.organization(name, [['tokens', 'billingPeriod', 100]]);
  const { url, left } = await between(t);
  const client = new Metergate({ url, apiKey: KEY, timeoutMs: 300 });
  t.after(() => client.close(100));
  const bundle = new Bundle(client);
  const hold = (organization, quantity) => bundle.reserve({ organization, meter: 'tokens', quantity, ttlSeconds: 600 }, { waitMs: 20 });
  const kept = await Promise.all([hold('kept', 40), hold('kept', 50)]);
  left.cuts = 40;
  const settling = Promise.all(kept.map((one) => client.settlements.commit(one, { quantity: 30 })));
  const asked = await Promise.allSettled([hold('lost', 60), hold('lost', 20)]);
  assert.ok(asked.every(({ reason }) => reason instanceof UnreachableError));
  assert.deepEqual([await standing('lost'), await standing('kept')], [[0, 80], [60, 0]]);
  left.cuts = 0;
  for (let waited = 0; (await standing('lost'))[1] > 0 && waited < 100; waited++) await wait(100);
  await settling;
  assert.deepEqual([await standing('lost'), await standing('kept')], [[0, 0], [60, 0]]);
});

test('where a server takes no bundle, or none so large, each goes in smaller ones and nothing is lost', async (t) => {
  await server.organization('small', [['tokens', 'billingPeriod', 10_000]]);
  const tooMuch = json(413, { status: 413, code: 'payload-too-large', title: 'Too large', detail: 'Send less.' });
  for (const most of [3, 1]) {
    const { url, bundles } = await between(t, (_, body) => (body.startsWith('[') && JSON.parse(body).length > most ? tooMuch : undefined));
    const dropped = [];
    const client = new Metergate({ url, apiKey: KEY, timeoutMs: 20_000, onDropped: (lost) => dropped.push(...lost) });
    const bundle = new Bundle(client);
    const [used] = await standing('small');
    const held = await Promise.all(Array.from({ length: 17 }, () => bundle.reserve({ organization: 'small', meter: 'tokens', quantity: 10, ttlSeconds: 60 }, { waitMs: 20 })));
    await Promise.all(held.map((one) => client.settlements.commit(one, { quantity: 7 })));
    assert.deepEqual([await standing('small'), dropped], [[used + 17 * 7, 0], []]);
    assert.ok(held.every(({ isSettled }) => isSettled) && bundles().length > 2, `${bundles().length} bundles`);
    await client.close();
  }
});

test('what waits is sent when the client is flushed or closes, without its time being over', async (t) => {
  await server.organization('closing', [['tokens', 'billingPeriod', 10_000]]);
  const { url } = await between(t);
  for (const end of ['flush', 'close']) {
    const dropped = [];
    const client = new Metergate({ url, apiKey: KEY, timeoutMs: 20_000, onDropped: (lost) => dropped.push(...lost) });
    const holds = client.hold({ meter: 'tokens', holdMs: 120_000, ttlSeconds: 600 });
    const [used] = await standing('closing');
    let allowed = 0;
    for (let n = 0; n < 30; n++) allowed += (await holds.take('closing')).allowed ? 1 : 0;
    // From here on no time passes for whoever waits for some.
    t.mock.timers.enable({ apis: ['setTimeout'] });
    await client[end](20_000);
    t.mock.timers.reset();
    assert.deepEqual([await standing('closing'), dropped], [[used + allowed, 0], []], end);
    await client.close();
  }
});

test('what was sent in vain while the client closes goes again', async (t) => {
  await server.organization('again', [['tokens', 'billingPeriod', 10_000]]);
  let away = 0;
  const later = json(503, { status: 503, code: 'unavailable', title: 'Later', detail: 'Ask again.' });
  const { url } = await between(t, ({ url: asked }) => (asked.startsWith('/v1/reservations') && away-- > 0 ? later : undefined));
  const dropped = [];
  const client = new Metergate({ url, apiKey: KEY, timeoutMs: 20_000, onDropped: (lost) => dropped.push(...lost) });
  const holds = client.hold({ meter: 'tokens', holdMs: 120_000, ttlSeconds: 600 });
  let allowed = 0;
  for (let n = 0; n < 30; n++) allowed += (await holds.take('again')).allowed ? 1 : 0;
  away = 3;
  await client.close(20_000);
  assert.ok(away <= 0, `${away} times more it would have been away`);
  assert.deepEqual([await standing('again'), dropped], [[allowed, 0], []]);
});

test('many that have lapsed while the server was away are recorded', async (t) => {
  const names = Array.from({ length: 200 }, (_, n) => `lapsed-${n}`);
  await Promise.all(names.map((name) => server.organization(name, [['tokens', 'billingPeriod', 1_000]])));
  const { url } = await between(t);
  const client = new Metergate({ url, apiKey: KEY, timeoutMs: 2_000 });
  const bundle = new Bundle(client);
  const held = await Promise.all(names.map((organization) => bundle.reserve({ organization, meter: 'tokens', quantity: 10, ttlSeconds: 1 }, { waitMs: 20 })));
  await wait(1_500);
  await Promise.all(held.map((one) => client.settlements.commit(one, { quantity: 7 })));
  assert.equal(await client.flush(20_000), true);
  for (const name of names) assert.deepEqual(await standing(name), [7, 0], name);
  await client.close();
});

test('an element that is refused is told so alone', async (t) => {
  await server.organization('alone', [['tokens', 'billingPeriod', 100]]);
  const { url, bundles } = await between(t);
  const client = new Metergate({ url, apiKey: KEY, timeoutMs: 20_000 });
  t.after(() => client.close(100));
  const bundle = new Bundle(client);
  const hold = (organization, meter, quantity) => bundle.reserve({ organization, meter, quantity, ttlSeconds: 60 }, { waitMs: 20 });
  const [made, refused, nobody, nothing] = await Promise.allSettled([hold('alone', 'tokens', 70), hold('alone', 'tokens', 31), hold('nobody', 'tokens', 1), hold('alone', 'none', 1)]);
  assert.deepEqual([made.value.allowed, refused.value.allowed, refused.value.reason], [true, false, 'quota-exceeded']);
  assert.ok(nobody.reason instanceof ProblemError && nothing.reason instanceof ProblemError);
  assert.deepEqual([nobody.reason.code, nothing.reason.code], ['unknown-organization', 'unknown-meter']);
  assert.equal(bundles().length, 1);
  // As one that goes by itself.
  await assert.rejects(refused.value.release(), /nothing is held/);
  await made.value.release();
  await assert.rejects(made.value.commit({ quantity: 1 }), ({ code }) => code === 'reservation-released');
  await assert.rejects(made.value.commit({ quantity: Number.NaN }));
});
