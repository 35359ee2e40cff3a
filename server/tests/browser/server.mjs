// A `metergate serve` in a new folder, on a free port of this machine.

import { spawn } from 'node:child_process';
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export const ADMIN_KEY = 'the-key-of-the-administrator-in-these-tests';
export const STRIPE_SECRET = 'whsec_of_these_tests';

/** Starts it and waits until it says where it is. */
export async function start(metergate) {
  const folder = mkdtempSync(join(tmpdir(), 'metergate-browser-'));
  const env = {
    METERGATE_LISTEN: '127.0.0.1:0',
    METERGATE_DATA_DIR: join(folder, 'data'),
    METERGATE_ADMIN_KEY: ADMIN_KEY,
    METERGATE_CORES: '1',
    METERGATE_LOG: 'info',
    METERGATE_WEBHOOK_ALLOW: '127.0.0.0/8',
    METERGATE_STRIPE_WEBHOOK_SECRET: STRIPE_SECRET,
  };
  // By its mark ./check finds what tests leave behind.
  if (process.env.METERGATE_CHECK) env.METERGATE_CHECK = process.env.METERGATE_CHECK;
  const child = spawn(metergate, ['serve'], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  child.stderr.pipe(createWriteStream(join(folder, 'log')));
  const stop = async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    if (child.exitCode === null && child.kill('SIGKILL')) await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const url = await said(child);
    return { url, stop, log: join(folder, 'log'), api: (...call) => ask(url, ...call) };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The address in the first line that it prints. */
function said(child) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the server did not start within a minute')), 60_000);
    const end = (settle, value) => {
      clearTimeout(timer);
      settle(value);
    };
    child.once('error', (error) => end(reject, error));
    child.once('exit', (code) => end(reject, new Error(`the server ended with ${code} before it was ready`)));
    createInterface({ input: child.stdout }).once('line', (line) => {
      const [, url] = line.split(' at ');
      if (url) end(resolve, url.trim());
      else end(reject, new Error(`the server said ${line}`));
    });
  });
}

/** Calls the API, as its administrator unless said. Throws where it refuses. */
async function ask(url, method, path, body, { key = ADMIN_KEY, type = 'application/json', more = {} } = {}) {
  const headers = { 'Content-Type': type, ...more };
  if (key) headers.Authorization = `Bearer ${key}`;
  const answer = await fetch(url + path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(60_000),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : undefined;
}
