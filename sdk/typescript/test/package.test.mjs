import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { KEY, Server } from '../../kit/server.mjs';

const run = promisify(execFile);
const SDK = fileURLToPath(new URL('../..', import.meta.url));

let folder;
let server;
const inFolder = (command, ...given) => run(command, given, { cwd: folder, env: { ...process.env, METERGATE_URL: server.url, METERGATE_API_KEY: KEY } });

before(async () => {
  server = await Server.start();
  await server.organization('acme', [['api_calls', 'billingPeriod', 100], ['tokens', 'billingPeriod', 100_000]]);
  folder = await mkdtemp(join(tmpdir(), 'metergate-package-'));
  const { stdout } = await run('npm', ['pack', '--silent', '--workspaces', '--pack-destination', folder], { cwd: SDK });
  await writeFile(join(folder, 'package.json'), '{ "name": "empty", "private": true }');
  const packages = stdout.trim().split('\n').map((name) => join(folder, name));
  await inFolder('npm', 'install', '--silent', '--no-audit', '--no-fund', '--prefer-offline', ...packages, 'express@5', '@types/express@5', '@types/node@20');
});
after(async () => {
  await server?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

const PROGRAM = `
  const client = new Metergate();
  client.consume({ organization: 'acme', meter: 'api_calls' }).then(async (decided) => {
    console.log(decided.allowed, typeof tenantQuota, typeof usageMeter);
    await client.close();
  });
`;

test('the packed packages work where modules are imported', async () => {
  await writeFile(join(folder, 'one.mjs'), `import { Metergate } from '@metergate/client'; import { tenantQuota, usageMeter } from '@metergate/express'; ${PROGRAM}`);
  assert.equal((await inFolder('node', 'one.mjs')).stdout.trim(), 'true function function');
});

test('the packed packages work where modules are required', async () => {
  await writeFile(join(folder, 'one.cjs'), `const { Metergate } = require('@metergate/client'); const { tenantQuota, usageMeter } = require('@metergate/express'); ${PROGRAM}`);
  assert.equal((await inFolder('node', 'one.cjs')).stdout.trim(), 'true function function');
});

test('a package has what it is built to, its README, and the licence', async () => {
  const licence = await readFile(join(SDK, '../LICENSE'), 'utf8');
  for (const name of ['client', 'express']) {
    const at = join(folder, 'node_modules/@metergate', name);
    assert.deepEqual((await readdir(at)).sort(), ['LICENSE', 'README.md', 'dist', 'package.json']);
    assert.equal(await readFile(join(at, 'LICENSE'), 'utf8'), licence);
  }
});

test('the client needs no other package', async () => {
  const { dependencies } = JSON.parse(await readFile(join(SDK, 'typescript/package.json')));
  assert.equal(dependencies, undefined);
});

test('the types say what can be asked, and refuse what cannot', async () => {
  await writeFile(
    join(folder, 'types.mts'),
    `import { Metergate, type Decision } from '@metergate/client';
     import { tenantQuota, usageMeter } from '@metergate/express';
     import express from 'express';
     const client = new Metergate({ batchSize: 10 });
     const decided: Decision = await client.consume({ organization: 'acme', meter: 'api_calls', quantity: '1.5' });
     const remaining: number | undefined = decided.limits[0]?.remaining;
     const { data } = await client.report({ organization: ['acme'], granularity: 'day' });
     const value: number | null | undefined = data[0]?.value;
     const app = express();
     app.use(tenantQuota({ organization: (request) => request.headers['x-organization'] as string, hold: true, policy: { api_calls: 'allow' } }));
     app.use(tenantQuota({ organization: (request) => request.get('x-organization'), onRefused: (request, response, decision) => {
       response.status(decision.status).json({ path: request.path, reason: decision.reason });
     } }));
     app.use(usageMeter({ errors: false }));
     app.get('/', (request, response) => { request.metergate?.used(3); response.end(); });
     // @ts-expect-error a decision has an organization
     await client.consume({ meter: 'api_calls' });
     // @ts-expect-error such a policy there is not
     tenantQuota({ organization: { header: 'x' }, policy: 'maybe' });
     // @ts-expect-error a number is meant
     new Metergate({ batchSize: '10' });
     export { remaining, value };`,
  );
  const tsc = join(SDK, 'node_modules/.bin/tsc');
  const common = ['--noEmit', '--strict', '--skipLibCheck', '--target', 'es2022'];
  await inFolder(tsc, ...common, '--module', 'nodenext', 'types.mts').catch((error) => assert.fail(error.stdout));
});

test('the program in the README does what it says', async () => {
  const readme = await readFile(join(SDK, 'typescript/README.md'), 'utf8');
  const programs = [...readme.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(([, body]) => body.replaceAll('http://127.0.0.1:8080', server.url));
  assert.equal(programs.length, 2);
  for (const [index, program] of programs.entries()) {
    await writeFile(join(folder, `readme-${index}.mjs`), program);
    await inFolder('node', `readme-${index}.mjs`);
  }
  assert.equal(await server.used('acme', 'tokens'), 1200 + 1310);
});
