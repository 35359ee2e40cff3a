import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { Metergate, UnreachableError } from '@metergate/client';

import { binned, Calls } from '../dist/esm/calls.js';
import { HoldBudget } from '../dist/esm/hold-budget.js';
import { cut, faulty, json } from '../../kit/faulty.mjs';
import { KEY, Server } from '../../kit/server.mjs';

let server;
before(async () => {
  server = await Server.start();
});
after(() => server?.stop());

/** Takes one by one for so long, a few at a time; how many were allowed, refused and decided at once. */
async function drive(holds, organization, { count = Infinity, forMs = Infinity, pauseMs = 1, width = 4 }) {
  const seen = { allowed: 0, refused: 0, local: 0 };
  const until = performance.now() + forMs;
  let asked = 0;
  const one = async () => {
    while (asked < count && performance.now() < until) {
      asked++;
      const taken = holds.take(organization);
      if (!(taken instanceof Promise)) seen.local++;
      (await taken).allowed ? seen.allowed++ : seen.refused++;
      await wait(pauseMs);
    }
  };
  await Promise.all(Array.from({ length: width }, one));
  return seen;
}

test('most decisions need no round trip, and what was used is recorded exactly', async () => {
  await server.organization('busy', [['api_calls', 'billingPeriod', 1_000_000], ['api_calls', 'minute', 100_000]]);
  const client = new Metergate({ url: server.url, apiKey: KEY, timeoutMs: 20_000 });
  const holds = client.hold({ meter: 'api_calls', holdMs: 200 });
  const seen = await drive(holds, 'busy', { forMs: 1_500 });
  assert.equal(seen.refused, 0);
  assert.ok(seen.local > 0.8 * seen.allowed, JSON.stringify(seen));
  await client.close();
  assert.equal(await server.used('busy', 'api_calls'), seen.allowed);
});

test('local decisions carry the rate headers, counted down', async () => {
  await server.organization('headers', [['api_calls', 'minute', 10_000], ['api_calls', 'day', 20_000]]);
  const client = new Metergate({ url: server.url, apiKey: KEY, timeoutMs: 20_000 });
  const holds = client.hold({ meter: 'api_calls', holdMs: 2_000 });
  let taken = 0;
  for (;;) {
    const decided = holds.take('headers');
    taken++;
    if (!(decided instanceof Promise)) {
      assert.equal(decided.headers['x-ratelimit-limit-minute'], '10000');
      const remaining = Number(decided.headers['x-ratelimit-remaining-minute']);
      // What was asked one by one while the quantity was being held is not known here.
      assert.ok(remaining >= 10_000 - taken && remaining < 10_000, `${remaining} after ${taken}`);
      assert.equal(decided.headers['x-ratelimit-remaining-day'], String(10_000 + remaining));
      assert.match(decided.headers['ratelimit'], new RegExp(`^"api_calls-minute";r=${remaining};t=\\d+, "api_calls-day";r=${10_000 + remaining};t=\\d+$`));
      assert.equal(holds.take('headers').headers['x-ratelimit-remaining-minute'], String(remaining - 1));
      break;
    }
    await decided;
    assert.ok(taken < 200, 'nothing was ever held');
    await wait(5);
  }
  await client.close();
});

test('one process gets every unit of a limit and none beyond', async () => {
  await server.organization('last', [['api_calls', 'billingPeriod', 137]]);
  const client = new Metergate({ url: server.url, apiKey: KEY, timeoutMs: 20_000 });
  const holds = client.hold({ meter: 'api_calls', holdMs: 100, refusalMs: 1 });
  const seen = await drive(holds, 'last', { count: 400 });
  assert.equal(seen.allowed, 137);
  await client.close();
  assert.equal(await server.used('last', 'api_calls'), 137);
});

test('a quantity that only fits with what is held here is allowed', async () => {
  await server.organization('large', [['tokens', 'billingPeriod', 100]]);
  const client = new Metergate({ url: server.url, apiKey: KEY, timeoutMs: 20_000 });
  const holds = client.hold({ meter: 'tokens', holdMs: 10_000 });
  for (let n = 0; n < 10; n++) await holds.take('large', 1);
  await wait(100);
  assert.equal((await holds.take('large', 90)).allowed, true);
  assert.equal((await holds.take('large', 1)).allowed, false);
  await client.close();
  assert.equal(await server.used('large', 'tokens'), 100);
});

test('what is held and not used is given back', async () => {
  await server.organization('idle', [['api_calls', 'billingPeriod', 1_000]]);
  const client = new Metergate({ url: server.url, apiKey: KEY, timeoutMs: 20_000 });
  const holds = client.hold({ meter: 'api_calls', holdMs: 200 });
  const seen = await drive(holds, 'idle', { count: 20 });
  await wait(1_000);
  const { meters } = await server.call('GET', '/v1/organizations/idle/usage');
  const { used, held } = meters.find(({ meter }) => meter === 'api_calls');
  assert.deepEqual([used, held], [seen.allowed, 0]);
  await client.close();
});

