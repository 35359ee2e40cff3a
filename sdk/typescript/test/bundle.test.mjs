// What is held and settled in the background goes in few calls, and what happens to a call happens to each of its elements.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Metergate, ProblemError, UnreachableError } from '@metergate/client';

import { cut, faulty } from '../../kit/faulty.mjs';
import { KEY, Server } from '../../kit/server.mjs';

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
let server;

before(async () => (server = await Server.start()));
after(() => server.stop());

/** Passes calls on to the server, and cuts the answers of as many as `cuts` says once they are done. */
async function between(t, cuts = 0) {
  const left = { cuts };
  const proxy = await faulty(async (request, response, body) => {
    const { authorization, 'idempotency-key': key } = request.headers;
    const headers = { authorization, 'content-type': 'application/json', ...(key ? { 'idempotency-key': key } : {}) };
    const answer = await fetch(server.url + request.url, { method: request.method, headers, body });
    if (left.cuts-- > 0) return cut(request);
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text());
  });
  t.after(() => proxy.stop());
  const bundles = () => proxy.asked.filter(({ path }) => path === '/v1/reservations').map(({ body }) => JSON.parse(body));
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
  const hold = (organization, quantity) => client.bundle.reserve({ organization, meter: 'tokens', quantity, ttlSeconds: 600 }, { waitMs: 20 });
  const kept = await hold('kept', 40);
  left.cuts = 40;
  const settling = client.settlements.commit(kept, { quantity: 30 });
  await assert.rejects(hold('lost', 60), UnreachableError);
  assert.deepEqual([await standing('lost'), await standing('kept')], [[0, 60], [30, 0]]);
  left.cuts = 0;
  for (let waited = 0; (await standing('lost'))[1] > 0 && waited < 100; waited++) await wait(100);
  await settling;
  assert.deepEqual([await standing('lost'), await standing('kept')], [[0, 0], [30, 0]]);
});

test('an element that is refused is told so alone', async (t) => {
  await server.organization('alone', [['tokens', 'billingPeriod', 100]]);
  const { url, bundles } = await between(t);
  const client = new Metergate({ url, apiKey: KEY, timeoutMs: 20_000 });
  t.after(() => client.close(100));
  const hold = (organization, meter, quantity) => client.bundle.reserve({ organization, meter, quantity, ttlSeconds: 60 }, { waitMs: 20 });
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
