// An application as its own process would have it; also started by the tests as one: `node app.mjs OPTIONS`.
import { once } from 'node:events';

import { Metergate } from '@metergate/client';
import { tenantQuota, usageMeter } from '@metergate/express';

/** Starts an application of `express` on a free port; `routes` adds what it answers. */
export async function listen(express, { client, quota = {}, meter = {}, routes }) {
  const app = express();
  app.use(tenantQuota({ client, organization: { header: 'x-organization' }, ...quota }));
  app.use(usageMeter(meter));
  if (routes) routes(app);
  app.get('/ok', (_, response) => response.json({ ok: true }));
  app.get('/broken', () => {
    throw new Error('broken');
  });
  app.use((error, _request, response, _next) => response.status(500).json({ error: error.message }));
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const stop = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  };
  return { url: `http://127.0.0.1:${server.address().port}`, stop };
}

/** One request of an organization. */
export async function get(app, path, organization, headers = {}) {
  const answer = await fetch(app.url + path, { headers: { ...(organization ? { 'x-organization': organization } : {}), ...headers } });
  const text = await answer.text();
  const isJson = /json/.test(answer.headers.get('content-type') ?? '');
  return { status: answer.status, headers: answer.headers, body: isJson ? JSON.parse(text) : text };
}

if (process.argv[2] !== undefined && process.argv[1] === new URL(import.meta.url).pathname) {
  const { default: express } = await import('express');
  const { timeoutMs, ...quota } = JSON.parse(process.argv[2]);
  const client = new Metergate({ timeoutMs, flushIntervalMs: 200 });
  const app = await listen(express, { client, quota });
  console.log(app.url);
  process.on('SIGTERM', async () => {
    await app.stop();
    await client.close(20_000);
    console.log(JSON.stringify(client.stats()));
    process.exit(0);
  });
}