test('a lock is seen once the hold is over', async () => {
  await server.organization('stopped', [['api_calls', 'billingPeriod', 100_000]]);
  const client = new Metergate({ url: server.url, apiKey: KEY, timeoutMs: 20_000 });
  const holds = client.hold({ meter: 'api_calls', holdMs: 200 });
  await drive(holds, 'stopped', { count: 50 });
  await server.call('PUT', '/v1/organizations/stopped/lock', { reason: 'abuse' });
  await wait(300);
  const decided = await holds.take('stopped');
  assert.deepEqual([decided.allowed, decided.reason], [false, 'organization-locked']);
  await client.close();
});

test('several processes together never pass a limit, and get all of it', async () => {
  await server.organization('shared', [['api_calls', 'billingPeriod', 2_000]]);
  const program = `
    import { Metergate } from '@metergate/client';
    const client = new Metergate({ timeoutMs: 20000 });
    const holds = client.hold({ meter: 'api_calls', holdMs: 150, refusalMs: 20 });
    let allowed = 0, local = 0;
    const one = async () => {
      for (let refused = 0; refused < 30; ) {
        const taken = holds.take('shared');
        if (!(taken instanceof Promise)) local++;
        if ((await taken).allowed) { allowed++; refused = 0; await new Promise((r) => setTimeout(r, 1)); }
        else { refused++; await new Promise((r) => setTimeout(r, 25)); }
      }
    };
    await Promise.all(Array.from({ length: 8 }, one));
    await client.close();
    console.log(JSON.stringify({ allowed, local }));
  `;
  const environment = { PATH: process.env.PATH, METERGATE_URL: server.url, METERGATE_API_KEY: KEY };
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  const results = await Promise.all(
    [1, 2, 3].map(async () => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', program], { env: environment, cwd, stdio: ['ignore', 'pipe', 'inherit'] });
      let said = '';
      child.stdout.on('data', (part) => (said += part));
      await once(child, 'close');
      return JSON.parse(said);
    }),
  );
  const allowed = results.reduce((sum, one) => sum + one.allowed, 0);
  assert.equal(allowed, 2_000, JSON.stringify(results));
  assert.ok(results.every(({ local }) => local > 0), JSON.stringify(results));
  assert.equal(await server.used('shared', 'api_calls'), 2_000);
});

test('a server that is killed and started again loses nothing that was decided locally', async () => {
  await server.organization('killed', [['api_calls', 'billingPeriod', 1_000_000]]);
  const client = new Metergate({ url: server.url, apiKey: KEY, timeoutMs: 100 });
  const holds = client.hold({ meter: 'api_calls', holdMs: 150 });
  let [allowed, asked, unknown] = [0, 0, 0];
  const driving = setInterval(async () => {
    const id = `k-${asked++}`;
    try {
      if ((await holds.take('killed', 1, id)).allowed) allowed++;
    } catch (error) {
      assert.ok(error instanceof UnreachableError || error.status === 503, String(error));
      // As middleware does that lets a request pass: it is caught up under its id.
      client.recordUnanswered({ organization: 'killed', meter: 'api_calls', quantity: 1, id });
      unknown++;
    }
  }, 2);
  for (let round = 0; round < 3; round++) {
    await wait(400);
    await server.kill();
    await wait(200);
    await server.startAgain();
  }
  await wait(500);
  clearInterval(driving);
  await wait(1_200);
  assert.equal(await client.flush(20_000), true);
  assert.ok(allowed > 100 && unknown > 0, `${allowed} allowed, ${unknown} unknown`);
  assert.equal(await server.used('killed', 'api_calls'), allowed + unknown);
  await client.close();
});

test('one large decision holds nothing yet, and the first hold is a part of what is left', async () => {
  await server.organization('first', [['tokens', 'billingPeriod', 12_000]]);
  const client = new Metergate({ url: server.url, apiKey: KEY, timeoutMs: 20_000 });
  const holds = client.hold({ meter: 'tokens', holdMs: 5_000 });
  const held = async () => (await server.call('GET', '/v1/organizations/first/usage')).meters.find(({ meter }) => meter === 'tokens').held;
  await holds.take('first', 1_000);
  await wait(200);
  assert.equal(await held(), 0);
  for (let n = 0; n < 4; n++) await holds.take('first', 500);
  await wait(300);
  const now = await held();
  assert.ok(now > 0 && now <= 3_000, `${now} held`);
  await client.close();
});

