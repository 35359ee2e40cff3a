import { randomUUID } from 'node:crypto';

import { finite } from './decision.js';
import { MetergateError, ProblemError, UnreachableError } from './errors.js';
import type { Problem } from './errors.js';
import { Reservation } from './reservation.js';
import type { Body, ReservationRequest } from './reservation.js';
import type { Settlements } from './settlements.js';
import { parsed } from './transport.js';
import type { Transport } from './transport.js';

/** How one is reserved. */
export interface BundleOptions {
  /** How many milliseconds it may wait for others to go with. */
  waitMs: number;
  /** Within how many milliseconds it may be repeated; else all of the client's time. */
  repeatForMs?: number | undefined;
}

/** What waits to be sent. */
interface Element {
  /** JSON. */
  text: string;
  repeatForMs: number;
  /** Of quantity that is to be held: for how many seconds. */
  ttlSeconds: number | undefined;
  resolve: (body: Body) => void;
  reject: (error: unknown) => void;
}

/** Elements, and characters of JSON, in one call at most. */
const MOST = 1_000;
const MOST_SIZE = 256 * 1024;

/**
 * Holds and settles in the background for many organizations in few calls: a call costs a Node process as much as a request or
 * two. What comes within a moment goes as one array, and each element has its own answer.
 */
export class Bundle {
  readonly #transport: Transport;
  readonly #settlements: Settlements;
  #waiting: Element[] = [];
  #size = 0;
  #timer: NodeJS.Timeout | undefined;
  /** By `performance.now()`: when the timer goes off. */
  #due = Infinity;
  #isNow = false;

  constructor(transport: Transport, settlements: Settlements) {
    this.#transport = transport;
    this.#settlements = settlements;
  }

  /** Holds quantity, which is settled by a bundle, too. */
  async reserve(request: ReservationRequest, { waitMs, repeatForMs }: BundleOptions): Promise<Reservation> {
    const body = await this.#add(finite(request), waitMs, repeatForMs ?? Infinity, request.ttlSeconds);
    return this.#reservation(body, waitMs);
  }

  /** What waits is sent without more ado, together with all that comes in this turn of the event loop. */
  now(): void {
    if (this.#waiting.length === 0 || this.#isNow) return;
    this.#isNow = true;
    setImmediate(() => this.#send());
  }

  #reservation(body: Body, waitMs: number): Reservation {
    return new Reservation((id, action, said) => this.#add({ id, [action]: said }, waitMs, Infinity, undefined), body);
  }

  #add(element: object, waitMs: number, repeatForMs: number, ttlSeconds: number | undefined): Promise<Body> {
    const text = JSON.stringify(element);
    if (this.#waiting.length >= MOST || this.#size + text.length > MOST_SIZE) this.#send();
    this.#size += text.length;
    const answered = new Promise<Body>((resolve, reject) => this.#waiting.push({ text, repeatForMs, ttlSeconds, resolve, reject }));
    if (waitMs <= 0) this.now();
    else this.#within(waitMs);
    return answered;
  }

  #within(waitMs: number): void {
    const due = performance.now() + waitMs;
    if (due >= this.#due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => this.#send(), waitMs).unref();
  }

  #send(): void {
    const elements = this.#waiting;
    clearTimeout(this.#timer);
    [this.#waiting, this.#size, this.#due, this.#isNow] = [[], 0, Infinity, false];
    if (elements.length > 0) void this.#call(elements);
  }

  async #call(elements: readonly Element[]): Promise<void> {
    const repeatForMs = Math.min(...elements.map((element) => element.repeatForMs));
    // Under a key, so that a lost answer does not leave quantity held that nobody knows of.
    const headers = { 'idempotency-key': randomUUID() };
    const call = { method: 'POST', path: '/v1/reservations', body: `[${elements.map(({ text }) => text).join()}]`, headers, repeatable: true } as const;
    const ask = async (timeoutMs?: number): Promise<(Body | Problem)[]> => {
      const { data } = parsed<{ data: (Body | Problem)[] }>(await this.#transport.call({ ...call, repeatForMs, ...(timeoutMs === undefined ? {} : { timeoutMs }) }));
      if (data.length !== elements.length) throw new MetergateError(`${data.length} answers came to ${elements.length} questions`);
      return data;
    };
    try {
      for (const [at, answer] of (await ask()).entries()) settle(elements[at] as Element, answer);
    } catch (error) {
      for (const { reject } of elements) reject(error);
      if (error instanceof UnreachableError && error.outcomeUnknown) this.#abandon(elements, ask);
    }
  }

  /** Under its key the array gets its first answers: what was held of it is given back. */
  #abandon(elements: readonly Element[], ask: (timeoutMs: number) => Promise<(Body | Problem)[]>): void {
    const ttls = elements.map(({ ttlSeconds }) => ttlSeconds ?? 0);
    const held = (_: unknown, at: number): boolean => elements[at]?.ttlSeconds !== undefined;
    const find = async (timeoutMs: number): Promise<Reservation[]> => {
      const answers = (await ask(timeoutMs)).filter(held).filter((answer) => 'allowed' in answer);
      return answers.map((body) => this.#reservation(body, 0));
    };
    if (Math.max(...ttls) > 0) this.#settlements.abandon(find, Math.max(...ttls));
  }
}

/** The answer to one element. */
function settle({ resolve, reject }: Element, answer: Body | Problem): void {
  if ('allowed' in answer) resolve(answer);
  else reject(new ProblemError(answer.status, answer));
}
