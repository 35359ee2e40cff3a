import * as http from 'node:http';
import * as https from 'node:https';

import { MetergateError, ProblemError, UnreachableError } from './errors.js';
import type { Problem } from './errors.js';
import type { Settings } from './options.js';

/** What one call sends. */
export interface Call {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Path and query, below the server's address. */
  path: string;
  /** JSON text. */
  body?: string;
  contentType?: string;
  headers?: Readonly<Record<string, string>>;
  /** Whether a second request changes nothing that the first did: then it is repeated within the time. */
  repeatable?: boolean;
  /** Whether a problem that has the member `decision` is an answer: the refusal that was asked for. */
  refusals?: boolean;
  /** Milliseconds for all of it. */
  timeoutMs?: number;
  /** Milliseconds within which it may be repeated; else all of the time. */
  repeatForMs?: number;
  signal?: AbortSignal;
}

/** An answer that is no error. */
export interface Answer {
  status: number;
  headers: http.IncomingHttpHeaders;
  text: string;
}

/** The largest answer that is read. */
const MOST_BYTES = 64 * 1024 * 1024;
const FIRST_PAUSE_MS = 25;
const LONGEST_PAUSE_MS = 1_000;

/** Speaks HTTP with one server over connections that are kept. `fetch` would cost several times as much CPU a call. */
export class Transport {
  readonly #settings: Settings;
  readonly #agent: http.Agent;
  readonly #request: typeof http.request;
  readonly #base: string;
  readonly #headers: Record<string, string>;

  constructor(settings: Settings) {
    this.#settings = settings;
    const secure = settings.url.protocol === 'https:';
    // What was used last is used next, so that connections which are not needed end by themselves before the server ends them.
    const options: http.AgentOptions = { keepAlive: true, maxSockets: settings.maxConnections, scheduling: 'lifo', timeout: 30_000 };
    this.#agent = secure ? new https.Agent(options) : new http.Agent(options);
    this.#request = secure ? https.request : http.request;
    this.#base = settings.url.pathname.replace(/\/$/, '');
    this.#headers = { accept: 'application/json', 'user-agent': 'metergate-client' };
    if (settings.apiKey !== '') this.#headers['authorization'] = `Bearer ${settings.apiKey}`;
  }

  /**
   * Calls, and again where that is safe and there is time.
   *
   * @throws {ProblemError} the server answered with an error
   * @throws {UnreachableError} no answer came in time
   */
  async call(call: Call): Promise<Answer> {
    const began = performance.now();
    const ends = began + (call.timeoutMs ?? this.#settings.timeoutMs);
    const repeats = Math.min(ends, began + (call.repeatForMs ?? Infinity));
    for (let tried = 0; ; tried++) {
      try {
        return await this.#once(call, ends - performance.now());
      } catch (error) {
        const pause = pauseBefore(error, call, tried);
        if (pause === undefined || performance.now() + pause >= repeats) throw error;
        await wait(pause, call.signal);
      }
    }
  }

  /** The body of an answer as JSON. */
  async json<T>(call: Call): Promise<T> {
    return parsed<T>(await this.call(call));
  }

  /** Ends connections that are open. */
  close(): void {
    this.#agent.destroy();
  }

  #once(call: Call, timeoutMs: number): Promise<Answer> {
    if (call.signal?.aborted) return Promise.reject(new UnreachableError('the call was aborted before it began', false, call.signal.reason));
    return new Promise((resolve, reject) => {
      const { hostname, port } = this.#settings.url;
      const headers: Record<string, string | number> = { ...this.#headers, ...call.headers };
      if (call.body !== undefined) {
        headers['content-type'] = call.contentType ?? 'application/json';
        headers['content-length'] = Buffer.byteLength(call.body);
      }
      const host = hostname.replace(/^\[|\]$/g, '');
      const request = this.#request({ agent: this.#agent, host, port, method: call.method, path: this.#base + call.path, headers });
      // Until a connection stands nothing can have been done.
      let connected = false;
      const fail = (why: string, cause?: unknown): void => {
        finish();
        reject(new UnreachableError(`${this.#settings.url.origin}: ${why}`, connected, cause));
        request.destroy();
      };
      const timer = setTimeout(() => fail(`no answer within ${call.timeoutMs ?? this.#settings.timeoutMs} ms`), Math.max(1, timeoutMs));
      const abort = (): void => fail('the call was aborted', call.signal?.reason);
      const finish = (): void => {
        clearTimeout(timer);
        call.signal?.removeEventListener('abort', abort);
      };
      call.signal?.addEventListener('abort', abort, { once: true });
      request.on('socket', (socket) => {
        if (!socket.connecting) connected = true;
        else socket.once('connect', () => (connected = true));
      });
      request.on('error', (error) => fail(error.message, error));
      request.on('response', (response) => {
        read(response, fail, (text) => {
          finish();
          const status = response.statusCode ?? 0;
          const error = status >= 200 && status < 300 ? undefined : problem(status, response.headers, text);
          if (error === undefined || (call.refusals && error.decided)) resolve({ status, headers: response.headers, text });
          else reject(error);
        });
      });
      request.end(call.body);
    });
  }
}

function read(response: http.IncomingMessage, fail: (why: string, cause?: unknown) => void, done: (text: string) => void): void {
  const parts: Buffer[] = [];
  let size = 0;
  response.on('data', (part: Buffer) => {
    parts.push(part);
    size += part.length;
    if (size > MOST_BYTES) fail('the answer is too large');
  });
  response.on('error', (error) => fail(error.message, error));
  response.on('aborted', () => fail('the answer was cut'));
  response.on('end', () => done(parts.length === 1 ? String(parts[0]) : Buffer.concat(parts).toString()));
}

/** The value of an answer. */
export function parsed<T>(answer: Answer): T {
  try {
    return JSON.parse(answer.text) as T;
  } catch (cause) {
    throw new MetergateError(`the answer is no JSON: ${answer.text.slice(0, 80)}`, { cause });
  }
}

function problem(status: number, headers: http.IncomingHttpHeaders, text: string): ProblemError {
  let said: Partial<Problem> = {};
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) said = value;
  } catch {
    // Whatever stands between here and the server may answer in any form.
    said = { detail: `The answer is no problem document: ${text.slice(0, 80)}` };
  }
  return new ProblemError(status, said, retryAfter(headers['retry-after']));
}

/** Seconds to wait, of either form of `Retry-After`. */
export function retryAfter(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text)) return Number(text);
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - Date.now()) / 1_000));
}

/** Milliseconds to wait before a call is repeated; nothing where it must not be. */
function pauseBefore(error: unknown, call: Call, tried: number): number | undefined {
  if (call.signal?.aborted) return undefined;
  const pause = backoff(tried, FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
  if (error instanceof UnreachableError) return call.repeatable || !error.outcomeUnknown ? pause : undefined;
  if (!(error instanceof ProblemError) || ![429, 502, 503, 504].includes(error.status)) return undefined;
  // 429 has done nothing. What a 503 stands for is known only where a repetition cannot count twice.
  if (!call.repeatable && error.status !== 429) return undefined;
  return Math.max(pause, (error.retryAfterSeconds ?? 0) * 1_000);
}

/** Doubles from `first` to `longest`; a random part of it, so that many do not come back at once. */
export function backoff(tried: number, first: number, longest: number): number {
  const whole = Math.min(longest, first * 2 ** Math.min(tried, 30));
  return whole / 2 + (Math.random() * whole) / 2;
}

function wait(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener('abort', done, { once: true });
  });
}
