// Requests a second, and CPU a request, of one Express app guarded in four ways, interleaved:
//   ./check servers node bench/express/run.mjs METERGATE [ROUNDS] [SECONDS] [in-turn|moments] [held,asked,stack] [ORGANIZATIONS]
// In turn each app has the machine for itself, and starts anew each time. In moments all of them run, and each is loaded in turn
// with a few hundred requests, so that a machine that does other work as well disturbs them alike: then only the app's CPU a
// request is told, with what it does between its moments, and the one with nothing runs twice to show how exact that is. What it
// takes over nothing is taken round by round.
// Needs wrk, and `npm ci && npm run build` in sdk/, `npm ci` here.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, readdir } from 'node:fs/promises';
import { promisify } from 'node:util';

import { KEY, Server } from '../../sdk/kit/server.mjs';
import { Load } from './load.mjs';

const [METERGATE, ROUNDS = '5', SECONDS = '5', MODE = 'in-turn', OTHERS = 'held,asked,stack', ORGANIZATIONS = '100'] = process.argv.slice(2);
const CONNECTIONS = 64;
/** Requests in a moment. */
const MOMENT = 300;
const WAYS = { nothing: 'nothing', held: 'Metergate, held reservations', asked: 'Metergate, a round trip each', stack: 'rate-limiter-flexible on Redis, batched rows in PostgreSQL' };
/** Long enough for what is held to be of the size that the rate calls for, and for what is called often to be compiled. */
const WARM_UP_SECONDS = 8;
/** Clock ticks a second in /proc. */
const TICKS = 100;
const run = promisify(execFile);

/** CPU microseconds that processes have used whose id is `root`, or that descend from it. */
async function cpu(root) {
  const parents = new Map();
  const used = new Map();
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => undefined);
    if (stat === undefined) continue;
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    parents.set(Number(name), Number(fields[1]));
    // With the children that have ended.
    used.set(Number(name), [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at]), 0));
  }
  const isBelow = (id) => id === root || (parents.has(id) && id > 1 && isBelow(parents.get(id)));
  return [...used].filter(([id]) => isBelow(id)).reduce((sum, [, ticks]) => sum + ticks, 0) * (1e6 / TICKS);
}

/** The process that listens on a port. */
async function listener(port) {
  const { stdout } = await run('ss', ['-ltnpH', `sport = :${port}`]);
  return Number(/pid=(\d+)/.exec(stdout)[1]);
}

/** An app, and the port on which it listens. */
async function start(way, server) {
  const environment = { ...process.env, NODE_ENV: 'production', METERGATE_URL: server.url, METERGATE_API_KEY: KEY };
  const app = spawn(process.execPath, [new URL('app.mjs', import.meta.url).pathname, way], { env: environment, stdio: ['ignore', 'pipe', 'inherit'] });
  process.once('exit', () => app.kill('SIGKILL'));
  const [port] = await once(app.stdout, 'data');
  return { app, port: Number(port) };
}

