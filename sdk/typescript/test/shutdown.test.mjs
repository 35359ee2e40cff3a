import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { freePort, KEY, Server } from '../../kit/server.mjs';

let server;
before(async () => {
  server = await Server.start();
  for (const key of ['terminated', 'listening', 'finished', 'closed', 'twice']) await server.organization(key, []);
});
after(() => server?.stop());

/** A process of its own that records three events of `organization` and then does what `then` says. */
function recording(organization, then, url = server.url) {
  const program = `
    import { Metergate } from '@metergate/client';
    const client = new Metergate({ flushIntervalMs: 3600000, onDropped: (lost, why) => console.log(lost.length, why) });
    for (let n = 0; n < 3; n++) client.record({ organization: '${organization}', meter: 'api_calls' });
    ${then}
    console.log('recorded');
  `;
  const environment = { PATH: process.env.PATH, METERGATE_URL: url, METERGATE_API_KEY: KEY };
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  return spawn(process.execPath, ['--input-type=module', '-e', program], { env: environment, cwd, stdio: ['ignore', 'pipe', 'inherit'] });
}

test('SIGTERM ends the process as it always did, after what waits was sent', async () => {
  const child = recording('terminated', 'setInterval(() => {}, 1000);');
  await once(child.stdout, 'data');
  child.kill('SIGTERM');
  const [code, signal] = await once(child, 'exit');
  assert.deepEqual([code, signal], [null, 'SIGTERM']);
  assert.equal(await server.used('terminated', 'api_calls'), 3);
});

test('an application that listens to SIGTERM ends itself, and what waits was sent', async () => {
  const child = recording('listening', "setInterval(() => {}, 1000); process.on('SIGTERM', () => setTimeout(() => process.exit(7), 500));");
  await once(child.stdout, 'data');
  child.kill('SIGTERM');
  const [code] = await once(child, 'exit');
  assert.equal(code, 7);
  assert.equal(await server.used('listening', 'api_calls'), 3);
});

test('a process with nothing more to do sends what waits, and is not kept alive longer', async () => {
  const child = recording('finished', '');
  const [code] = await once(child, 'exit');
  assert.equal(code, 0);
  assert.equal(await server.used('finished', 'api_calls'), 3);
});

test('close() sends what waits', async () => {
  const child = recording('closed', 'await client.close();');
  const [code] = await once(child, 'exit');
  assert.equal(code, 0);
  assert.equal(await server.used('closed', 'api_calls'), 3);
});

test('a process whose server is away ends all the same, and says what it could not send', { timeout: 30_000 }, async () => {
  const child = recording('away', '', `http://127.0.0.1:${await freePort()}`);
  let said = '';
  child.stdout.on('data', (part) => (said += part));
  const [code] = await once(child, 'close');
  assert.equal(code, 0);
  assert.match(said, /3 not taken/);
});

test('the module loaded twice, as in an application of both module systems, ends the process once all is sent', async () => {
  const then = `
    const { createRequire } = await import('node:module');
    const other = new (createRequire(import.meta.url)('@metergate/client').Metergate)({ flushIntervalMs: 3600000 });
    other.record({ organization: 'twice', meter: 'api_calls' });
    setInterval(() => {}, 1000);`;
  const child = recording('twice', then);
  await once(child.stdout, 'data');
  child.kill('SIGTERM');
  const [, signal] = await once(child, 'exit');
  assert.equal(signal, 'SIGTERM');
  assert.equal(await server.used('twice', 'api_calls'), 4);
});