test('a reservation whose answer was lost is given back', async () => {
  await server.organization('leaked', [['tokens', 'billingPeriod', 100]]);
  let cuts = 40;
  const proxy = await faulty(async (request, response, body) => {
    const { authorization, 'idempotency-key': key } = request.headers;
    const headers = { authorization, 'content-type': 'application/json', ...(key ? { 'idempotency-key': key } : {}) };
    const answer = await fetch(server.url + request.url, { method: 'POST', headers, body });
    if (cuts-- > 0) return cut(request);
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text());
  });
  const client = new Metergate({ url: proxy.url, apiKey: KEY, timeoutMs: 300 });
  await assert.rejects(client.reserve({ organization: 'leaked', meter: 'tokens', quantity: 60, ttlSeconds: 600 }), UnreachableError);
  const held = async () => (await server.call('GET', '/v1/organizations/leaked/usage')).meters.find(({ meter }) => meter === 'tokens').held;
  assert.equal(await held(), 60);
  cuts = 0;
  for (let waited = 0; (await held()) > 0 && waited < 100; waited++) await wait(100);
  assert.equal(await held(), 0);
  await client.close();
  await proxy.stop();
});

/** A server that allows all with so much left, and answers reservations by `reserve`; a client of it, and what it holds. */
async function stub(t, remaining, reserve) {
  const limit = { window: 'day', enforcement: 'hard', limit: 1e9, used: 0, held: 0, remaining, resetsAt: null, violated: false };
  const body = { organization: 'acme', meter: 'api_calls', quantity: 1, allowed: true, reason: null, overage: 0, limits: [limit] };
  const allowed = json(200, { ...body, id: 'd-1' });
  const held = json(200, { ...body, id: 'r-1', state: 'held' });
  const proxy = await faulty((request, response, text) => (request.url === '/v1/reservations' ? reserve(held) : allowed)(request, response, text));
  const client = new Metergate({ url: proxy.url, apiKey: KEY, timeoutMs: 20_000 });
  // A rate is told from 2.4 seconds at least: nothing here takes so long.
  const holds = client.hold({ meter: 'api_calls', holdMs: 60_000, ttlSeconds: 300, repeatForMs: 1 });
  const asked = (path) => proxy.asked.filter((one) => one.path.split('?')[0] === path);
  t.after(async () => {
    await client.close(100);
    await proxy.stop();
  });
  return { holds, asked };
}

const slowly = (answer) => (...given) => void setTimeout(() => answer(...given), 100);

test('many who come at once wait for what is on its way, and make one call', async (t) => {
  const { holds, asked } = await stub(t, 1e9, slowly);
  const first = await holds.take('acme');
  assert.equal(first.id, 'd-1');
  const others = await Promise.all(Array.from({ length: 200 }, () => holds.take('acme')));
  assert.ok(others.every(({ allowed, id }) => allowed && id === null));
  assert.deepEqual([asked('/v1/consume').length, asked('/v1/reservations').length], [1, 1]);
});

test('who finds too little on its way asks for itself', async (t) => {
  const { holds, asked } = await stub(t, 1e9, slowly);
  await holds.take('acme');
  const [small, large, part] = await Promise.all([holds.take('acme'), holds.take('acme', 5_000), holds.take('acme', 0.5)]);
  assert.deepEqual([small.id, large.id, part.id], [null, 'd-1', 'd-1']);
  assert.equal(asked('/v1/consume').length, 3);
});

test('where what was waited for does not come, all who waited are told so, and none waits again', async (t) => {
  const { holds, asked } = await stub(t, 1e9, () => cut);
  await holds.take('acme');
  const others = await Promise.allSettled(Array.from({ length: 20 }, () => holds.take('acme')));
  assert.ok(others.every(({ reason }) => reason instanceof UnreachableError), JSON.stringify(others[0]));
  assert.equal(asked('/v1/consume').length, 1);
});

test('where it is refused, each asks for itself', async (t) => {
  const { holds, asked } = await stub(t, 1e9, () => json(422, { status: 422, code: 'too-many-reservations', title: 'Too many', detail: 'Settle some.' }));
  await holds.take('acme');
  const others = await Promise.all(Array.from({ length: 20 }, () => holds.take('acme')));
  assert.ok(others.every(({ allowed, id }) => allowed && id === 'd-1'));
  assert.equal(asked('/v1/consume').length, 21);
});

test('far from the limits more is held at first than the rate calls for, close to them not', async (t) => {
  // Two in 2.4 seconds, in a minute, and half as much again.
  for (const [remaining, quantity] of [[1e9, 300], [4_000, 250], [1_000, 75], [100, 25], [4, undefined]]) {
    const { holds, asked } = await stub(t, remaining, (answer) => answer);
    for (let n = 0; n < 2; n++) await holds.take('acme');
    const [held] = asked('/v1/reservations');
    assert.equal(held === undefined ? undefined : JSON.parse(held.body).quantity, quantity, `${remaining} left`);
  }
});