/** Loads an app for so many seconds; what `wrk` says. */
async function loaded(port, seconds) {
  const given = ['-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, '-s', new URL('load.lua', import.meta.url).pathname, `http://127.0.0.1:${port}`];
  const { stdout } = await run('wrk', given, { env: { ...process.env, ORGANIZATIONS } });
  const [requests, duration, p50, p99, errors] = /RESULT (\d+) (\d+) (\d+) (\d+) (\d+)/.exec(stdout).slice(1).map(Number);
  if (errors > 0) throw new Error(`${errors} errors\n${stdout}`);
  return { requests, duration, p50, p99 };
}

async function measure(way, server, helpers) {
  const { app, port } = await start(way, server);
  try {
    const processes = { app: app.pid, ...helpers };
    await loaded(port, WARM_UP_SECONDS);
    const before = await all(processes);
    const { requests, duration, p50, p99 } = await loaded(port, SECONDS);
    const after = await all(processes);
    const each = Object.fromEntries(Object.keys(processes).map((name) => [name, (after[name] - before[name]) / requests]));
    return { rate: (requests * 1e6) / duration, p50: p50 / 1_000, p99: p99 / 1_000, ...each };
  } finally {
    app.kill('SIGKILL');
    await once(app, 'exit');
  }
}

/** CPU a request of all apps, each over that of the first, while each is loaded a moment at a time. Prints a table. */
async function moments(server) {
  const apps = [];
  try {
    for (const way of ['nothing', 'nothing', ...OTHERS.split(',')]) {
      const { app, port } = await start(way, server);
      apps.push({ way, app, load: await Load.to(port, Number(ORGANIZATIONS)), each: [], times: [] });
    }
    await inMoments(apps, WARM_UP_SECONDS);
    for (let round = 0; round < Number(ROUNDS); round++) {
      const before = await Promise.all(apps.map(({ app }) => cpu(app.pid)));
      const requests = await inMoments(apps, Number(SECONDS));
      const after = await Promise.all(apps.map(({ app }) => cpu(app.pid)));
      for (const [n, { each }] of apps.entries()) each.push((after[n] - before[n]) / requests);
      for (const { each, times } of apps) times.push(each.at(-1) / apps[0].each.at(-1));
      console.error(`round ${round + 1}:`, ...apps.map(({ way, times }) => `${way} ${times.at(-1).toFixed(2)}`));
    }
  } finally {
    for (const { app } of apps) app.kill('SIGKILL');
  }
  console.log('| guarded by | CPU µs a request | of nothing |\n| --- | --- | --- |');
  for (const one of apps) console.log(`| ${WAYS[one.way]} | ${shown(one.each, (each) => each, 0)} | ${shown(one.times, (times) => times, 2)} |`);
}

/** How many requests each got. */
async function inMoments(apps, seconds) {
  const ends = performance.now() + seconds * 1_000;
  let requests = 0;
  for (; performance.now() < ends; requests += MOMENT) {
    for (const { load } of apps) await load.run(MOMENT);
  }
  return requests;
}

async function all(processes) {
  const entries = await Promise.all(Object.entries(processes).map(async ([name, id]) => [name, await cpu(id)]));
  return Object.fromEntries(entries);
}

const median = (numbers) => [...numbers].sort((one, other) => one - other)[Math.floor(numbers.length / 2)];
const shown = (results, of, digits) => {
  const numbers = results.map(of);
  const say = (number) => number.toFixed(digits);
  return `${say(median(numbers))} (${say(Math.min(...numbers))}–${say(Math.max(...numbers))})`;
};

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
process.setMaxListeners(0);
process.env.METERGATE_BINARY = METERGATE;
const server = await Server.start();
try {
  const limits = ['minute', 'day', 'billingPeriod'].map((window) => ({ meter: 'api_calls', window, max: 1_000_000_000, enforcement: 'hard' }));
  await server.call('PUT', '/v1/plans/bench', { name: 'Bench', limits });
  for (let n = 0; n < Number(ORGANIZATIONS); n++) await server.call('POST', '/v1/organizations', { key: `org-${n}`, name: `org-${n}`, plan: 'bench' });
  if (MODE === 'moments') await moments(server);
  else await inTurn(server);
} finally {
  await server.stop();
}

async function inTurn(server) {
  const helpers = {
    metergate: server.process.pid,
    redis: await listener(new URL(process.env.METERGATE_TEST_REDIS).port),
    postgres: await listener(new URL(process.env.METERGATE_TEST_POSTGRES).port),
  };
  const ways = ['nothing', ...OTHERS.split(',')];
  const results = Object.fromEntries(ways.map((way) => [way, []]));
  for (let round = 0; round < Number(ROUNDS); round++) {
    for (const way of ways) {
      results[way].push(await measure(way, server, helpers));
      console.error(`round ${round + 1}: ${way}`, results[way].at(-1));
    }
  }
  console.log('| guarded by | requests/s | p50 / p99 ms | CPU µs a request: app | servers | app, of nothing |\n| --- | --- | --- | --- | --- | --- |');
  for (const way of ways) {
    const own = results[way];
    const servers = ({ metergate, redis, postgres }) => metergate + redis + postgres;
    const latency = `${median(own.map(({ p50 }) => p50)).toFixed(1)} / ${median(own.map(({ p99 }) => p99)).toFixed(1)}`;
    const times = own.map(({ app }, round) => app / results.nothing[round].app);
    const shares = `${shown(own, ({ app }) => app, 0)} | ${shown(own, servers, 0)} | ${shown(times, (times) => times, 2)}`;
    console.log(`| ${WAYS[way]} | ${shown(own, ({ rate }) => rate, 0)} | ${latency} | ${shares} |`);
  }
}
