// A Metergate server of a test's own. `METERGATE_BINARY` names the program.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

/** The administrator's key. */
export const KEY = 'sdk-tests-0123456789-0123456789-0123456789';
const READY_WITHIN_MS = 30_000;

/** A free port of this machine. */
export async function freePort() {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address();
  listener.close();
  await once(listener, 'close');
  return port;
}

/** A server with a store that outlives its process: it can be killed and started again at the same address. */
export class Server {
  static async start(settings = {}) {
    const binary = process.env.METERGATE_BINARY;
    if (!binary) throw new Error('METERGATE_BINARY must name the metergate program');
    const folder = await mkdtemp(join(tmpdir(), 'metergate-sdk-'));
    const server = new Server(binary, folder, await freePort(), settings);
    await server.startAgain();
    return server;
  }

  constructor(binary, folder, port, settings) {
    Object.assign(this, { binary, folder, port, settings, said: '' });
    this.url = `http://127.0.0.1:${port}`;
  }

  async startAgain() {
    const environment = {
      PATH: process.env.PATH,
      METERGATE_LISTEN: `127.0.0.1:${this.port}`,
      METERGATE_DATA_DIR: join(this.folder, 'data'),
      METERGATE_ADMIN_KEY: KEY,
      METERGATE_CHECK: process.env.METERGATE_CHECK ?? '',
      ...this.settings,
    };
    this.process = spawn(this.binary, ['serve'], { env: environment, cwd: this.folder, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.process.stdout, this.process.stderr]) stream.on('data', (part) => (this.said += part));
    for (const end = Date.now() + READY_WITHIN_MS; Date.now() < end; await wait(50)) {
      if (this.process.exitCode !== null) break;
      const answer = await fetch(`${this.url}/readyz`).catch(() => undefined);
      if (answer?.ok) return;
    }
    throw new Error(`the server did not become ready:\n${this.said}`);
  }

  /** Ends the process at once, as a power cut would. */
  async kill() {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const ended = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await ended;
  }

  async stop() {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Calls the API as its administrator. */
  async call(method, path, body) {
    const headers = { authorization: `Bearer ${KEY}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) };
    const answer = await fetch(this.url + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text === '' ? null : JSON.parse(text);
  }

  /** A plan with limits `[meter, window, max]`, hard ones, and an organization on it. */
  async organization(key, limits, plan = `plan-${key}`) {
    const hard = ([meter, window, max, more]) => ({ meter, window, max, enforcement: 'hard', ...more });
    await this.call('PUT', `/v1/plans/${plan}`, { name: plan, limits: limits.map(hard) });
    await this.call('POST', '/v1/organizations', { key, name: key, plan });
  }

  /** What an organization used of a meter in the present period. */
  async used(organization, meter) {
    const { meters } = await this.call('GET', `/v1/organizations/${organization}/usage`);
    const found = meters.find((one) => one.meter === meter);
    return found === undefined ? 0 : found.used;
  }
}