/** What a report says of an organization's meter over all time. */
async function reported(organization, meter) {
  const { data } = await server.call('GET', `/v1/usage?organization=${organization}&meter=${meter}&granularity=total&from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z&durations=true`);
  return data[0];
}

test('each decision is one call in reports, with how it went, however late that is said', async () => {
  await server.organization('told', [['api_calls', 'billingPeriod', 100_000]]);
  const client = new Metergate({ url: server.url, apiKey: KEY, timeoutMs: 20_000 });
  const holds = client.hold({ meter: 'api_calls', holdMs: 200 });
  const late = [];
  let local = 0;
  for (let n = 0; n < 60; n++) {
    const taken = holds.take('told');
    if (!(taken instanceof Promise)) local++;
    const decision = await taken;
    if (n % 10 === 0) late.push(decision);
    else holds.ended(decision, { durationMs: n < 30 ? 20 : 300, status: 200 });
    await wait(5);
  }
  assert.ok(local > 30, `${local} decided at once`);
  // Nothing is held any more when these end.
  await wait(700);
  for (const decision of late) holds.ended(decision, { durationMs: 5_000, status: 500 });
  await wait(500);
  await client.close();
  const row = await reported('told', 'api_calls');
  assert.deepEqual([row.value, row.count, row.durations.count], [60, 60, 60]);
  const isNear = (told, true_) => Math.abs(told / true_ - 1) < 0.011;
  assert.ok(isNear(row.durations.p50, 300) && isNear(row.durations.p99, 5_000) && isNear(row.durations.mean, (27 * 20 + 27 * 300 + 6 * 5_000) / 60), JSON.stringify(row.durations));
  assert.deepEqual([client.stats().dropped, client.stats().rejected], [0, 0]);
});

test('what is settled after its reservation lapsed counts as the calls that it was', async () => {
  await server.organization('late', [['api_calls', 'billingPeriod', 1_000]]);
  const client = new Metergate({ url: server.url, apiKey: KEY, timeoutMs: 20_000 });
  const held = await client.reserve({ organization: 'late', meter: 'api_calls', quantity: 20, ttlSeconds: 1 });
  await wait(1_500);
  await client.settlements.commit(held, { quantity: 12, calls: { count: 12, durations: { 20: 10, 300: 2 }, statuses: { 200: 12 } } });
  await client.close();
  const row = await reported('late', 'api_calls');
  assert.deepEqual([row.value, row.count, row.durations.count, await server.used('late', 'api_calls')], [12, 12, 12, 12]);
});

test('durations are binned as the server has them, and statuses are bounded', () => {
  let tried = 0;
  for (let duration = 0; duration < 5e6; duration += Math.max(1, Math.floor(duration / 333))) {
    const told = binned(duration);
    assert.ok(Math.abs(told - duration) <= 0.015 * duration && binned(told) === told, `${duration}: ${told}`);
    tried++;
  }
  assert.ok(tried > 2_000 && binned(NaN) === 0 && binned(-3) === 0 && binned(1e99) <= 2 ** 32 - 1);
  const calls = new Calls();
  for (let status = 0; status < 10_000; status++) calls.add(undefined, status);
  const body = calls.taken(10_000);
  assert.ok(Object.keys(body.statuses).length < 200 && calls.isEmpty && body.durations === undefined);
  assert.equal(Object.values(body.statuses).reduce((sum, one) => sum + one, 0), 10_000);
  calls.put(body);
  assert.deepEqual(calls.taken(10_000), body);
});

test('what is held is bounded for one organization and in all, and the oldest that is idle is given back', () => {
  const budget = new HoldBudget();
  const given = [];
  const holding = (organization, name, idle) => ({ organization, isIdle: () => idle, giveBack() { given.push(name); budget.remove(this); } });
  for (let n = 0; n < 32; n++) {
    assert.equal(budget.hasRoom('a'), true);
    budget.add(holding('a', n, n === 7 || n === 9));
  }
  assert.equal(budget.hasRoom('a'), true);
  assert.deepEqual(given, [7]);
  budget.add(holding('a', 'more', false));
  assert.equal(budget.hasRoom('a'), true);
  budget.add(holding('a', 'more', false));
  assert.deepEqual([budget.hasRoom('a'), given], [false, [7, 9]]);
  assert.equal(budget.hasRoom('b'), true);
  for (let n = 0; n < 9_968; n++) budget.add(holding(`o-${n}`, n, false));
  assert.equal(budget.hasRoom('b'), false);
});
