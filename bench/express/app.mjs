// One application, guarded in one of four ways: `node app.mjs nothing|asked|held|stack`. Prints its port when it listens.
import express from 'express';

/** Each organization has limits a minute, a day and a period, none of which is reached. */
const GUARDS = {
  nothing: async () => [],
  asked: () => metergate(false),
  held: () => metergate(true),
  stack,
};

/** Metergate's middleware: by a round trip each, or from what is held. */
async function metergate(hold) {
  const { Metergate } = await import('@metergate/client');
  const { tenantQuota, usageMeter } = await import('@metergate/express');
  const client = new Metergate({ batchSize: 1_000, flushIntervalMs: 1_000, maxQueued: 1_000_000, onDropped: (_, why) => console.error(why) });
  return [tenantQuota({ client, organization: { header: 'x-organization' }, hold }), usageMeter()];
}

/** What is made by hand instead: limits in Redis, one row a request in PostgreSQL, in batches. Usage of up to a second can be lost. */
async function stack() {
  const { RateLimiterRedis, RateLimiterUnion } = await import('rate-limiter-flexible');
  const { default: Redis } = await import('ioredis');
  const { default: pg } = await import('pg');
  const storeClient = new Redis(process.env.METERGATE_TEST_REDIS);
  const limiter = (keyPrefix, duration) => new RateLimiterRedis({ storeClient, keyPrefix, points: 1_000_000_000, duration });
  const both = new RateLimiterUnion(limiter('minute', 60), limiter('day', 86_400));
  const pool = new pg.Pool({ connectionString: process.env.METERGATE_TEST_POSTGRES });
  await pool.query('CREATE TABLE IF NOT EXISTS usage (organization text, path text, status int, duration_ms int, at timestamptz)');
  let rows = [];
  const columns = () => [0, 1, 2, 3, 4].map((column) => rows.map((row) => row[column]));
  setInterval(() => {
    if (rows.length === 0) return;
    const insert = 'INSERT INTO usage SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::timestamptz[])';
    pool.query(insert, columns()).catch(console.error);
    rows = [];
  }, 1_000);
  const limits = (request, response, next) => {
    const organization = request.headers['x-organization'];
    const began = performance.now();
    both.consume(organization).then((result) => {
      response.setHeader('X-RateLimit-Remaining-Minute', result.minute.remainingPoints);
      response.setHeader('X-RateLimit-Remaining-Day', result.day.remainingPoints);
      response.once('close', () => rows.push([organization, request.path, response.statusCode, Math.round(performance.now() - began), new Date()]));
      next();
    }, () => response.status(429).end());
  };
  return [limits];
}

const app = express();
for (const guard of await GUARDS[process.argv[2]]()) app.use(guard);
app.get('/hello', (_, response) => response.json({ hello: 'world', items: [1, 2, 3] }));
const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
